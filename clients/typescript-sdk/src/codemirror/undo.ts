/**
 * Undo of one's own edits, in a text that others write too.
 *
 * The editor's history does it: what comes from the document is kept out of it, and its steps are mapped over that. The
 * engine's own undo manager forgets everything whenever several updates are imported at once, which on the pulse is
 * every beat.
 */
import { history, historyKeymap, redo, redoDepth, undo, undoDepth } from "@codemirror/commands";
import type { EditorState, Extension } from "@codemirror/state";
import { keymap } from "@codemirror/view";

export { redo, undo };

/** Edits that follow each other within this time at one place are undone together. */
const GROUP_MS_MAX = 400;
/** Groups of edits that can be undone. */
const GROUPS_MIN = 1_000;

/** Whether there is something to take back, or to make again. */
export function undoState(state: EditorState): { canUndo: boolean; canRedo: boolean } {
  return { canUndo: undoDepth(state) > 0, canRedo: redoDepth(state) > 0 };
}

/** Undo and redo of one's own edits with the usual keys, and from a menu of the system's. */
export function undoOfOwnEdits(): Extension {
  return [history({ newGroupDelay: GROUP_MS_MAX, minDepth: GROUPS_MIN }), keymap.of(historyKeymap)];
}
