/** Time, chance and a network that the test decides on. */
import type { Environment, Timer } from "../src/client/environment.ts";

/** When a simulation begins, in milliseconds since 1970. */
const START = 1_770_000_000_000;

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Nothing happens before `advance` or `settle`, and then in the order of time. The same seed gives the same run. */
export class Simulation implements Environment {
  #now = START;
  #order = 0;
  #state: number;
  readonly #timers = new Map<number, Scheduled>();
  readonly #listeners = new Set<(online: boolean) => void>();
  #online = true;
  /** Told of every step of time, for what reads the machine's clock. */
  onTime: (now: number) => void = () => {};

  constructor(seed = 1) {
    this.#state = seed >>> 0 || 1;
  }

  now(): number {
    return this.#now;
  }

  eventTime(): number {
    return this.#now - START;
  }

  setTimer(run: () => void, delayMs: number): Timer {
    const order = ++this.#order;
    this.#timers.set(order, { at: this.#now + Math.max(0, delayMs), order, run });
    return order;
  }

  clearTimer(timer: Timer): void {
    this.#timers.delete(timer as number);
  }

  defer(run: () => void): void {
    this.setTimer(run, 0);
  }

  yieldThen(run: () => void): void {
    this.setTimer(run, 0);
  }

  /** xorshift32. */
  random(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) / 2 ** 32;
  }

  randomBytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => Math.floor(this.random() * 256));
  }

  isOnline(): boolean {
    return this.#online;
  }

  onNetworkChange(listener: (online: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setOnline(online: boolean): void {
    this.#online = online;
    for (const listener of [...this.#listeners]) listener(online);
  }

  /** Runs everything that is due within `ms`. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const next = [...this.#timers.values()]
        .filter(({ at }) => at <= until)
        .sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!next) break;
      this.#timers.delete(next.order);
      this.#setNow(Math.max(this.#now, next.at));
      next.run();
    }
    this.#setNow(until);
  }

  #setNow(now: number): void {
    this.#now = now;
    this.onTime(now);
  }

  /** Runs what is due now. */
  settle(): void {
    this.advance(0);
  }
}
