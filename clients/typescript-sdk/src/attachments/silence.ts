import type { Environment, Timer } from "../client/environment.ts";
import { unreachable } from "./error.ts";

/** Ends a transfer that its person has cancelled, or on which nothing has happened for too long. */
export class Silence {
  readonly #environment: Environment;
  readonly #abort = new AbortController();
  readonly #cancelled: AbortSignal | undefined;
  readonly #cancel = (): void => this.#end(this.#cancelled?.reason);
  #timer: Timer;

  constructor(environment: Environment, cancelled: AbortSignal | undefined, msMax: number) {
    this.#environment = environment;
    this.#cancelled = cancelled;
    if (cancelled?.aborted) this.#cancel();
    cancelled?.addEventListener("abort", this.#cancel);
    this.heard(msMax);
  }

  /** Aborted when the transfer has to end, with the reason to tell. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Something happened: nothing may for this long now. */
  heard(msMax: number): void {
    this.#environment.clearTimer(this.#timer);
    this.#timer = this.#environment.setTimer(() => {
      this.#end(unreachable("the server has not been heard of for too long"));
    }, msMax);
  }

  /** The transfer is over. */
  stop(): void {
    this.#environment.clearTimer(this.#timer);
    this.#cancelled?.removeEventListener("abort", this.#cancel);
  }

  #end(reason: unknown): void {
    this.#environment.clearTimer(this.#timer);
    this.#abort.abort(reason);
  }
}
