/** The text messages beside the stock frames: `docs/protocol.md`, section 3. */
import type { TraceReport } from "../document/traces.ts";
import { isRecord } from "./announcement.ts";

/** What a client should do about a refusal. */
export type Advice = "retry" | "rejoin" | "fix" | "give_up";

export interface PulseMessage {
  readonly type: "pulse";
  readonly document: string;
  readonly beat: number;
  /** The beat's length; 0 turns the pulse off. */
  readonly beatMs: number;
  readonly typists: number;
}

export interface AckMessage {
  readonly type: "ack";
  readonly document: string;
  readonly batch: string;
  /** The stamps of the batch's first and last update, decimal. */
  readonly hlcFirst: string;
  readonly hlcLast: string;
  readonly node: number;
}

export interface NackMessage {
  readonly type: "nack";
  readonly document: string;
  readonly batch: string;
  readonly code: string;
  readonly advice: Advice;
  readonly message: string;
}

export interface CaughtUpMessage {
  readonly type: "caught_up";
  readonly document: string;
}

export interface DrainingMessage {
  readonly type: "draining";
  readonly reconnectWithinMs: number;
}

export type DocumentMessage = PulseMessage | AckMessage | NackMessage | CaughtUpMessage;
export type ServerMessage = DocumentMessage | DrainingMessage;

const BATCH_ID = /^[0-9a-f]{16}$/;
const ADVICE: readonly string[] = ["retry", "rejoin", "fix", "give_up"];

/** Reads one message; `undefined` for what this version does not know or what is malformed. */
export function parseServerMessage(frame: string): ServerMessage | undefined {
  let json: unknown;
  try {
    json = JSON.parse(frame);
  } catch {
    return undefined;
  }
  if (!isRecord(json)) return undefined;
  const { type, document, batch } = json;
  if (type === "draining") {
    return { type, reconnectWithinMs: milliseconds(json.reconnect_within_ms) };
  }
  if (typeof document !== "string") return undefined;
  switch (type) {
    case "caught_up":
      return { type, document };
    case "pulse":
      return {
        type,
        document,
        beat: Number(json.beat ?? 0),
        beatMs: milliseconds(json.beat_ms),
        typists: Number(json.typists ?? 0),
      };
    case "ack":
      if (typeof batch !== "string" || !BATCH_ID.test(batch)) return undefined;
      return {
        type,
        document,
        batch,
        hlcFirst: String(json.hlc_first ?? ""),
        hlcLast: String(json.hlc_last ?? ""),
        node: Number(json.node ?? 0),
      };
    case "nack":
      if (typeof batch !== "string" || !BATCH_ID.test(batch)) return undefined;
      return {
        type,
        document,
        batch,
        code: String(json.code ?? "internal"),
        advice: parseAdvice(json.advice),
        message: String(json.message ?? ""),
      };
    default:
      return undefined;
  }
}

/** Reads an advice; what this version does not know is worth another try. */
export function parseAdvice(value: unknown): Advice {
  return ADVICE.includes(String(value)) ? (value as Advice) : "retry";
}

/** Says which trace the batch that follows belongs to. */
export function traceMessage(document: string, batch: string, traceparent: string): string {
  return JSON.stringify({ type: "trace", document, batch, traceparent });
}

/** Says how long a traced batch has taken, once it is answered. */
export function tracedMessage(document: string, batch: string, report: TraceReport): string {
  const { waitedMs, answeredMs } = report;
  const waited_us = waitedMs === undefined ? undefined : microseconds(waitedMs);
  return JSON.stringify({ type: "traced", document, batch, waited_us, answered_us: microseconds(answeredMs) });
}

/** A duration as the wire has it, a whole number of 32 bits. */
function microseconds(ms: number): number {
  return Math.min(Math.max(0, Math.round(ms * 1000)), 2 ** 32 - 1);
}

function milliseconds(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}
