import { isRecord } from "../protocol/announcement.ts";
import { NAME_LENGTH_MAX } from "../protocol/limits.ts";

/** Somebody who has the document open, as others are shown them. */
export interface Person {
  /** The entry's key: their session's peer id. */
  readonly key: string;
  readonly user: string;
  readonly name: string;
  /** `#rrggbb`, always. */
  readonly color: string;
  /** Encoded cursors, while they have the text in focus. */
  readonly anchor: Uint8Array | null;
  readonly head: Uint8Array | null;
}

/** What a person chose to be shown as. */
export interface User {
  readonly name: string;
  /** `#rrggbb`. */
  readonly color: string;
}

/** Colours that hold their contrast on a light and on a dark page. */
export const COLORS = [
  "#d6336c",
  "#ae3ec9",
  "#7048e8",
  "#4263eb",
  "#1c7ed6",
  "#0c8599",
  "#099268",
  "#2f9e44",
  "#d9730d",
  "#e03131",
] as const;

const COLOR = /^#[0-9a-f]{6}$/i;

/** Reads an entry, which anybody may have written: every member is checked, and nothing but a colour passes as one. */
export function personOf(key: string, entry: unknown): Person | undefined {
  if (!isRecord(entry)) return undefined;
  const { user, name, color, anchor, head } = entry;
  return {
    key,
    user: typeof user === "string" ? user : key,
    name: cleanName(typeof name === "string" ? name : ""),
    color: typeof color === "string" && COLOR.test(color) ? color : colorOf(key),
    anchor: anchor instanceof Uint8Array ? anchor : null,
    head: head instanceof Uint8Array ? head : null,
  };
}

/** A name as it may be shown: without control characters and direction overrides, and not longer than a label. */
export function cleanName(name: string): string {
  const clean = name.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, " ").trim();
  return [...clean].slice(0, NAME_LENGTH_MAX).join("") || "Anonymous";
}

/** A colour for something that has chosen none, always the same one. */
export function colorOf(seed: string): string {
  let sum = 0;
  for (const character of seed) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 65_521;
  return COLORS[sum % COLORS.length] ?? COLORS[0];
}
