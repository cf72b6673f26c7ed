import { decodeImportBlobMeta, type LoroDoc, type PeerID, type VersionVector } from "loro-crdt";
import {
  BATCHES_IN_FLIGHT_MAX,
  INSERTED_TEXT_PER_STEP_BYTES_MAX,
  UNSENT_UPDATES_MAX,
  UPDATES_PER_BATCH_MAX,
} from "../protocol/limits.ts";

/** Consecutive operations of one peer. */
export interface Span {
  readonly peer: PeerID;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** One's own operations, encoded once, so that the same bytes can be offered again. */
export interface OwnUpdate extends Span {
  readonly bytes: Uint8Array;
}

/** What is sent and answered as one. */
export interface Batch {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly updates: readonly OwnUpdate[];
}

/** The spans of one peer in an update that was exported after a commit. */
export function spanOf(update: Uint8Array): Span | undefined {
  const { partialStartVersionVector: start, partialEndVersionVector: end } = decodeImportBlobMeta(update, false);
  for (const [peer, counter] of end.toJSON()) return { peer, start: start.get(peer) ?? 0, end: counter };
  return undefined;
}

/** A span of `doc` as updates that an import step can take: halved until each is within the limit. */
export function exportSpan(doc: LoroDoc, span: Span): OwnUpdate[] {
  const { peer, start, end } = span;
  if (end <= start) return [];
  const bytes = doc.export({ mode: "updates-in-range", spans: [{ id: { peer, counter: start }, len: end - start }] });
  if (bytes.length <= INSERTED_TEXT_PER_STEP_BYTES_MAX || end - start === 1) return [{ ...span, bytes }];
  const middle = start + Math.floor((end - start) / 2);
  return [...exportSpan(doc, { peer, start, end: middle }), ...exportSpan(doc, { peer, start: middle, end })];
}

/**
 * One's own operations until the server has acknowledged them, in the order in which they were written.
 *
 * They are kept as bytes and not read from the document again: the document may be what broke, and a span that is
 * offered again with other bytes looks like a forgery.
 */
export class Outbox {
  /** Batches that were sent at least once: first those on their way, */
  #batches: Batch[] = [];
  /** as many as this, then those that are to be sent again. */
  #inFlightCount = 0;
  #unsent: OwnUpdate[] = [];
  #joinAtCount = UNSENT_UPDATES_MAX;
  readonly #batchId: () => string;

  constructor(batchId: () => string) {
    this.#batchId = batchId;
  }

  /** Operations that are not acknowledged. */
  get operationCount(): number {
    return this.updates.reduce((count, { start, end }) => count + end - start, 0);
  }

  /** Everything that is not acknowledged, in order. */
  get updates(): OwnUpdate[] {
    return [...this.#batches.flatMap((batch) => batch.updates), ...this.#unsent];
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0 && this.#unsent.length === 0;
  }

  /** Takes new operations. Many that were never sent are joined with their neighbours, which `doc` exports again. */
  add(updates: readonly OwnUpdate[], doc: LoroDoc): void {
    this.#unsent.push(...updates);
    if (this.#unsent.length > this.#joinAtCount) this.#joinUnsent(doc);
  }

  /** The next batch to send, or `undefined` when nothing waits or enough is on its way. */
  next(): Batch | undefined {
    const again = this.#batches[this.#inFlightCount];
    if (!again && this.#unsent.length === 0) return undefined;
    if (this.#inFlightCount >= BATCHES_IN_FLIGHT_MAX) return undefined;
    this.#inFlightCount += 1;
    if (again) return again;
    let bytes = 0;
    const rest = this.#unsent.findIndex((update, index) => {
      bytes += update.bytes.length;
      return index > 0 && (bytes > INSERTED_TEXT_PER_STEP_BYTES_MAX || index >= UPDATES_PER_BATCH_MAX);
    });
    const updates = this.#unsent.splice(0, rest < 0 ? this.#unsent.length : rest);
    const batch = { id: this.#batchId(), updates };
    this.#batches.push(batch);
    return batch;
  }

  /** The batch is durable. Returns whether it was waited for. */
  acknowledge(id: string): boolean {
    const index = this.#batches.findIndex((batch) => batch.id === id);
    if (index < 0) return false;
    this.#batches.splice(index, 1);
    if (index < this.#inFlightCount) this.#inFlightCount -= 1;
    return true;
  }

  /** The batch with this id, if it is on its way. */
  inFlight(id: string): Batch | undefined {
    return this.#batches.slice(0, this.#inFlightCount).find((batch) => batch.id === id);
  }

  /**
   * Everything from this batch on is to be sent again, with the same bytes; without an id, everything that was sent.
   */
  sendAgain(fromId?: string): void {
    const index = fromId === undefined ? 0 : this.#batches.findIndex((batch) => batch.id === fromId);
    if (index >= 0) this.#inFlightCount = Math.min(this.#inFlightCount, index);
  }

  /** Forgets what the server knows already. */
  forgetKnown(version: VersionVector): void {
    const unknown = ({ peer, end }: Span) => (version.get(peer) ?? 0) < end;
    this.#batches = this.#batches.filter((batch) => batch.updates.some(unknown));
    this.#inFlightCount = Math.min(this.#inFlightCount, this.#batches.length);
    this.#unsent = this.#unsent.filter(unknown);
  }

  /** Puts operations in front that were acknowledged once and that the server has lost since. */
  offerAgain(updates: readonly OwnUpdate[]): void {
    this.#batches.unshift(...updates.map((update) => ({ id: this.#batchId(), updates: [update] })));
    this.#inFlightCount = 0;
  }

  /** Takes out what was never sent. */
  takeUnsent(): OwnUpdate[] {
    return this.#unsent.splice(0);
  }

  /** Takes out everything. */
  takeAll(): OwnUpdate[] {
    this.#inFlightCount = 0;
    return [...this.#batches.splice(0).flatMap((batch) => batch.updates), ...this.takeUnsent()];
  }

  /** Takes out this batch and everything after it, and returns their updates: the batch's, and the later ones. */
  cut(id: string): { refused: readonly OwnUpdate[]; later: OwnUpdate[] } {
    const index = this.#batches.findIndex((batch) => batch.id === id);
    if (index < 0) return { refused: [], later: [] };
    const [refused, ...later] = this.#batches.splice(index);
    this.#inFlightCount = Math.min(this.#inFlightCount, index);
    return {
      refused: refused?.updates ?? [],
      later: [...later.flatMap((batch) => batch.updates), ...this.takeUnsent()],
    };
  }

  #joinUnsent(doc: LoroDoc): void {
    const spans: { peer: PeerID; start: number; end: number }[] = [];
    for (const { peer, start, end } of this.#unsent) {
      const last = spans.at(-1);
      if (last && last.peer === peer && last.end === start) last.end = end;
      else spans.push({ peer, start, end });
    }
    this.#unsent = spans.flatMap((span) => exportSpan(doc, span));
    this.#joinAtCount = Math.max(UNSENT_UPDATES_MAX, 2 * this.#unsent.length);
  }
}
