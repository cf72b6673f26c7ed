import type { EditorView } from "@codemirror/view";
import { cleanAttachmentName } from "@collabedit/sdk";
import type { Failure } from "./failure.ts";

/** One file on its way into a document, as the page shows it. */
export class Upload {
  readonly id: number;
  readonly file: File;
  readonly name: string;
  /** The editor in which it was asked for, and which knows the place. */
  readonly view: EditorView;
  /** What follows its link: a line's end if others came with it. */
  readonly ending: string;
  #cancel = new AbortController();

  state = $state<"waiting" | "sending" | "failed">("waiting");
  sentBytes = $state(0);
  failure = $state.raw<Failure>();

  constructor(id: number, file: File, view: EditorView, ending: string) {
    this.id = id;
    this.file = file;
    this.name = cleanAttachmentName(file.name);
    this.view = view;
    this.ending = ending;
  }

  /** From 0 to 100. */
  get percent(): number {
    return this.file.size === 0 ? 0 : Math.floor((100 * this.sentBytes) / this.file.size);
  }

  get signal(): AbortSignal {
    return this.#cancel.signal;
  }

  /** Is sent again when its turn comes. */
  wait(): void {
    this.state = "waiting";
    this.sentBytes = 0;
    this.failure = undefined;
  }

  fail(failure: Failure): void {
    this.state = "failed";
    this.failure = failure;
  }

  cancel(): void {
    this.#cancel.abort();
  }
}
