import type { LoroDoc, VersionVector } from "loro-crdt";
import { Backoff } from "../client/backoff.ts";
import type { Environment, Timer } from "../client/environment.ts";
import type { Refusal } from "../protocol/frames.ts";
import { ACK_MS_MAX } from "../protocol/limits.ts";
import { hex } from "./hex.ts";
import { type Batch, Outbox, type OwnUpdate } from "./outbox.ts";

export interface DeliveryHandler {
  send(batch: Batch): void;
  /** What is acknowledged has changed. */
  progressed(): void;
  /** The room should be left and joined again: an answer is overdue, or the server asked for it. */
  rejoin(): void;
  /** The refusal is final. The batch and all later ones are out of the outbox. */
  refused(refusal: Refusal, refused: readonly OwnUpdate[], later: readonly OwnUpdate[]): void;
}

/** Brings one's own operations to the server, again and again, until each is acknowledged or finally refused. */
export class Delivery {
  readonly #environment: Environment;
  readonly #handler: DeliveryHandler;
  readonly #outbox: Outbox;
  readonly #backoff: Backoff;
  #open = false;
  #pause: Timer;
  #overdue: Timer;

  constructor(environment: Environment, handler: DeliveryHandler) {
    this.#environment = environment;
    this.#handler = handler;
    this.#backoff = new Backoff(() => environment.random());
    this.#outbox = new Outbox(() => hex(environment.randomBytes(8)));
  }

  /** Operations that are not acknowledged. */
  get operationCount(): number {
    return this.#outbox.operationCount;
  }

  /** Whether everything is acknowledged. */
  get isIdle(): boolean {
    return this.#outbox.isEmpty;
  }

  /** What is not acknowledged, in the order in which it was written. */
  get updates(): readonly OwnUpdate[] {
    return this.#outbox.updates;
  }

  add(updates: readonly OwnUpdate[], doc: LoroDoc): void {
    this.#outbox.add(updates, doc);
    this.#send();
  }

  /** The room is joined, and the server knows this much: what it lacks is offered again, first what it had `lost`. */
  start(known: VersionVector, lost: readonly OwnUpdate[]): void {
    this.#outbox.forgetKnown(known);
    this.#outbox.sendAgain();
    this.#outbox.offerAgain(lost);
    this.#open = true;
    this.#environment.clearTimer(this.#pause);
    this.#pause = undefined;
    this.#send();
    this.#handler.progressed();
  }

  /** The room is not joined any more. */
  stop(): void {
    this.#open = false;
    this.#environment.clearTimer(this.#pause);
    this.#pause = undefined;
    this.#environment.clearTimer(this.#overdue);
  }

  /** Takes out what was never sent. */
  takeUnsent(): OwnUpdate[] {
    return this.#outbox.takeUnsent();
  }

  /** Takes out everything that is not acknowledged. */
  takeAll(): OwnUpdate[] {
    return this.#outbox.takeAll();
  }

  acknowledged(batchId: string): void {
    if (!this.#outbox.acknowledge(batchId)) return;
    this.#backoff.reset();
    this.#awaitAck();
    this.#send();
    this.#handler.progressed();
  }

  /** Does what the refusal advises. A refusal of what is not on its way says nothing new: the one before it decided. */
  refused(batchId: string, refusal: Refusal): void {
    if (!this.#outbox.inFlight(batchId)) return;
    switch (refusal.advice) {
      case "retry":
        this.#outbox.sendAgain(batchId);
        this.#after(() => this.#send());
        return;
      case "rejoin":
        this.#outbox.sendAgain(batchId);
        this.#after(() => this.#handler.rejoin());
        return;
      case "fix":
      case "give_up": {
        const { refused, later } = this.#outbox.cut(batchId);
        this.#awaitAck();
        this.#handler.refused(refusal, refused, later);
      }
    }
  }

  /** Sends nothing for a while, and then does this. */
  #after(then: () => void): void {
    this.#environment.clearTimer(this.#pause);
    this.#pause = this.#environment.setTimer(() => {
      this.#pause = undefined;
      then();
    }, this.#backoff.next());
    this.#awaitAck();
  }

  #send(): void {
    if (!this.#open || this.#pause !== undefined) return;
    for (let batch = this.#outbox.next(); batch; batch = this.#outbox.next()) this.#handler.send(batch);
    this.#awaitAck();
  }

  #awaitAck(): void {
    this.#environment.clearTimer(this.#overdue);
    if (!this.#open || this.#pause !== undefined || this.#outbox.isEmpty) return;
    this.#overdue = this.#environment.setTimer(() => this.#handler.rejoin(), ACK_MS_MAX);
  }
}
