import { PING_EVERY_MS, PONG_MS_MAX } from "../protocol/limits.ts";
import { Backoff } from "./backoff.ts";
import type { Environment, Timer } from "./environment.ts";

/** The part of a WebSocket that is used. */
export interface Socket {
  binaryType: string;
  readonly readyState: number;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}

export type SocketConstructor = new (url: string) => Socket;

export type ConnectionStatus = "connecting" | "connected" | "offline";

export interface ConnectionHandler {
  /** The status changed; `connected` means that frames may be sent. */
  statusChanged(status: ConnectionStatus): void;
  frameReceived(frame: Uint8Array): void;
  textReceived(text: string): void;
}

const SOCKET_OPEN = 1;

/** One socket after another to the same server: opened, kept alive, and opened again after a pause when it was lost. */
export class Connection {
  readonly #url: string;
  readonly #socketConstructor: SocketConstructor;
  readonly #environment: Environment;
  readonly #handler: ConnectionHandler;
  readonly #backoff: Backoff;
  #socket: Socket | undefined;
  #status: ConnectionStatus = "offline";
  #wanted = false;
  #retryTimer: Timer;
  #pingTimer: Timer;
  #stopNetworkEvents: (() => void) | undefined;

  constructor(url: string, socketConstructor: SocketConstructor, environment: Environment, handler: ConnectionHandler) {
    this.#url = url;
    this.#socketConstructor = socketConstructor;
    this.#environment = environment;
    this.#handler = handler;
    this.#backoff = new Backoff(() => environment.random());
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  /** Connects, and stays connected until {@link stop}. */
  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#stopNetworkEvents = this.#environment.onNetworkChange((online) => this.#networkChanged(online));
    if (this.#environment.isOnline()) this.#connect();
  }

  stop(): void {
    this.#wanted = false;
    this.#stopNetworkEvents?.();
    this.#drop();
    this.#setStatus("offline");
  }

  /** Sends one frame, if the connection is open; what is not sent is offered again after the next join. */
  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket?.readyState === SOCKET_OPEN) this.#socket.send(data);
  }

  /** The connection proved to be of use: the next loss is a new one and does not continue the last one's pauses. */
  proved(): void {
    this.#backoff.reset();
  }

  /** Connects anew at a random moment within `withinMs`, as a node that drains asks for. */
  reconnectWithin(withinMs: number): void {
    this.#environment.clearTimer(this.#retryTimer);
    this.#retryTimer = this.#environment.setTimer(() => {
      this.#drop();
      this.#connect();
    }, this.#environment.random() * withinMs);
  }

  #connect(): void {
    if (!this.#wanted) return;
    this.#setStatus("connecting");
    let socket: Socket;
    try {
      socket = new this.#socketConstructor(this.#url);
    } catch {
      this.#lost();
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#awaitPing();
      this.#setStatus("connected");
    };
    socket.onmessage = ({ data }) => {
      this.#awaitPing();
      if (data === "ping") socket.send("pong");
      else if (typeof data !== "string") this.#handler.frameReceived(new Uint8Array(data as ArrayBuffer));
      else if (data !== "pong") this.#handler.textReceived(data);
    };
    socket.onclose = () => this.#lost();
    socket.onerror = () => {};
  }

  #networkChanged(online: boolean): void {
    if (online && this.#status === "offline") {
      this.#environment.clearTimer(this.#retryTimer);
      this.#connect();
    } else if (!online) {
      this.#drop();
      this.#setStatus("offline");
    }
  }

  #lost(): void {
    this.#drop();
    this.#setStatus("offline");
    if (!this.#wanted || !this.#environment.isOnline()) return;
    this.#retryTimer = this.#environment.setTimer(() => this.#connect(), this.#backoff.next());
  }

  /** A connection on which nothing was heard for a while is asked; one that does not answer is dead. */
  #awaitPing(): void {
    this.#environment.clearTimer(this.#pingTimer);
    this.#pingTimer = this.#environment.setTimer(() => {
      this.send("ping");
      this.#pingTimer = this.#environment.setTimer(() => this.#lost(), PONG_MS_MAX);
    }, PING_EVERY_MS);
  }

  #drop(): void {
    this.#environment.clearTimer(this.#retryTimer);
    this.#environment.clearTimer(this.#pingTimer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #setStatus(status: ConnectionStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    this.#handler.statusChanged(status);
  }
}
