/** The documents that were opened last in this browser. */
import { readStored, writeStored } from "../preferences/storage.ts";

export interface RecentDocument {
  readonly id: string;
  readonly title: string;
  /** Milliseconds since 1970. */
  readonly openedAtMs: number;
}

const KEY = "collabedit.recent";
const COUNT_MAX = 20;

/** Newest first. */
export function recentDocuments(): RecentDocument[] {
  const stored = readStored(KEY);
  if (!Array.isArray(stored)) return [];
  return stored.filter(isRecentDocument).sort((a, b) => b.openedAtMs - a.openedAtMs);
}

/** Puts a document at the head of the list. */
export function rememberDocument(id: string, title: string): void {
  const others = recentDocuments().filter((document) => document.id !== id);
  writeStored(KEY, [{ id, title, openedAtMs: Date.now() }, ...others].slice(0, COUNT_MAX));
}

/** Takes a document off the list; the document itself stays where it is. */
export function forgetDocument(id: string): void {
  writeStored(
    KEY,
    recentDocuments().filter((document) => document.id !== id),
  );
}

/** A document's title: its first line that says something. */
export function titleOf(text: string): string {
  const line = /^[\s#/*;<!-]*([^\s#/*;<!-][^\n]*)/u.exec(text.slice(0, 1000))?.[1]?.trim() ?? "";
  return line.length > 60 ? `${line.slice(0, 59)}…` : line || "Untitled";
}

function isRecentDocument(value: unknown): value is RecentDocument {
  const document = value as Partial<RecentDocument> | null;
  return (
    typeof document?.id === "string" && typeof document.title === "string" && typeof document.openedAtMs === "number"
  );
}
