import { RETRY_MS_FIRST, RETRY_MS_MAX } from "../protocol/limits.ts";

/**
 * Pauses of 2, 4, 8 … 30 s with full jitter: each is drawn evenly from nothing to its bound, so that a crowd does not
 * come back at once.
 */
export class Backoff {
  readonly #random: () => number;
  #attempts = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** The next pause, in milliseconds. */
  next(): number {
    const bound = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 16);
    return this.#random() * bound;
  }

  /** Starts over, after something succeeded. */
  reset(): void {
    this.#attempts = 0;
  }
}
