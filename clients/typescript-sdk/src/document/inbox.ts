import type { Environment } from "../client/environment.ts";
import { IMPORT_SLICE_MS_MAX, INSERTED_TEXT_PER_STEP_BYTES_MAX } from "../protocol/limits.ts";

/**
 * Updates from the server on their way into the replica.
 *
 * They are imported in order and in steps that insert at most 16 KiB of text, and the thread is given back between
 * steps when they have held it for a while: a catch-up of megabytes leaves the page alive.
 */
export class Inbox {
  readonly #environment: Environment;
  readonly #importStep: (updates: Uint8Array[]) => void;
  #waiting: Uint8Array[] = [];
  #whenEmpty: (() => void)[] = [];
  #draining = false;

  /** `importStep` imports one step; it must not throw. */
  constructor(environment: Environment, importStep: (updates: Uint8Array[]) => void) {
    this.#environment = environment;
    this.#importStep = importStep;
  }

  push(updates: readonly Uint8Array[]): void {
    this.#waiting.push(...updates);
  }

  /** Imports everything that waits and then calls `whenEmpty`, at once if it all fits into a moment. */
  drain(whenEmpty: () => void): void {
    this.#whenEmpty.push(whenEmpty);
    if (this.#draining) return;
    this.#draining = true;
    this.#run();
  }

  /** Drops what waits: the room was left, or the replica is loaded anew. */
  clear(): void {
    this.#waiting = [];
  }

  #run(): void {
    const started = this.#environment.now();
    while (this.#waiting.length > 0) {
      if (this.#environment.now() - started > IMPORT_SLICE_MS_MAX) {
        this.#environment.yieldThen(() => this.#run());
        return;
      }
      this.#importStep(this.#takeStep());
    }
    this.#draining = false;
    for (const whenEmpty of this.#whenEmpty.splice(0)) whenEmpty();
  }

  /** As many updates as fit into one step, at least one. An update's bytes bound the text in it. */
  #takeStep(): Uint8Array[] {
    let bytes = 0;
    const rest = this.#waiting.findIndex((update, index) => {
      bytes += update.length;
      return index > 0 && bytes > INSERTED_TEXT_PER_STEP_BYTES_MAX;
    });
    return this.#waiting.splice(0, rest < 0 ? this.#waiting.length : rest);
  }
}
