/** A running timer's handle. */
export type Timer = unknown;

/** Time, chance and the network as the client sees them: handed in, so that tests decide what happens and when. */
export interface Environment {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds on the clock that stamps events, which only goes forward. */
  eventTime(): number;
  setTimer(run: () => void, delayMs: number): Timer;
  clearTimer(timer: Timer): void;
  /** Runs `run` before the next event, after the current one. */
  defer(run: () => void): void;
  /** Runs `run` after events that wait, such as input and painting. */
  yieldThen(run: () => void): void;
  /** At least 0, below 1. */
  random(): number;
  randomBytes(count: number): Uint8Array;
  /** Whether the machine believes that it has a network. */
  isOnline(): boolean;
  /** Calls `listener` whenever that changes; returns how to stop. */
  onNetworkChange(listener: (online: boolean) => void): () => void;
}

/** The environment of a browser or of Node. */
export function systemEnvironment(): Environment {
  const target: EventTarget | undefined = typeof addEventListener === "function" ? globalThis : undefined;
  return {
    now: () => Date.now(),
    eventTime: () => performance.now(),
    setTimer: (run, delayMs) => setTimeout(run, delayMs),
    clearTimer: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    defer: (run) => queueMicrotask(run),
    yieldThen: (run) => void setTimeout(run, 0),
    random: () => Math.random(),
    randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    isOnline: () => typeof navigator === "undefined" || navigator.onLine !== false,
    onNetworkChange(listener) {
      const online = () => listener(true);
      const offline = () => listener(false);
      target?.addEventListener("online", online);
      target?.addEventListener("offline", offline);
      return () => {
        target?.removeEventListener("online", online);
        target?.removeEventListener("offline", offline);
      };
    },
  };
}
