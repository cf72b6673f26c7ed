import type { EditorView } from "@codemirror/view";
import type { OpenDocument } from "../document/open-document.svelte.ts";
import { fillPlace, forgetPlace, keepPlace } from "../editor/places.ts";
import { explain, READ_ONLY } from "./failure.ts";
import { linkTo } from "./link.ts";
import { Upload } from "./upload.svelte.ts";

/** Files that are sent at the same time; each is in memory meanwhile. */
const SENDING_MAX = 4;
/** Files that are listed: those on their way, those that wait and those that failed. */
const LISTED_MAX = 50;

/**
 * The files that people attach to an open document. Each stays in the list until its link is in the text or its person
 * lets go of it, so that a failure loses nothing.
 */
export class Uploads {
  readonly #open: OpenDocument;
  #idLast = 0;

  /** In the order in which they were asked for. */
  list = $state.raw<readonly Upload[]>([]);
  /** How many files were not taken because the list was full. */
  leftOutCount = $state(0);
  /** What has just become of a file, to be said aloud. */
  news = $state("");

  constructor(open: OpenDocument) {
    this.#open = open;
  }

  /** Attaches files at a place in the text, whose links then stand there below each other. */
  add(files: readonly File[], view: EditorView, position: number): void {
    const taken = files.slice(0, LISTED_MAX - this.list.length);
    this.leftOutCount += files.length - taken.length;
    const added = taken.map((file, index) => {
      this.#idLast += 1;
      keepPlace(view, this.#idLast, position);
      return new Upload(this.#idLast, file, view, index < taken.length - 1 ? "\n" : "");
    });
    this.list = [...this.list, ...added];
    this.#sendNext();
  }

  tryAgain(upload: Upload): void {
    upload.wait();
    this.#sendNext();
  }

  /** The person does not want the file any more, whatever has become of it. */
  remove(upload: Upload): void {
    upload.cancel();
    forgetPlace(upload.view, upload.id);
    this.#takeOff(upload);
  }

  dismissLeftOut(): void {
    this.leftOutCount = 0;
  }

  /** Ends everything that is on its way. */
  close(): void {
    for (const upload of this.list) upload.cancel();
    this.list = [];
  }

  #sendNext(): void {
    const sending = this.list.filter(({ state }) => state === "sending").length;
    const waiting = this.list.filter(({ state }) => state === "waiting");
    for (const upload of waiting.slice(0, SENDING_MAX - sending)) void this.#send(upload);
  }

  async #send(upload: Upload): Promise<void> {
    upload.state = "sending";
    try {
      const attachment = await this.#open.attach(upload.file, {
        name: upload.name,
        signal: upload.signal,
        progressed: (sentBytes) => {
          upload.sentBytes = sentBytes;
        },
      });
      if (upload.signal.aborted) return;
      if (this.#open.readOnly) {
        upload.fail(READ_ONLY);
      } else {
        const { language } = this.#open;
        const link = (before: string, after: string) => linkTo(attachment, language, before, after) + upload.ending;
        fillPlace(upload.view, upload.id, link);
        this.news = `${upload.name} is attached.`;
        this.#takeOff(upload);
      }
    } catch (error) {
      if (upload.signal.aborted) return;
      upload.fail(explain(error));
    }
    this.#sendNext();
  }

  #takeOff(upload: Upload): void {
    this.list = this.list.filter((listed) => listed !== upload);
    this.#sendNext();
  }
}
