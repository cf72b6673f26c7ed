/** How text gets into a document: with LF line ends, and in pieces that stay cheap to merge. */
import type { LoroText } from "loro-crdt";
import { INSERTED_PIECE_UNITS_MAX } from "../protocol/limits.ts";

/** Line ends as LF. An editor counts a line break as one position, the CRDT counts CRLF as two. */
export function normaliseLineEnds(content: string): string {
  return content.includes("\r") ? content.replace(/\r\n?/g, "\n") : content;
}

/**
 * Inserts `content` at `position` (UTF-16 units).
 *
 * A large insertion is written from its last piece to its first. Pieces that follow each other would be joined into one
 * run by the engine, and an edit that is concurrent with a run costs time in the square of the run's length.
 */
export function insertInPieces(text: LoroText, position: number, content: string): void {
  let end = content.length;
  while (end > 0) {
    const start = characterBoundary(content, Math.max(0, end - INSERTED_PIECE_UNITS_MAX));
    text.insert(position, content.slice(start, end));
    end = start;
  }
}

/** The longest end of `content` that has at most `bytesMax` bytes of UTF-8 and begins with a whole character. */
export function tailWithin(content: string, bytesMax: number): string {
  let tail = tailOfUnits(content, bytesMax);
  // A UTF-16 unit takes at most three bytes.
  if (utf8Length(tail) > bytesMax) tail = tailOfUnits(content, Math.floor(bytesMax / 3));
  return tail;
}

/** The length of `content` in UTF-8, in bytes. */
export function utf8Length(content: string): number {
  return new TextEncoder().encode(content).length;
}

function tailOfUnits(content: string, units: number): string {
  return content.slice(characterBoundary(content, Math.max(0, content.length - units)));
}

/** `index`, or the next one, when a surrogate pair would be torn at it. */
function characterBoundary(content: string, index: number): number {
  const unit = content.charCodeAt(index);
  return index > 0 && unit >= 0xdc00 && unit <= 0xdfff ? index + 1 : index;
}
