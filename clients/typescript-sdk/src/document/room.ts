import { VersionVector } from "loro-crdt";
import { Backoff } from "../client/backoff.ts";
import type { ConnectionStatus } from "../client/connection.ts";
import type { Environment, Timer } from "../client/environment.ts";
import { type Announcement, decodeWelcome, encodeAnnouncement, type Welcome } from "../protocol/announcement.ts";
import { FragmentAssembler } from "../protocol/fragments.ts";
import {
  CrdtType,
  JoinErrorCode,
  MessageType,
  type ProtocolMessage,
  type Refusal,
  RoomErrorCode,
  type RoomType,
  refusalOfRoomError,
  refusalOfStatus,
  updateFrames,
} from "../protocol/frames.ts";
import { tracedMessage, traceMessage } from "../protocol/messages.ts";
import { hex } from "./hex.ts";
import type { Batch } from "./outbox.ts";
import { REFUSALS_OF_PERSON } from "./recovery.ts";
import type { Replica } from "./replica.ts";
import { Traces } from "./traces.ts";

/** What a room needs of its connection. */
export interface RoomLink {
  readonly environment: Environment;
  send(message: ProtocolMessage): void;
  sendText(text: string): void;
  announce(replica: Replica): Announcement;
  /** The server did not accept the token. Returns whether another attempt makes sense. */
  renewToken(): Promise<boolean>;
}

export interface RoomHandler {
  /** The replica that is to catch up. */
  replica(): Replica;
  /** The server has let us in, and knows this much. */
  joined(known: VersionVector, readOnly: boolean, welcome: Welcome | undefined): void;
  /** The room's stream has ended; what was half received will come again. */
  left(): void;
  updatesReceived(updates: readonly Uint8Array[]): void;
  acknowledged(batchId: string): void;
  refused(batchId: string, refusal: Refusal): void;
  presenceJoined(): void;
  presenceReceived(updates: readonly Uint8Array[]): void;
  statusChanged(status: ConnectionStatus): void;
  /** The server does not want us in this document; the room stays closed. */
  closed(refusal: Refusal): void;
}

/**
 * Our place in a document's rooms on the server, that of its updates and that of its presence: joined, lost and joined
 * again.
 */
export class Room {
  readonly #document: string;
  readonly #link: RoomLink;
  readonly #handler: RoomHandler;
  readonly #fragments: FragmentAssembler;
  readonly #backoff: Backoff;
  readonly #traces: Traces;
  #connected = false;
  #joined = false;
  #status: ConnectionStatus = "offline";
  #isOurs = false;
  #rejoinTimer: Timer;

  constructor(document: string, link: RoomLink, handler: RoomHandler) {
    this.#document = document;
    this.#link = link;
    this.#handler = handler;
    this.#fragments = new FragmentAssembler(link.environment, () => this.rejoin());
    this.#backoff = new Backoff(() => link.environment.random());
    this.#traces = new Traces(link.environment);
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  /** Whether updates go both ways. */
  get isJoined(): boolean {
    return this.#joined;
  }

  /** The socket is open, or lost. */
  connectionChanged(status: ConnectionStatus): void {
    this.#connected = status === "connected";
    if (this.#connected) this.#join();
    else {
      this.#end();
      this.#setStatus(status);
    }
  }

  rejoin(): void {
    if (!this.#connected) return;
    this.#leave();
    this.#join();
  }

  /** Leaves for good. */
  close(): void {
    this.#leave();
    this.#link.environment.clearTimer(this.#rejoinTimer);
    this.#setStatus("offline");
  }

  /** Everything is as it should be: the next trouble is a new one. */
  caughtUp(): void {
    this.#backoff.reset();
  }

  /** The stream can't be used any more, although the socket could. */
  suspend(): void {
    this.#joined = false;
  }

  received(message: ProtocolMessage): void {
    if (message.crdt === CrdtType.LoroEphemeralStore) {
      if (message.type === MessageType.JoinResponseOk) this.#handler.presenceJoined();
      else if (message.type === MessageType.DocUpdate) this.#handler.presenceReceived(message.updates);
    } else if (message.crdt === CrdtType.Loro) this.#documentReceived(message);
  }

  /** Edits are about to be written that began with a key press at this time of events. */
  writing(pressedAt: number | undefined): void {
    this.#traces.written(pressedAt);
  }

  sendBatch(batch: Batch): void {
    const traceparent = this.#traces.sending(batch.id);
    if (traceparent) this.#link.sendText(traceMessage(this.#document, batch.id, traceparent));
    const updates = batch.updates.map((update) => update.bytes);
    this.#sendUpdates(CrdtType.Loro, batch.id, updates);
  }

  sendPresence(update: Uint8Array): void {
    this.#sendUpdates(CrdtType.LoroEphemeralStore, hex(this.#link.environment.randomBytes(8)), [update]);
  }

  #sendUpdates(crdt: RoomType, batch: string, updates: Uint8Array[]): void {
    for (const frame of updateFrames(crdt, this.#document, batch, updates)) this.#link.send(frame);
  }

  #join(): void {
    this.#setStatus("connecting");
    const replica = this.#handler.replica();
    const auth = encodeAnnouncement(this.#link.announce(replica));
    const version = replica.doc.oplogVersion().encode();
    this.#link.send({ type: MessageType.JoinRequest, crdt: CrdtType.Loro, roomId: this.#document, auth, version });
    const none = new Uint8Array();
    this.#link.send({
      type: MessageType.JoinRequest,
      crdt: CrdtType.LoroEphemeralStore,
      roomId: this.#document,
      auth,
      version: none,
    });
  }

  #leave(): void {
    if (this.#connected) {
      for (const crdt of [CrdtType.Loro, CrdtType.LoroEphemeralStore]) {
        this.#link.send({ type: MessageType.Leave, crdt, roomId: this.#document });
      }
    }
    this.#end();
  }

  #end(): void {
    this.#joined = false;
    this.#fragments.clear();
    this.#traces.forget();
    this.#handler.left();
  }

  #rejoinLater(): void {
    this.#end();
    this.#setStatus("offline");
    const { environment } = this.#link;
    environment.clearTimer(this.#rejoinTimer);
    this.#rejoinTimer = environment.setTimer(() => {
      if (this.#connected) this.#join();
    }, this.#backoff.next());
  }

  #refusedByServer(refusal: Refusal): void {
    this.close();
    this.#handler.closed(refusal);
  }

  #documentReceived(message: ProtocolMessage): void {
    switch (message.type) {
      case MessageType.JoinResponseOk: {
        const welcome = decodeWelcome(message.extra);
        this.#isOurs = welcome !== undefined;
        this.#traces.joined(welcome?.traceRatio ?? 0);
        this.#joined = true;
        this.#handler.joined(decodeVersion(message.version), message.permission === "read", welcome);
        if (this.#joined) this.#setStatus("connected");
        return;
      }
      case MessageType.JoinError:
        this.#joinRefused(message.code, message.message, message.appCode);
        return;
      case MessageType.DocUpdate:
        this.#handler.updatesReceived(message.updates);
        return;
      case MessageType.DocUpdateFragmentHeader:
        if (!this.#fragments.begin(message)) this.#rejoinLater();
        return;
      case MessageType.DocUpdateFragment: {
        const update = this.#fragments.add(message);
        if (update) this.#handler.updatesReceived([update]);
        return;
      }
      case MessageType.Ack: {
        const batch = message.refId.slice(2);
        const report = this.#traces.answered(batch);
        if (report) this.#link.sendText(tracedMessage(this.#document, batch, report));
        const refusal = refusalOfStatus(message.status);
        if (!refusal) this.#handler.acknowledged(batch);
        // A server of ours says more right after it, in a `nack`.
        else if (!this.#isOurs) this.#handler.refused(batch, refusal);
        return;
      }
      case MessageType.RoomError:
        if (message.code === RoomErrorCode.Evicted) this.#refusedByServer(refusalOfRoomError(message.message));
        else this.#rejoinLater();
    }
  }

  #joinRefused(code: JoinErrorCode, message: string, appCode: string | undefined): void {
    if (code === JoinErrorCode.AuthFailed) {
      void this.#link.renewToken().then((renewed) => {
        if (renewed) this.#rejoinLater();
        else this.#refusedByServer({ code: "permission_denied", advice: "give_up", message });
      });
    } else if (appCode && REFUSALS_OF_PERSON.has(appCode)) {
      this.#refusedByServer({ code: appCode, advice: "give_up", message });
    } else this.#rejoinLater();
  }

  #setStatus(status: ConnectionStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    this.#handler.statusChanged(status);
  }
}

/** A version as it comes on the wire; stock servers send nothing for an empty one. */
function decodeVersion(bytes: Uint8Array): VersionVector {
  return bytes.length === 0 ? new VersionVector(null) : VersionVector.decode(bytes);
}
