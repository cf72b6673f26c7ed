import type { Environment } from "../client/environment.ts";
import { BATCHES_IN_FLIGHT_MAX } from "../protocol/limits.ts";
import { hex } from "./hex.ts";

/** How long a traced batch has taken. */
export interface TraceReport {
  /** From the key press that it begins with until it was sent; absent if it begins with none. */
  readonly waitedMs: number | undefined;
  /** From there until its answer was here. */
  readonly answeredMs: number;
}

interface SentBatch {
  readonly waitedMs: number | undefined;
  readonly sentAt: number;
}

/** Chooses the batches of a document that are traced, as many as its server asks for, and takes their time. */
export class Traces {
  readonly #environment: Environment;
  readonly #sent = new Map<string, SentBatch>();
  #ratio = 0;
  /** When the key was pressed with which the oldest edit began that is written and not sent. */
  #pressedAt: number | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** The document is joined, and the server asks for this part of its batches. */
  joined(ratio: number): void {
    this.forget();
    this.#ratio = ratio;
  }

  /** What was sent will not be answered any more. */
  forget(): void {
    this.#sent.clear();
    this.#pressedAt = undefined;
  }

  /** Edits are written that began with a key press at this time of events. */
  written(pressedAt: number | undefined): void {
    this.#pressedAt ??= pressedAt;
  }

  /** A batch is about to be sent. Returns its W3C trace context if it is traced. */
  sending(batch: string): string | undefined {
    const pressedAt = this.#pressedAt;
    this.#pressedAt = undefined;
    const environment = this.#environment;
    if (this.#ratio <= 0 || this.#sent.size >= BATCHES_IN_FLIGHT_MAX) return undefined;
    if (environment.random() >= this.#ratio) return undefined;
    const sentAt = environment.eventTime();
    this.#sent.set(batch, { waitedMs: pressedAt === undefined ? undefined : sentAt - pressedAt, sentAt });
    return `00-${hex(environment.randomBytes(16))}-${hex(environment.randomBytes(8))}-01`;
  }

  /** A batch is answered. Returns how long it has taken if it is traced. */
  answered(batch: string): TraceReport | undefined {
    const sent = this.#sent.get(batch);
    if (!sent) return undefined;
    this.#sent.delete(batch);
    return { waitedMs: sent.waitedMs, answeredMs: this.#environment.eventTime() - sent.sentAt };
  }
}
