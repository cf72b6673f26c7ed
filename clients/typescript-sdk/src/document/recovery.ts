/** Going on after a final refusal: `docs/protocol.md`, section 6. */
import {
  type ContainerID,
  type Delta,
  type Diff,
  type LoroDoc,
  type MapDiff,
  type TextDiff,
  VersionVector,
} from "loro-crdt";
import type { OwnUpdate, Span } from "./outbox.ts";

/** Refusals that are of the person and not of what was written. */
export const REFUSALS_OF_PERSON: ReadonlySet<string> = new Set(["permission_denied", "suspended"]);
/** Refusals of the peer id under which something was written; the content is not at fault. */
export const REFUSALS_OF_PEER: ReadonlySet<string> = new Set(["foreign_peer", "equivocation"]);

type ContainerDiff = [ContainerID, Diff];

/** A replica that holds what a refusal kept from being saved, so that nobody's words disappear. */
export interface RecoveryCopy {
  readonly document: string;
  /** Milliseconds since 1970. */
  readonly savedAtMs: number;
  /** The whole replica, as a snapshot that `LoroDoc.fromSnapshot` opens. */
  readonly snapshot: Uint8Array;
  /** The text as the person saw it. */
  readonly text: string;
}

/** A replica without what was refused. */
export interface Fork {
  readonly doc: LoroDoc;
  /** Writes what was not refused into `doc`, uncommitted. */
  carryOver(): void;
}

/**
 * Forks `doc` at everything that is not `refused` or `later`.
 *
 * What is carried over is the difference between that point and now, without the characters that refused operations
 * inserted and the deletions that they made. Texts and maps are carried over; other containers remain in the recovery
 * copy.
 */
export function forkWithout(doc: LoroDoc, refused: readonly OwnUpdate[], later: readonly OwnUpdate[]): Fork {
  const keptVersion = versionWithout(doc, [...refused, ...later]);
  const kept = doc.vvToFrontiers(keptVersion);
  const fork = doc.forkAt(kept);
  const carryOver = () => {
    const difference = doc.diff(kept, doc.oplogFrontiers(), false) as ContainerDiff[];
    const refusal = refusedChanges(doc, refused);
    const changes: ContainerDiff[] = [];
    for (const [container, diff] of difference) {
      if (diff.type === "text")
        changes.push([container, textWithout(doc, fork, container, diff, refused, refusal.deleted)]);
      else if (diff.type === "map") changes.push([container, mapWithout(diff, refusal.keys.get(container))]);
    }
    fork.applyDiff(changes);
  };
  return { doc: fork, carryOver };
}

function versionWithout(doc: LoroDoc, spans: readonly Span[]): VersionVector {
  const ends = doc.oplogVersion().toJSON();
  for (const { peer, start } of spans) {
    const end = Math.min(ends.get(peer) ?? 0, start);
    if (end > 0) ends.set(peer, end);
    else ends.delete(peer);
  }
  return VersionVector.parseJSON(ends);
}

interface RefusedChanges {
  /** The characters that refused operations deleted, by operation id. */
  readonly deleted: ReadonlySet<string>;
  /** The keys that they set, by map. */
  readonly keys: ReadonlyMap<ContainerID, ReadonlySet<string>>;
}

function refusedChanges(doc: LoroDoc, refused: readonly OwnUpdate[]): RefusedChanges {
  const deleted = new Set<string>();
  const keys = new Map<ContainerID, Set<string>>();
  for (const { peer, start, end } of refused) {
    const before = frontiersBefore(doc, { peer, start, end });
    const beforeDoc = doc.forkAt(before);
    const changes = doc.diff(before, [{ peer, counter: end - 1 }], false) as ContainerDiff[];
    for (const [container, diff] of changes) {
      if (diff.type === "text") {
        eachDeleted(diff.diff, (position) => deleted.add(characterId(beforeDoc, container, position)));
      } else if (diff.type === "map") {
        const known = keys.get(container) ?? new Set();
        keys.set(container, known);
        for (const key of Object.keys(diff.updated)) known.add(key);
      }
    }
  }
  return { deleted, keys };
}

/** What the first operation of a span was written on top of. */
function frontiersBefore(doc: LoroDoc, { peer, start }: Span) {
  const change = doc.getChangeAt({ peer, counter: start });
  return change.counter < start ? [{ peer, counter: start - 1 }] : change.deps;
}

function textWithout(
  doc: LoroDoc,
  fork: LoroDoc,
  container: ContainerID,
  diff: TextDiff,
  refused: readonly Span[],
  deletedByRefused: ReadonlySet<string>,
): TextDiff {
  const isRefused = (id: string) => {
    const [counter, peer] = id.split("@");
    return refused.some((span) => span.peer === peer && Number(counter) >= span.start && Number(counter) < span.end);
  };
  const kept: Delta<string>[] = [];
  let oldPosition = 0;
  let newPosition = 0;
  for (const part of diff.diff) {
    if (part.retain !== undefined) {
      kept.push(part);
      oldPosition += part.retain;
      newPosition += part.retain;
    } else if (part.delete !== undefined) {
      for (let i = 0; i < part.delete; i += 1, oldPosition += 1) {
        const restored = deletedByRefused.has(characterId(fork, container, oldPosition));
        kept.push(restored ? { retain: 1 } : { delete: 1 });
      }
    } else {
      for (const character of part.insert) {
        if (!isRefused(characterId(doc, container, newPosition))) kept.push({ ...part, insert: character });
        newPosition += character.length;
      }
    }
  }
  return { type: "text", diff: joined(kept) };
}

function mapWithout(diff: MapDiff, refusedKeys: ReadonlySet<string> | undefined): MapDiff {
  const updated = Object.entries(diff.updated).filter(([key]) => !refusedKeys?.has(key));
  return { type: "map", updated: Object.fromEntries(updated) };
}

function eachDeleted(delta: readonly Delta<string>[], visit: (position: number) => void): void {
  let position = 0;
  for (const part of delta) {
    if (part.retain !== undefined) position += part.retain;
    else if (part.delete !== undefined) {
      for (let i = 0; i < part.delete; i += 1, position += 1) visit(position);
    }
  }
}

/** The id of the operation that inserted the character at `position` (UTF-16 units). */
function characterId(doc: LoroDoc, container: ContainerID, position: number): string {
  const id = doc.getText(container).getCursor(position)?.pos();
  return id ? `${id.counter}@${id.peer}` : "";
}

/** The same delta with equal neighbours joined: the engine wants no run in single steps. */
function joined(delta: readonly Delta<string>[]): Delta<string>[] {
  const result: Delta<string>[] = [];
  for (const part of delta) {
    const last = result.at(-1);
    if (last?.retain !== undefined && part.retain !== undefined && !last.attributes && !part.attributes) {
      result[result.length - 1] = { retain: last.retain + part.retain };
    } else if (last?.delete !== undefined && part.delete !== undefined) {
      result[result.length - 1] = { delete: last.delete + part.delete };
    } else if (last?.insert !== undefined && part.insert !== undefined && !last.attributes && !part.attributes) {
      result[result.length - 1] = { insert: last.insert + part.insert };
    } else {
      result.push(part);
    }
  }
  return result;
}
