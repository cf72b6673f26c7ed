import type { Environment, Timer } from "../client/environment.ts";

/**
 * When what waits on either side of a replica is taken: at once with a few typists, on the room's beat with many.
 *
 * Edits that are committed right after a frame was imported build on what everybody has seen, which keeps every later
 * import cheap (`docs/protocol.md`, section 4).
 */
export class Pulse {
  readonly #environment: Environment;
  readonly #turn: () => void;
  #beatMs = 0;
  #deferred = false;
  #overdue: Timer;

  /** `turn` imports what has come and then commits what was typed. */
  constructor(environment: Environment, turn: () => void) {
    this.#environment = environment;
    this.#turn = turn;
  }

  /** The beat's length in milliseconds; 0 while everything goes at once. */
  get beatMs(): number {
    return this.#beatMs;
  }

  /** Something waits: an edit, or updates that came. */
  waiting(): void {
    if (this.#beatMs > 0) {
      this.#overdue ??= this.#environment.setTimer(() => this.#take(), 2 * this.#beatMs);
    } else if (!this.#deferred) {
      this.#deferred = true;
      this.#environment.defer(() => {
        this.#deferred = false;
        this.#take();
      });
    }
  }

  /** The room's frame of this beat is here. */
  beat(beatMs: number): void {
    this.#beatMs = beatMs;
    this.#take();
  }

  /** No room beats for us any more: what waits goes at once. */
  stop(): void {
    this.beat(0);
  }

  #take(): void {
    this.#environment.clearTimer(this.#overdue);
    this.#overdue = undefined;
    this.#turn();
  }
}
