/** An open document as the page shows it: the session's state, made reactive. */
import {
  type Attachment,
  Client,
  type ConnectionStatus,
  type DocumentSession,
  type Person,
  type RefusedEvent,
  type UploadOptions,
} from "@collabedit/sdk";
import { deviceId, profile } from "../preferences/profile.svelte.ts";
import { socketUrl } from "./address.ts";
import { rememberDocument, titleOf } from "./recent-documents.ts";

const SETTINGS = "settings";
const LANGUAGE = "language";

export class OpenDocument {
  readonly session: DocumentSession;
  readonly #client: Client;
  readonly #stop: (() => void)[];
  #unsubscribe: () => void = () => {};
  #titleTimer: ReturnType<typeof setTimeout> | undefined;

  status = $state<ConnectionStatus>("connecting");
  /** Whether the document was complete once since the page was opened. */
  wasSynced = $state(false);
  synced = $state(false);
  unsyncedChanges = $state(0);
  readOnly = $state(false);
  others = $state<readonly Person[]>([]);
  title = $state("Untitled");
  /** The language that everybody sees the document in. */
  language = $state("Markdown");
  /** What the person has to be told, oldest first. */
  notices = $state.raw<readonly RefusedEvent[]>([]);
  /** Whether something of the document could not be read here. */
  incomplete = $state(false);

  constructor(documentId: string) {
    this.#client = new Client({ url: socketUrl(), user: profile.user, device: deviceId() });
    this.session = this.#client.open(documentId);
    const { session } = this;
    this.#stop = [
      session.on("status", (status) => {
        this.status = status;
        this.synced = session.synced;
      }),
      session.on("synced", () => {
        this.synced = true;
        this.wasSynced = true;
        this.#readTitle();
      }),
      session.on("unsyncedChanges", (count) => {
        this.unsyncedChanges = count;
      }),
      session.on("readOnly", (readOnly) => {
        this.readOnly = readOnly;
      }),
      session.on("refused", (refused) => {
        this.notices = [...this.notices, refused];
      }),
      session.on("skipped", () => {
        this.incomplete = true;
      }),
      session.on("replaced", () => this.#subscribe()),
      session.presence.on("changed", () => {
        this.others = session.presence.others();
      }),
    ];
    this.#subscribe();
  }

  /** Shows the document in another language, to everybody. */
  setLanguage(name: string): void {
    this.session.doc.getMap(SETTINGS).set(LANGUAGE, name);
    this.session.doc.commit();
    this.#readSettings();
  }

  /** Stores a file for this document. */
  attach(file: File, options: UploadOptions): Promise<Attachment> {
    return this.#client.attachments.upload(this.session.id, file, options);
  }

  /** Shows oneself under another name or colour. */
  setUser(name: string, color: string): void {
    profile.user = { name, color };
    this.#client.setUser(profile.user);
  }

  /** The person has read the oldest notice. */
  dismissNotice(): void {
    this.notices = this.notices.slice(1);
  }

  close(): void {
    clearTimeout(this.#titleTimer);
    for (const stop of this.#stop) stop();
    this.#unsubscribe();
    this.#client.close();
  }

  #subscribe(): void {
    this.#unsubscribe();
    this.#unsubscribe = this.session.doc.subscribe(() => {
      this.#readSettings();
      this.#titleTimer ??= setTimeout(() => this.#readTitle(), 500);
    });
    this.#readSettings();
  }

  #readSettings(): void {
    const language = this.session.doc.getMap(SETTINGS).get(LANGUAGE);
    if (typeof language === "string") this.language = language;
  }

  #readTitle(): void {
    this.#titleTimer = undefined;
    if (this.session.isBroken) return;
    const { text } = this.session;
    this.title = titleOf(text.slice(0, Math.min(1000, text.length)));
    if (this.session.synced || text.length > 0) rememberDocument(this.session.id, this.title);
  }
}
