/** A server at the level of the protocol, with the real frames and the real engine, for the client's state machine. */

import { decodeImportBlobMeta, LoroDoc, VersionVector } from "loro-crdt";
import type { Socket, SocketConstructor } from "../src/client/connection.ts";
import {
  CrdtType,
  decode,
  encode,
  MessageType,
  type ProtocolMessage,
  UpdateStatusCode,
} from "../src/protocol/frames.ts";
import type { Advice } from "../src/protocol/messages.ts";
import type { Simulation } from "./simulation.ts";

export interface Nack {
  readonly code: string;
  readonly advice: Advice;
}

export interface ReceivedBatch {
  readonly id: string;
  readonly updates: readonly Uint8Array[];
}

/** One end of a socket, of which the server holds the other. */
export class ServerSocket implements Socket {
  binaryType = "";
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  announcement: Record<string, unknown> | undefined;
  readonly rooms = new Set<string>();
  /** Refuses to hear or say anything more, as a dead network does. */
  silent = false;
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  /** Called by the client. */
  send(data: string | Uint8Array): void {
    const copy = typeof data === "string" ? data : data.slice();
    this.#server.simulation.setTimer(() => {
      if (!this.silent) this.#server.received(this, copy);
    }, this.#server.latencyMs);
  }

  /** Called by the client. */
  close(): void {
    this.readyState = 3;
    this.#server.sockets.delete(this);
  }

  /** Called by the server. */
  deliver(data: string | Uint8Array): void {
    const copy = typeof data === "string" ? data : (data.slice().buffer as ArrayBuffer);
    this.#server.simulation.setTimer(() => {
      if (this.readyState === 1 && !this.silent) this.onmessage?.({ data: copy });
    }, this.#server.latencyMs);
  }

  /** The connection breaks. */
  cut(): void {
    this.readyState = 3;
    this.#server.sockets.delete(this);
    this.onclose?.(undefined as never);
  }
}

export class Server {
  readonly simulation: Simulation;
  readonly sockets = new Set<ServerSocket>();
  readonly documents = new Map<string, LoroDoc>();
  /** Everything that was received for documents, in order. */
  readonly batches: ReceivedBatch[] = [];
  readonly texts: string[] = [];
  readonly joins: { crdt: string; version: VersionVector; announcement: Record<string, unknown> }[] = [];
  latencyMs = 5;
  isUp = true;
  connectionCount = 0;
  /** Our server's additions are off: a stock server. */
  isStock = false;
  permission: "read" | "write" = "write";
  isOwned = true;
  /** The part of what clients send that the server asks to have traced; `undefined` where it does not. */
  traceRatio: number | undefined;
  /** Decides on each batch: `undefined` takes it, "ignore" never answers. */
  judge: (batch: ReceivedBatch) => Nack | "ignore" | undefined = () => undefined;

  constructor(simulation: Simulation) {
    this.simulation = simulation;
  }

  /** The constructor to give to a client. */
  get WebSocket(): SocketConstructor {
    const server = this;
    return class extends ServerSocket {
      constructor() {
        super(server);
        server.#connect(this);
      }
    };
  }

  #connect(socket: ServerSocket): void {
    this.connectionCount += 1;
    this.simulation.setTimer(() => {
      if (!this.isUp) {
        socket.cut();
        return;
      }
      this.sockets.add(socket);
      socket.readyState = 1;
      socket.onopen?.(undefined as never);
    }, this.latencyMs);
  }

  document(id: string): LoroDoc {
    const document = this.documents.get(id) ?? new LoroDoc();
    this.documents.set(id, document);
    return document;
  }

  text(id: string): string {
    return this.document(id).getText("content").toString();
  }

  /** Somebody else's update arrives for everybody in the document. */
  broadcast(id: string, updates: Uint8Array[], except?: ServerSocket): void {
    for (const socket of this.sockets) {
      if (socket !== except && socket.rooms.has(`${CrdtType.Loro}${id}`))
        this.#sendUpdates(socket, CrdtType.Loro, id, updates);
    }
  }

  /** A text message to everybody. */
  tell(message: Record<string, unknown>): void {
    for (const socket of this.sockets) socket.deliver(JSON.stringify(message));
  }

  received(socket: ServerSocket, data: string | Uint8Array): void {
    if (typeof data === "string") {
      if (data === "ping") socket.deliver("pong");
      else this.texts.push(data);
      return;
    }
    const message = decode(data);
    const room = `${message.crdt}${message.roomId}`;
    if (message.type === MessageType.JoinRequest) this.#join(socket, message);
    else if (message.type === MessageType.Leave) socket.rooms.delete(room);
    else if (message.type === MessageType.DocUpdate && socket.rooms.has(room)) {
      if (message.crdt === CrdtType.Loro)
        this.#write(socket, message.roomId, { id: message.batchId.slice(2), updates: message.updates });
      else {
        for (const other of this.sockets) {
          if (other !== socket && other.rooms.has(room))
            this.#sendUpdates(other, CrdtType.LoroEphemeralStore, message.roomId, message.updates);
        }
      }
    }
  }

  #join(socket: ServerSocket, message: Extract<ProtocolMessage, { type: 0 }>): void {
    const { crdt, roomId } = message;
    const announcement = JSON.parse(new TextDecoder().decode(message.auth)) as Record<string, unknown>;
    socket.announcement = announcement;
    socket.rooms.add(`${crdt}${roomId}`);
    const document = this.document(roomId);
    const isDocument = crdt === CrdtType.Loro;
    const version = message.version.length > 0 ? VersionVector.decode(message.version) : new VersionVector(null);
    this.joins.push({ crdt, version, announcement });
    const end = document.oplogVersion().get(announcement.peer as `${number}`) ?? 0;
    const welcome = {
      collabedit: 1,
      session: "ses_1",
      user: "usr_1",
      server_time_ms: this.simulation.now(),
      peer: { end, owned: this.isOwned },
      features: ["pulse", "stamps"],
      limits: {},
      trace_ratio: this.traceRatio,
    };
    const extra = this.isStock ? new Uint8Array() : new TextEncoder().encode(JSON.stringify(welcome));
    this.#send(socket, {
      type: MessageType.JoinResponseOk,
      crdt,
      roomId,
      permission: this.permission,
      version: isDocument ? document.oplogVersion().encode() : new Uint8Array(),
      extra,
    });
    if (!isDocument) return;
    const missing = document.export({ mode: "update", from: version });
    if (document.opCount() > 0) this.#sendUpdates(socket, CrdtType.Loro, roomId, [missing]);
    if (!this.isStock) socket.deliver(JSON.stringify({ type: "caught_up", document: roomId }));
  }

  #write(socket: ServerSocket, id: string, batch: ReceivedBatch): void {
    this.batches.push({ id: batch.id, updates: batch.updates.map((update) => update.slice()) });
    const verdict = this.#contiguous(id, batch)
      ? this.judge(batch)
      : ({ code: "missing_dependency", advice: "rejoin" } as const);
    if (verdict === "ignore") return;
    if (verdict) {
      this.#ack(
        socket,
        id,
        batch.id,
        verdict.code === "invalid_update" ? UpdateStatusCode.InvalidUpdate : UpdateStatusCode.AppError,
      );
      if (!this.isStock) {
        const { code, advice } = verdict;
        socket.deliver(JSON.stringify({ type: "nack", document: id, batch: batch.id, code, advice, message: "" }));
      }
      return;
    }
    this.document(id).importBatch([...batch.updates]);
    this.broadcast(id, [...batch.updates], socket);
    this.#ack(socket, id, batch.id, UpdateStatusCode.Ok);
    if (!this.isStock) {
      socket.deliver(
        JSON.stringify({
          type: "ack",
          document: id,
          batch: batch.id,
          hlc_first: "1",
          hlc_last: "1",
          node: 1,
          offset: 0,
        }),
      );
    }
  }

  #contiguous(id: string, batch: ReceivedBatch): boolean {
    const known = this.document(id).oplogVersion().toJSON();
    return batch.updates.every((update) => {
      const { partialStartVersionVector: start, partialEndVersionVector: end } = decodeImportBlobMeta(update, false);
      return [...end.toJSON()].every(([peer, counter]) => {
        const follows = (start.get(peer) ?? 0) <= (known.get(peer) ?? 0);
        known.set(peer, Math.max(counter, known.get(peer) ?? 0));
        return follows;
      });
    });
  }

  #ack(socket: ServerSocket, roomId: string, batch: string, status: UpdateStatusCode): void {
    this.#send(socket, { type: MessageType.Ack, crdt: CrdtType.Loro, roomId, refId: `0x${batch}`, status });
  }

  #sendUpdates(
    socket: ServerSocket,
    crdt: typeof CrdtType.Loro | typeof CrdtType.LoroEphemeralStore,
    roomId: string,
    updates: Uint8Array[],
  ): void {
    this.#send(socket, { type: MessageType.DocUpdate, crdt, roomId, updates, batchId: "0x0000000000000000" });
  }

  #send(socket: ServerSocket, message: ProtocolMessage): void {
    socket.deliver(encode(message));
  }
}
