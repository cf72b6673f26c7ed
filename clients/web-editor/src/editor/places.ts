/**
 * Places in the text at which something is to be inserted later. They move with all edits, one's own and the others'.
 */
import { isolateHistory } from "@codemirror/commands";
import { StateEffect, StateField } from "@codemirror/state";
import type { EditorView } from "@codemirror/view";

const kept = StateEffect.define<{ readonly id: number; readonly position: number }>();
const left = StateEffect.define<number>();

/** The places by their ids. Of those that fall together, the one with the smaller id comes first. */
export const places = StateField.define<ReadonlyMap<number, number>>({
  create: () => new Map(),
  update(before, transaction) {
    const gone = transaction.effects.find((effect) => effect.is(left))?.value;
    const added = transaction.effects.filter((effect) => effect.is(kept));
    if (!transaction.docChanged && gone === undefined && added.length === 0) return before;
    const after = new Map<number, number>();
    for (const [id, position] of before) {
      if (id === gone) continue;
      // What is written at a place comes behind it, unless it is what an earlier place was kept for.
      const assoc = gone !== undefined && gone < id ? 1 : -1;
      after.set(id, transaction.changes.mapPos(position, assoc));
    }
    for (const { value } of added) after.set(value.id, value.position);
    return after;
  },
});

export function keepPlace(view: EditorView, id: number, position: number): void {
  view.dispatch({ effects: kept.of({ id, position }) });
}

export function forgetPlace(view: EditorView, id: number): void {
  view.dispatch({ effects: left.of(id) });
}

/** Inserts at a place what `textOf` makes of the characters before and behind it. Nothing is kept there any more then. */
export function fillPlace(view: EditorView, id: number, textOf: (before: string, after: string) => string): void {
  const { doc, selection } = view.state;
  const at = view.state.field(places).get(id);
  if (at === undefined) return;
  const insert = textOf(doc.sliceString(at - 1, at), doc.sliceString(at, at + 1));
  const changes = view.state.changes({ from: at, insert });
  view.dispatch({
    changes,
    // A caret that still waits there goes on behind it, as it does when text is pasted.
    selection: selection.map(changes, 1),
    effects: left.of(id),
    // One step of undo, whatever was written just before. No key was pressed for it, so it is no input.
    annotations: isolateHistory.of("full"),
  });
}
