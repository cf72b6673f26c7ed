import type { DocUpdateFragment, DocUpdateFragmentHeader } from "loro-protocol";
import type { Environment, Timer } from "../client/environment.ts";
import { FRAGMENT_BATCHES_OPEN_MAX, FRAGMENT_REASSEMBLY_MS_MAX, FRAGMENTED_BYTES_MAX } from "./limits.ts";

interface OpenBatch {
  readonly fragments: (Uint8Array | undefined)[];
  readonly totalBytes: number;
  missing: number;
  readonly timer: Timer;
}

/** Puts the fragments of one room's large updates together again, within bounds of count, bytes and time. */
export class FragmentAssembler {
  readonly #environment: Environment;
  readonly #timedOut: () => void;
  readonly #open = new Map<string, OpenBatch>();

  /** `timedOut` is called when a batch stays unfinished for too long; what it held is gone by then. */
  constructor(environment: Environment, timedOut: () => void) {
    this.#environment = environment;
    this.#timedOut = timedOut;
  }

  /** Opens a batch. Returns whether it was within the bounds. */
  begin(header: DocUpdateFragmentHeader): boolean {
    const { batchId, fragmentCount, totalSizeBytes } = header;
    this.#discard(batchId);
    if (
      this.#open.size >= FRAGMENT_BATCHES_OPEN_MAX ||
      totalSizeBytes > FRAGMENTED_BYTES_MAX ||
      fragmentCount < 1 ||
      fragmentCount > totalSizeBytes
    ) {
      return false;
    }
    const timer = this.#environment.setTimer(() => {
      this.#open.delete(batchId);
      this.#timedOut();
    }, FRAGMENT_REASSEMBLY_MS_MAX);
    const fragments = new Array<Uint8Array | undefined>(fragmentCount).fill(undefined);
    this.#open.set(batchId, { fragments, totalBytes: totalSizeBytes, missing: fragmentCount, timer });
    return true;
  }

  /** Takes one fragment. Returns the whole update with the last one, and `undefined` before. */
  add(fragment: DocUpdateFragment): Uint8Array | undefined {
    const batch = this.#open.get(fragment.batchId);
    if (!batch || fragment.index >= batch.fragments.length || batch.fragments[fragment.index]) return undefined;
    batch.fragments[fragment.index] = fragment.fragment;
    batch.missing -= 1;
    if (batch.missing > 0) return undefined;
    this.#discard(fragment.batchId);
    const whole = new Uint8Array(batch.totalBytes);
    let filled = 0;
    for (const part of batch.fragments) {
      if (!part || filled + part.length > whole.length) return undefined;
      whole.set(part, filled);
      filled += part.length;
    }
    return filled === whole.length ? whole : undefined;
  }

  /** Forgets everything that is unfinished. */
  clear(): void {
    for (const batchId of [...this.#open.keys()]) this.#discard(batchId);
  }

  #discard(batchId: string): void {
    const batch = this.#open.get(batchId);
    if (!batch) return;
    this.#environment.clearTimer(batch.timer);
    this.#open.delete(batchId);
  }
}
