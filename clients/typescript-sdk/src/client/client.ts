import { httpOrigin } from "../attachments/address.ts";
import { Attachments } from "../attachments/attachments.ts";
import { type ProgressRequestConstructor, postWithFetch, postWithProgress } from "../attachments/transport.ts";
import { hex } from "../document/hex.ts";
import { drawPeer, type PeerIdentity, userOfToken } from "../document/peer.ts";
import { DocumentSession, type SessionLink } from "../document/session.ts";
import type { User } from "../presence/person.ts";
import { decode, encode, type ProtocolMessage } from "../protocol/frames.ts";
import { parseServerMessage } from "../protocol/messages.ts";
import { Connection, type ConnectionStatus, type SocketConstructor } from "./connection.ts";
import { type Environment, systemEnvironment } from "./environment.ts";

export interface ClientOptions {
  /** The server's socket, as in `wss://example.org/v1/sync`. */
  readonly url: string;
  /** How one is shown to others. */
  readonly user: User;
  /** The access token, or where to get one whenever a connection is made. */
  readonly token?: string | (() => Promise<string>);
  /**
   * This installation, 1 to 128 bytes; keep it, so that what is written here stays attributed to it. One is drawn if it
   * is missing.
   */
  readonly device?: string;
  /** The WebSocket to use where there is no global one. */
  readonly WebSocket?: SocketConstructor;
  /** The fetch to use where the global one is not wanted. */
  readonly fetch?: typeof globalThis.fetch;
  /**
   * What uploads with progress go through: the browser's `XMLHttpRequest` by default. With `null`, and where there is
   * none, they go through `fetch` and tell no progress.
   */
  readonly XMLHttpRequest?: ProgressRequestConstructor | null;
  /** Time, chance and network; the machine's own by default. */
  readonly environment?: Environment;
}

/** A connection to a CollabEdit server, and the documents that are open on it. */
export class Client {
  readonly #options: ClientOptions;
  readonly #environment: Environment;
  readonly #connection: Connection;
  readonly #device: string;
  /** Images and files of documents. */
  readonly attachments: Attachments;
  readonly #sessions = new Map<string, DocumentSession>();
  #user: User;
  #token: string | null;
  #tokenRenewed = false;
  /** Whether documents can be joined: there is a connection, and a token for it. */
  #isReady = false;
  /** Grows with every connection, so that a token which comes late does not open documents on the next one. */
  #connectionCount = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#environment = options.environment ?? systemEnvironment();
    this.#user = options.user;
    this.#token = typeof options.token === "string" ? options.token : null;
    this.#device = options.device ?? `dev_${hex(this.#environment.randomBytes(16))}`;
    const socketConstructor = options.WebSocket ?? (globalThis.WebSocket as unknown as SocketConstructor);
    this.#connection = new Connection(options.url, socketConstructor, this.#environment, {
      statusChanged: (status) => this.#statusChanged(status),
      frameReceived: (frame) => this.#frameReceived(frame),
      textReceived: (text) => this.#textReceived(text),
    });
    this.attachments = this.#attachments();
  }

  /**
   * Opens a document: readable and editable at once, and synchronised as soon as there is a connection. Opened twice,
   * it is the same.
   */
  open(documentId: string): DocumentSession {
    const open = this.#sessions.get(documentId);
    if (open) return open;
    const session = new DocumentSession(documentId, this.#link());
    this.#sessions.set(documentId, session);
    this.#connection.start();
    if (this.#isReady) session.connectionChanged("connected");
    return session;
  }

  /** Changes how one is shown, in all open documents. */
  setUser(user: User): void {
    this.#user = user;
    for (const session of this.#sessions.values()) session.presence.setUser(user);
  }

  /** Closes all documents and the connection. */
  close(): void {
    for (const session of [...this.#sessions.values()]) session.close();
    this.#connection.stop();
  }

  #link(): SessionLink {
    return {
      environment: this.#environment,
      user: this.#user,
      send: (message) => this.#send(message),
      sendText: (text) => this.#connection.send(text),
      drawPeer: () => this.#drawPeer(),
      announce: ({ peer, nonce }) => ({ device: this.#device, name: this.#user.name, peer, nonce, token: this.#token }),
      joined: () => this.#connection.proved(),
      renewToken: () => this.#renewToken(),
      closed: (documentId) => void this.#sessions.delete(documentId),
    };
  }

  #attachments(): Attachments {
    const { url, token, fetch: given, XMLHttpRequest: chosen } = this.#options;
    // The global one has to be called as a function of its own.
    const fetch: typeof globalThis.fetch = given ?? ((input, init) => globalThis.fetch(input, init));
    const withProgress =
      chosen === undefined ? (globalThis.XMLHttpRequest as unknown as ProgressRequestConstructor | undefined) : chosen;
    return new Attachments({
      environment: this.#environment,
      post: withProgress ? postWithProgress(withProgress) : postWithFetch(fetch),
      fetch,
      origin: () => httpOrigin(url),
      // A request is a connection of its own, and may come long after the socket's token has expired.
      token: async () => (typeof token === "function" ? token().catch(() => null) : this.#token),
    });
  }

  #drawPeer(): PeerIdentity {
    return drawPeer(userOfToken(this.#token), this.#device, (count) => this.#environment.randomBytes(count));
  }

  #statusChanged(status: ConnectionStatus): void {
    this.#connectionCount += 1;
    this.#tokenRenewed = false;
    const { token } = this.#options;
    this.#isReady = false;
    if (status !== "connected" || typeof token !== "function") {
      this.#tell(status);
      return;
    }
    const connection = this.#connectionCount;
    void this.#takeToken(token).then(() => {
      if (connection === this.#connectionCount) this.#tell(status);
    });
  }

  async #takeToken(token: () => Promise<string>): Promise<void> {
    // Without a token the server decides: the document may be public.
    this.#token = await token().catch(() => null);
  }

  #tell(status: ConnectionStatus): void {
    this.#isReady = status === "connected";
    for (const session of [...this.#sessions.values()]) session.connectionChanged(status);
  }

  async #renewToken(): Promise<boolean> {
    const { token } = this.#options;
    if (typeof token !== "function" || this.#tokenRenewed) return false;
    this.#tokenRenewed = true;
    await this.#takeToken(token);
    return this.#token !== null;
  }

  #send(message: ProtocolMessage): void {
    this.#connection.send(encode(message) as Uint8Array<ArrayBuffer>);
  }

  #frameReceived(frame: Uint8Array): void {
    let message: ProtocolMessage;
    try {
      message = decode(frame);
    } catch {
      // Not of this version of the protocol: what it was about comes again with the next join.
      return;
    }
    this.#sessions.get(message.roomId)?.received(message);
  }

  #textReceived(text: string): void {
    const message = parseServerMessage(text);
    if (message?.type === "draining") this.#connection.reconnectWithin(message.reconnectWithinMs);
    else if (message) this.#sessions.get(message.document)?.receivedMessage(message);
  }
}
