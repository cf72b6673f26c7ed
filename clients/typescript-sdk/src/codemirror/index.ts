/** A CodeMirror 6 editor on a collaborative document. */
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { type EditorView, type PluginValue, ViewPlugin } from "@codemirror/view";
import type { DocumentSession } from "../document/session.ts";
import { remoteCarets } from "./remote-carets.ts";
import { sessionOf, textSync } from "./sync.ts";
import { undoOfOwnEdits } from "./undo.ts";

export { redo, undo, undoState } from "./undo.ts";

const access = new Compartment();

/** The editor takes edits only as long as the document does. */
class Access implements PluginValue {
  readonly #stop: () => void;

  constructor(view: EditorView) {
    this.#stop = sessionOf(view.state).on("readOnly", (readOnly) => {
      view.dispatch({ effects: access.reconfigure(EditorState.readOnly.of(readOnly)) });
    });
  }

  destroy(): void {
    this.#stop();
  }
}

/**
 * The text of `session` in an editor: synchronised, with undo of one's own edits and the others' carets. Make the
 * editor with `session.text.toString()` as its text.
 */
export function collaboration(session: DocumentSession): Extension {
  return [
    textSync(session),
    undoOfOwnEdits(),
    remoteCarets(),
    access.of(EditorState.readOnly.of(session.readOnly)),
    ViewPlugin.fromClass(Access),
  ];
}
