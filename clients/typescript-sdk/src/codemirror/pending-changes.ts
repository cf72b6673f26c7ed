/** The changes in an editor that its document does not hold yet, as one `ChangeSet` over the document's text. */
import { ChangeSet, type ChangeSpec } from "@codemirror/state";
import type { Delta, LoroText } from "loro-crdt";
import { insertInPieces, tailWithin, utf8Length } from "../document/text.ts";

/** A text event of the document as a change over a text of `length`. */
export function changesOfDelta(delta: readonly Delta<string>[], length: number): ChangeSet {
  const changes: ChangeSpec[] = [];
  let position = 0;
  for (const part of delta) {
    if (part.retain !== undefined) position += part.retain;
    else if (part.delete !== undefined) {
      changes.push({ from: position, to: position + part.delete });
      position += part.delete;
    } else changes.push({ from: position, insert: part.insert });
  }
  return ChangeSet.of(changes, length, "\n");
}

/** The one change that makes `after` out of `before`: what lies between their common beginning and end. */
export function changeBetween(before: string, after: string): ChangeSet {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < shorter - start && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const insert = after.slice(start, after.length - end);
  return ChangeSet.of({ from: start, to: before.length - end, insert }, before.length, "\n");
}

/** Writes changes into the document's text. */
export function writeChanges(text: LoroText, changes: ChangeSet): void {
  changes.iterChanges((fromA, toA, fromB, _toB, inserted) => {
    if (toA > fromA) text.delete(fromB, toA - fromA);
    if (inserted.length > 0) insertInPieces(text, fromB, inserted.sliceString(0, inserted.length, "\n"));
  }, true);
}

/**
 * Cuts `changes` in two, of which the first inserts at most `bytesMax` bytes of text. All deletions are in the first.
 * Of an insertion that is cut the end comes first: the rest goes before it.
 */
export function splitChanges(changes: ChangeSet, bytesMax: number): { now: ChangeSet; rest: ChangeSet | undefined } {
  const now: ChangeSpec[] = [];
  const held: { from: number; insert: string }[] = [];
  let budget = bytesMax;
  changes.iterChanges((from, to, _fromB, _toB, inserted) => {
    const insert = inserted.sliceString(0, inserted.length, "\n");
    const bytes = utf8Length(insert);
    const tail = bytes <= budget ? insert : tailWithin(insert, budget);
    budget -= bytes <= budget ? bytes : utf8Length(tail);
    now.push({ from, to, insert: tail });
    if (tail.length < insert.length) held.push({ from, insert: insert.slice(0, insert.length - tail.length) });
  }, true);
  const first = ChangeSet.of(now, changes.length, "\n");
  if (held.length === 0) return { now: first, rest: undefined };
  const rest = held.map(({ from, insert }) => ({ from: first.mapPos(from, -1), insert }));
  return { now: first, rest: ChangeSet.of(rest, first.newLength, "\n") };
}
