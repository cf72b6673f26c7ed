import { isRecord } from "../protocol/announcement.ts";
import { type Advice, parseAdvice } from "../protocol/messages.ts";
import type { HttpAnswer } from "./transport.ts";

interface Failure {
  readonly code: string;
  readonly advice: Advice;
  readonly detail: string;
  readonly retryAfterMs?: number | undefined;
}

/** Why a file could not be attached, or an attachment not be had, and what is to be done about it. */
export class AttachmentError extends Error {
  override readonly name = "AttachmentError";
  /**
   * One of the error codes of `docs/errors.md`, or one of this client's own: `unreadable` for a file that can't be read
   * here, and `damaged` for what did not arrive as it was sent.
   */
  readonly code: string;
  readonly advice: Advice;
  /** What happened, for the person. */
  readonly detail: string;
  /** How long to wait before another try, if the server says so. */
  readonly retryAfterMs: number | undefined;

  constructor({ code, advice, detail, retryAfterMs }: Failure) {
    super(`${detail} (${code}). ${whatToDo(advice, retryAfterMs)}`);
    this.code = code;
    this.advice = advice;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Nothing came of a request: no network, no server, or a connection that broke. */
export function unreachable(detail: string): AttachmentError {
  return new AttachmentError({ code: "unavailable", advice: "retry", detail });
}

/** What arrived is not what was sent. */
export function damaged(detail: string): AttachmentError {
  return new AttachmentError({ code: "damaged", advice: "retry", detail });
}

/** The error that an answer tells of. */
export function errorOfAnswer(answer: HttpAnswer, nowMs: number): AttachmentError {
  const retryAfterMs = parseRetryAfter(answer.header("Retry-After"), nowMs);
  const problem = parseProblem(answer.body);
  if (problem) return new AttachmentError({ ...problem, retryAfterMs });
  // Something between here and the server has answered, which knows nothing of codes.
  const [code, advice] = CODES[answer.status] ?? ["unavailable", "retry"];
  const detail = `the server answered with status ${answer.status}`;
  return new AttachmentError({ code, advice, detail, retryAfterMs });
}

const CODES: Record<number, readonly [code: string, advice: Advice]> = {
  400: ["protocol_violation", "fix"],
  401: ["permission_denied", "give_up"],
  403: ["permission_denied", "give_up"],
  404: ["not_found", "fix"],
  413: ["too_large", "fix"],
  429: ["rate_limited", "retry"],
};

function parseProblem(body: string): Failure | undefined {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (!isRecord(json) || typeof json.code !== "string") return undefined;
  const detail = typeof json.detail === "string" && json.detail ? json.detail : "the server refused it";
  return { code: json.code, advice: parseAdvice(json.advice), detail };
}

/** `Retry-After` as a duration: it is a number of seconds, or a date. */
function parseRetryAfter(header: string | null, nowMs: number): number | undefined {
  if (!header) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

function whatToDo(advice: Advice, retryAfterMs: number | undefined): string {
  switch (advice) {
    case "retry":
      return retryAfterMs ? `Try again in ${Math.ceil(retryAfterMs / 1000)} s.` : "Try again.";
    case "rejoin":
      return "Open the document anew, and try again.";
    case "fix":
      return "It can't succeed as it is.";
    case "give_up":
      return "Trying again will not help.";
  }
}
