/** Files that are pasted into the editor, or dropped on it. */
import type { Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";

export type TakeFiles = (files: readonly File[], view: EditorView, position: number) => void;

export function fileInput(take: TakeFiles): Extension {
  return EditorView.domEventHandlers({
    paste(event, view) {
      const { clipboardData } = event;
      if (view.state.readOnly || !clipboardData || isText(clipboardData)) return false;
      return takeFrom(clipboardData, view, view.state.selection.main.to, take);
    },
    dragover(event, view) {
      if (view.state.readOnly || !bringsFiles(event)) return false;
      if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
      return true;
    },
    drop(event, view) {
      if (view.state.readOnly || !event.dataTransfer) return false;
      const position = view.posAtCoords({ x: event.clientX, y: event.clientY }, false);
      return takeFrom(event.dataTransfer, view, position, take);
    },
  });
}

/** Whether what is being dragged has files in it. */
export function bringsFiles({ dataTransfer }: DragEvent): boolean {
  return dataTransfer?.types.includes("Files") ?? false;
}

function takeFrom(data: DataTransfer, view: EditorView, position: number, take: TakeFiles): boolean {
  const files = [...data.files];
  if (files.length === 0) return false;
  take(files, view, position);
  view.focus();
  return true;
}

/**
 * Word processors and spreadsheets put a picture of the text beside it, and the text is what is meant. A file manager
 * gives the name as text and no HTML, and a picture copied from a page comes with HTML and no text.
 */
function isText(data: DataTransfer): boolean {
  return data.getData("text/plain") !== "" && data.getData("text/html") !== "";
}
