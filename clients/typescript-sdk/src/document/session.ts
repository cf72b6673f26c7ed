import { LoroDoc, type LoroText, type PeerID, type VersionVector } from "loro-crdt";
import type { ConnectionStatus } from "../client/connection.ts";
import { Emitter } from "../client/emitter.ts";
import type { Environment } from "../client/environment.ts";
import { Presence, type User } from "../presence/presence.ts";
import type { Announcement, Welcome } from "../protocol/announcement.ts";
import type { ProtocolMessage, Refusal } from "../protocol/frames.ts";
import { CARRY_OVERS_MAX, INSERTED_TEXT_PER_STEP_BYTES_MAX } from "../protocol/limits.ts";
import type { DocumentMessage } from "../protocol/messages.ts";
import { Delivery } from "./delivery.ts";
import { GuardedImport } from "./guarded-import.ts";
import { Inbox } from "./inbox.ts";
import { exportSpan, type OwnUpdate } from "./outbox.ts";
import type { PeerIdentity } from "./peer.ts";
import type { PendingEdits } from "./pending-edits.ts";
import { Pulse } from "./pulse.ts";
import { forkWithout, REFUSALS_OF_PEER, REFUSALS_OF_PERSON, type RecoveryCopy } from "./recovery.ts";
import { CONTENT, Replica } from "./replica.ts";
import { Room } from "./room.ts";

/** A final refusal, as the person should hear of it. */
export interface RefusedEvent extends Refusal {
  /** Holds what the refusal kept from being saved; absent when nothing was. */
  readonly recovery?: RecoveryCopy;
  /** Whether what was written after the refused part goes on in the document. */
  readonly carriedOver: boolean;
}

export interface SessionEvents {
  status: ConnectionStatus;
  /** Everything that the server had when the document was joined is here. */
  synced: undefined;
  /** The number of operations that are not acknowledged has changed. */
  unsyncedChanges: number;
  /** The server refused edits, or the document, for good. */
  refused: RefusedEvent;
  /** `doc` and `text` are new objects: the replica was loaded anew or forked. */
  replaced: undefined;
  /** An update of somebody else's could not be imported, twice, and was left out. */
  skipped: { readonly error: unknown };
  /** Whether edits are accepted has changed. */
  readOnly: boolean;
}

/** What a session needs of the client that opened it. */
export interface SessionLink {
  readonly environment: Environment;
  readonly user: User;
  send(message: ProtocolMessage): void;
  sendText(text: string): void;
  drawPeer(): PeerIdentity;
  announce(identity: PeerIdentity): Announcement;
  /** A document was joined. */
  joined(): void;
  renewToken(): Promise<boolean>;
  closed(documentId: string): void;
}

/**
 * One open document: the replica, and its exchange with the server.
 *
 * The replica can always be read and edited. `status` says whether there is a server, `unsyncedChanges` what it does
 * not have yet.
 */
export class DocumentSession extends Emitter<SessionEvents> {
  readonly id: string;
  readonly presence: Presence;
  readonly #link: SessionLink;
  readonly #environment: Environment;
  readonly #room: Room;
  readonly #delivery: Delivery;
  readonly #inbox: Inbox;
  readonly #imports: GuardedImport;
  readonly #pulse: Pulse;
  readonly #ownPeers = new Set<PeerID>();
  readonly #recoveryCopies: RecoveryCopy[] = [];
  #replica: Replica;
  /** A fresh replica that takes the place of the present one when it has everything. */
  #loading: Replica | undefined;
  #edits: PendingEdits | undefined;
  /** When the oldest of the edits began that wait. */
  #pressedAt: number | undefined;
  #largeStepInFlight = false;
  /** What the server had at the join and is not known to be here yet. */
  #target: VersionVector | undefined;
  #synced = false;
  #readOnly = false;
  #unsyncedChanges = 0;
  #carryOvers = 0;

  constructor(id: string, link: SessionLink) {
    super();
    this.id = id;
    this.#link = link;
    this.#environment = link.environment;
    this.#delivery = new Delivery(link.environment, {
      send: (batch) => this.#room.sendBatch(batch),
      progressed: () => this.#progressed(),
      rejoin: () => this.#room.rejoin(),
      refused: (refusal, refused, later) => this.#recover(refusal, refused, later),
    });
    this.#imports = new GuardedImport({
      document: () => (this.#loading ?? this.#replica).doc,
      reload: () => this.#reload(),
      skipped: (error) => this.emit("skipped", { error }),
      failed: () => this.#giveUp(),
    });
    this.#inbox = new Inbox(link.environment, (updates) => this.#imports.importStep(updates));
    this.#pulse = new Pulse(link.environment, () => this.#turn());
    this.#replica = this.#replicaOf(new LoroDoc(), link.drawPeer());
    this.presence = new Presence(link.environment, this.#replica.identity.peer, link.user, (update) =>
      this.#room.sendPresence(update),
    );
    this.#room = new Room(
      id,
      { ...link, announce: ({ identity }) => link.announce(identity) },
      {
        replica: () => this.#loading ?? this.#replica,
        joined: (known, readOnly, welcome) => this.#joined(known, readOnly, welcome),
        left: () => this.#left(),
        updatesReceived: (updates) => this.#updatesReceived(updates),
        acknowledged: (batchId) => this.#delivery.acknowledged(batchId),
        refused: (batchId, refusal) => this.#delivery.refused(batchId, refusal),
        presenceJoined: () => this.presence.joined(),
        presenceReceived: (updates) => this.presence.received(updates),
        statusChanged: (status) => this.emit("status", status),
        closed: (refusal) => this.emit("refused", { ...refusal, carriedOver: false }),
      },
    );
  }

  /** The replica. Read it freely; write it and call `commit`, or through an editor binding. */
  get doc(): LoroDoc {
    return this.#replica.doc;
  }

  /** The document's text. */
  get text(): LoroText {
    return this.doc.getText(CONTENT);
  }

  get status(): ConnectionStatus {
    return this.#room.status;
  }

  /** Whether everything that the server had at the last join is here. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Operations, and edits that are about to become some, which the server has not acknowledged. */
  get unsyncedChanges(): number {
    return this.#unsyncedChanges;
  }

  /** The replica broke and must not be touched; a fresh one is on its way, and `replaced` will say so. */
  get isBroken(): boolean {
    return this.#loading !== undefined;
  }

  get readOnly(): boolean {
    return this.#readOnly;
  }

  /** Copies of what final refusals kept from being saved, oldest first. */
  get recoveryCopies(): readonly RecoveryCopy[] {
    return this.#recoveryCopies;
  }

  /** Names the source of edits that are written on the pulse; returns how to take it away. */
  attachEdits(edits: PendingEdits): () => void {
    if (this.#edits) throw new Error("another editor is attached to this document");
    this.#edits = edits;
    return () => {
      this.writeEdits();
      this.#edits = undefined;
    };
  }

  /** The attached editor has edits that wait. They began with an event that is stamped `pressedAt`, if with one. */
  editsWaiting(pressedAt?: number): void {
    this.#pressedAt ??= pressedAt;
    this.#countUnsynced();
    this.#pulse.waiting();
  }

  /** Writes what waits now, ahead of the pulse: before an undo, or when the page is about to go. */
  writeEdits(): void {
    while (this.#edits && this.#edits.count > 0 && !this.#loading) this.#writeStep(this.#edits);
  }

  /** Leaves the document. What is not acknowledged is lost unless it was saved elsewhere: see `unsyncedChanges`. */
  close(): void {
    this.writeEdits();
    this.presence.close();
    this.#room.close();
    this.#replica.close();
    this.#link.closed(this.id);
  }

  /** @internal The socket is open, or lost. */
  connectionChanged(status: ConnectionStatus): void {
    this.#room.connectionChanged(status);
  }

  /** @internal A frame for this document. */
  received(message: ProtocolMessage): void {
    this.#room.received(message);
  }

  /** @internal A text message for this document. */
  receivedMessage(message: DocumentMessage): void {
    if (!this.#room.isJoined) return;
    switch (message.type) {
      case "pulse":
        this.#pulse.beat(message.beatMs);
        return;
      case "ack":
        this.#delivery.acknowledged(message.batch);
        return;
      case "nack":
        this.#delivery.refused(message.batch, message);
        return;
      case "caught_up":
        this.#target = undefined;
        this.#turn();
    }
  }

  // --- The room -------------------------------------------------------------------------------

  #joined(known: VersionVector, readOnly: boolean, welcome: Welcome | undefined): void {
    this.#link.joined();
    const { identity, ownEnd } = this.#replica;
    if (!this.#loading && welcome && (!welcome.peer.owned || welcome.peer.end > ownEnd)) {
      // Somebody else's, or ours from a life that this replica has forgotten: going on would forge.
      this.#continueUnderNewPeer([], this.#delivery.takeAll(), true);
      this.#room.rejoin();
      return;
    }
    this.#target = known;
    this.#setReadOnly(readOnly);
    this.presence.userConfirmed(welcome?.user ?? identity.peer);
    this.#delivery.start(known, this.#loading ? [] : this.#lostOperations(known));
    this.#turn();
  }

  #left(): void {
    this.#synced = false;
    this.#largeStepInFlight = false;
    this.#inbox.clear();
    this.#delivery.stop();
    this.presence.left();
    this.#pulse.stop();
  }

  /**
   * Own operations that were acknowledged and that the server lacks all the same: it is another region, or a restored
   * one.
   */
  #lostOperations(known: VersionVector): OwnUpdate[] {
    const unacknowledged = this.#delivery.updates;
    return [...this.#ownPeers].flatMap((peer) => {
      const first = unacknowledged.find((update) => update.peer === peer);
      const end = first?.start ?? this.#replica.knownEnd(peer);
      return exportSpan(this.doc, { peer, start: known.get(peer) ?? 0, end });
    });
  }

  // --- Turns ----------------------------------------------------------------------------------

  #updatesReceived(updates: readonly Uint8Array[]): void {
    this.#inbox.push(updates.filter((update) => update.length > 0));
    if (this.#pulse.beatMs > 0) this.#pulse.waiting();
    else this.#turn();
  }

  /** One turn: what has come is imported, and then what was typed is committed on top of it. */
  #turn(): void {
    this.#inbox.drain(() => {
      this.#checkSynced();
      if (!this.#edits || this.#edits.count === 0 || this.#loading) return;
      const { isJoined } = this.#room;
      if (this.#largeStepInFlight && isJoined && !this.#delivery.isIdle) return;
      this.#writeStep(this.#edits);
      // The rest of a large insertion goes step by step, so that others' edits are concurrent with one step of it and
      // not with all.
      this.#largeStepInFlight = this.#edits.count > 0;
      if (this.#largeStepInFlight && !isJoined) this.#environment.yieldThen(() => this.#turn());
    });
  }

  #writeStep(edits: PendingEdits): void {
    this.#room.writing(this.#pressedAt);
    this.#pressedAt = undefined;
    edits.write(INSERTED_TEXT_PER_STEP_BYTES_MAX);
    this.doc.commit();
    this.#countUnsynced();
  }

  #checkSynced(): void {
    if (!this.#room.isJoined || this.#synced) return;
    if (this.#target && !(this.#loading ?? this.#replica).includes(this.#target)) return;
    if (this.#loading) this.#finishLoading(this.#loading);
    this.#synced = true;
    this.#room.caughtUp();
    this.emit("synced", undefined);
  }

  #progressed(): void {
    this.#countUnsynced();
    if (this.#edits && this.#edits.count > 0 && this.#delivery.isIdle) this.#pulse.waiting();
  }

  // --- The replica, and another one in its place ----------------------------------------------

  #replicaOf(doc: LoroDoc, identity: PeerIdentity): Replica {
    this.#ownPeers.add(identity.peer);
    return new Replica(doc, identity, (updates) => {
      this.#delivery.add(updates, doc);
      this.#countUnsynced();
    });
  }

  #install(replica: Replica): void {
    this.#replica.close();
    this.#replica = replica;
    this.presence.peerChanged(replica.identity.peer);
    this.emit("replaced", undefined);
  }

  /** An import broke the replica: a fresh one is loaded beside it, and takes its place when it has everything. */
  #reload(): void {
    this.#loading = this.#replicaOf(new LoroDoc(), this.#replica.identity);
    this.#synced = false;
    this.#inbox.clear();
    this.#room.suspend();
    this.#environment.defer(() => this.#room.rejoin());
  }

  #finishLoading(fresh: Replica): void {
    this.#loading = undefined;
    for (const update of this.#delivery.updates) this.#imports.importOwn(fresh.doc, update.bytes);
    const complete = fresh.knownEnd(fresh.identity.peer) >= this.#replica.ownEnd;
    fresh.close();
    this.#install(this.#replicaOf(fresh.doc, complete ? fresh.identity : this.#link.drawPeer()));
    if (!complete) this.#environment.defer(() => this.#room.rejoin());
  }

  #giveUp(): void {
    this.#room.close();
    this.emit("refused", {
      code: "internal",
      advice: "give_up",
      message: "the document can't be read here",
      carriedOver: false,
    });
  }

  #recover(refusal: Refusal, refused: readonly OwnUpdate[], later: readonly OwnUpdate[]): void {
    if (this.#loading) {
      // The replica is broken already, and nothing can be read from it; the fresh one comes without the refused part.
      this.emit("refused", { ...refusal, carriedOver: false });
      return;
    }
    this.writeEdits();
    const copy: RecoveryCopy = {
      document: this.id,
      savedAtMs: this.#environment.now(),
      snapshot: this.doc.export({ mode: "snapshot" }),
      text: this.text.toString(),
    };
    this.#recoveryCopies.push(copy);
    const carriedOver = !REFUSALS_OF_PERSON.has(refusal.code) && this.#carryOvers < CARRY_OVERS_MAX;
    this.#carryOvers += 1;
    const all = [...later, ...this.#delivery.takeUnsent()];
    if (REFUSALS_OF_PEER.has(refusal.code)) this.#continueUnderNewPeer([], [...refused, ...all], carriedOver);
    else this.#continueUnderNewPeer(refused, all, carriedOver);
    if (!carriedOver) this.#setReadOnly(true);
    this.emit("refused", { ...refusal, recovery: copy, carriedOver });
    this.#room.rejoin();
  }

  #continueUnderNewPeer(refused: readonly OwnUpdate[], later: readonly OwnUpdate[], carryOver: boolean): void {
    const fork = forkWithout(this.doc, refused, later);
    const replica = this.#replicaOf(fork.doc, this.#link.drawPeer());
    if (carryOver) {
      fork.carryOver();
      replica.doc.commit();
    }
    this.#install(replica);
  }

  // --- What is shown --------------------------------------------------------------------------

  #countUnsynced(): void {
    const count = this.#delivery.operationCount + (this.#edits?.count ?? 0);
    if (count === this.#unsyncedChanges) return;
    this.#unsyncedChanges = count;
    this.emit("unsyncedChanges", count);
  }

  #setReadOnly(readOnly: boolean): void {
    if (this.#readOnly === readOnly) return;
    this.#readOnly = readOnly;
    this.emit("readOnly", readOnly);
  }
}
