/** What the page shows of the editor. */
export interface EditorState {
  /** From 1. */
  readonly line: number;
  /** In characters, from 1. */
  readonly column: number;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
}
