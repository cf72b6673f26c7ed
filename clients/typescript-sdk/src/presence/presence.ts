import { EphemeralStore, type PeerID, type Value } from "loro-crdt";
import { Emitter } from "../client/emitter.ts";
import type { Environment, Timer } from "../client/environment.ts";
import { PEOPLE_MAX, PRESENCE_EVERY_MS_MIN, PRESENCE_EXPIRES_MS, PRESENCE_RENEW_MS } from "../protocol/limits.ts";
import { cleanName, type Person, personOf, type User } from "./person.ts";

export type { User };

/** Where a person's selection begins and where their caret is, as encoded cursors. */
export interface Caret {
  readonly anchor: Uint8Array;
  readonly head: Uint8Array;
}

/** Who has the document open and where they are. Best effort: never in the document, forgotten soon. */
export class Presence extends Emitter<{ changed: undefined }> {
  readonly #environment: Environment;
  readonly #store = new EphemeralStore(PRESENCE_EXPIRES_MS);
  readonly #send: (update: Uint8Array) => void;
  #key: string;
  #userId: string;
  #user: User;
  #caret: Caret | null = null;
  #joined = false;
  #saidAt = Number.NEGATIVE_INFINITY;
  #sayTimer: Timer;
  #renewTimer: Timer;

  constructor(environment: Environment, peer: PeerID, user: User, send: (update: Uint8Array) => void) {
    super();
    this.#environment = environment;
    this.#key = peer;
    this.#userId = peer;
    this.#user = user;
    this.#send = send;
    this.#store.subscribeLocalUpdates((update) => {
      if (this.#joined) this.#send(update);
    });
    this.#store.subscribe(() => this.emit("changed", undefined));
  }

  /** The key of one's own entry. */
  get ownKey(): string {
    return this.#key;
  }

  /** Everybody but oneself, in the order of their names. */
  others(): Person[] {
    const people: Person[] = [];
    for (const [key, entry] of Object.entries(this.#store.getAllStates())) {
      if (key === this.#key || people.length >= PEOPLE_MAX) continue;
      const person = personOf(key, entry);
      if (person) people.push(person);
    }
    return people.sort((a, b) => a.name.localeCompare(b.name) || a.key.localeCompare(b.key));
  }

  /** Changes how one is shown. */
  setUser(user: User): void {
    this.#user = user;
    this.#say();
  }

  /** Moves one's caret; `null` takes it away. Said only when it differs. */
  setCaret(caret: Caret | null): void {
    if (sameBytes(this.#caret?.anchor, caret?.anchor) && sameBytes(this.#caret?.head, caret?.head)) return;
    this.#caret = caret;
    this.#say();
  }

  /** @internal */
  joined(): void {
    this.#joined = true;
    this.#sayNow();
  }

  /** @internal */
  left(): void {
    this.#joined = false;
    this.#stopTimers();
  }

  /** @internal The server's name for this person. */
  userConfirmed(userId: string): void {
    this.#userId = userId;
  }

  /** @internal */
  peerChanged(peer: PeerID): void {
    if (peer === this.#key) return;
    this.#store.delete(this.#key);
    this.#key = peer;
    this.#say();
  }

  /** @internal */
  received(updates: readonly Uint8Array[]): void {
    for (const update of updates) {
      try {
        this.#store.apply(update);
      } catch {
        // Worth nothing two seconds later: the next one replaces it.
      }
    }
  }

  /** @internal Tells the others that one has gone. */
  close(): void {
    this.#stopTimers();
    this.#store.delete(this.#key);
    this.#joined = false;
    this.#store.destroy();
  }

  #say(): void {
    if (!this.#joined || this.#sayTimer !== undefined) return;
    const wait = this.#saidAt + PRESENCE_EVERY_MS_MIN - this.#environment.now();
    if (wait <= 0) this.#sayNow();
    else this.#sayTimer = this.#environment.setTimer(() => this.#sayNow(), wait);
  }

  #sayNow(): void {
    this.#stopTimers();
    this.#saidAt = this.#environment.now();
    const { name, color } = this.#user;
    const entry: Value = {
      user: this.#userId,
      name: cleanName(name),
      color,
      anchor: this.#caret?.anchor ?? null,
      head: this.#caret?.head ?? null,
    };
    this.#store.set(this.#key, entry);
    this.#renewTimer = this.#environment.setTimer(() => this.#sayNow(), PRESENCE_RENEW_MS);
  }

  #stopTimers(): void {
    this.#environment.clearTimer(this.#sayTimer);
    this.#environment.clearTimer(this.#renewTimer);
    this.#sayTimer = undefined;
    this.#renewTimer = undefined;
  }
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
