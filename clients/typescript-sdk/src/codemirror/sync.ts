import { Annotation, ChangeSet, EditorState, type Extension, Facet, type Text, Transaction } from "@codemirror/state";
import { type EditorView, type PluginValue, ViewPlugin, type ViewUpdate } from "@codemirror/view";
import type { LoroEventBatch } from "loro-crdt";
import type { PendingEdits } from "../document/pending-edits.ts";
import type { DocumentSession } from "../document/session.ts";
import { normaliseLineEnds } from "../document/text.ts";
import { changeBetween, changesOfDelta, splitChanges, writeChanges } from "./pending-changes.ts";

const sessionFacet = Facet.define<DocumentSession, DocumentSession | undefined>({
  combine: ([session]) => session,
  static: true,
});

/** The session that an editor shows. */
export function sessionOf(state: EditorState): DocumentSession {
  const session = state.facet(sessionFacet);
  if (!session) throw new Error("the editor shows no document");
  return session;
}

/** Marks transactions that came from the document. */
export const fromDocument = Annotation.define<boolean>();

/**
 * Keeps an editor's text and a document's text the same.
 *
 * The editor is ahead of the document by `pending`: what was typed and waits for the pulse. What arrives is mapped over
 * it, and it over what arrives, so that both sides come to the same text whichever comes first.
 */
export class DocumentSync implements PluginValue, PendingEdits {
  readonly #view: EditorView;
  readonly #session: DocumentSession;
  readonly #stop: (() => void)[];
  #unsubscribe: () => void = () => {};
  /** The document's text: the editor's without what is pending. */
  #base: Text;
  #pending: ChangeSet | undefined;
  #pendingCount = 0;
  #writing = false;
  /** The time of the event that the next edit of the person's begins with. */
  #pressedAt: number | undefined;

  constructor(view: EditorView) {
    this.#view = view;
    this.#session = sessionOf(view.state);
    this.#base = view.state.doc;
    this.#stop = [
      this.#session.on("replaced", () => this.#follow()),
      this.#session.attachEdits(this),
      () => this.#unsubscribe(),
    ];
    this.#subscribe();
    // An editor can't be changed while it is being made.
    if (view.state.sliceDoc() !== this.#session.text.toString()) queueMicrotask(() => this.#follow());
  }

  get count(): number {
    return this.#pendingCount;
  }

  /** A key goes down, or something else happens that may lead to an edit. */
  pressed(event: Event): void {
    if (event.type === "keydown" || this.#pressedAt === undefined) this.#pressedAt = event.timeStamp;
  }

  /** What went down is up again: whatever comes next did not begin with it. */
  released(): void {
    this.#pressedAt = undefined;
  }

  update(update: ViewUpdate): void {
    let pressedAt: number | undefined;
    for (const transaction of update.transactions) {
      if (!transaction.docChanged || transaction.annotation(fromDocument)) continue;
      if (transaction.annotation(Transaction.userEvent) !== undefined) pressedAt = this.#pressedAt;
      this.#pending = this.#pending ? this.#pending.compose(transaction.changes) : transaction.changes;
      this.#pendingCount += 1;
    }
    if (pressedAt !== undefined) this.#pressedAt = undefined;
    if (this.#pending) this.#session.editsWaiting(pressedAt);
  }

  write(insertedBytesMax: number): void {
    if (!this.#pending) return;
    const { now, rest } = splitChanges(this.#pending, insertedBytesMax);
    this.#writing = true;
    try {
      writeChanges(this.#session.text, now);
      this.#session.doc.commit();
    } finally {
      this.#writing = false;
    }
    this.#base = now.apply(this.#base);
    this.#pending = rest;
    this.#pendingCount = rest ? 1 : 0;
  }

  /** A position in the editor as one in the document. */
  toDocument(position: number): number {
    return this.#pending ? this.#pending.invertedDesc.mapPos(position) : position;
  }

  /** A position in the document as one in the editor. */
  toEditor(position: number): number {
    const inBase = Math.min(position, this.#base.length);
    return this.#pending ? this.#pending.mapPos(inBase, 1) : inBase;
  }

  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  destroy(): void {
    for (const stop of this.#stop.reverse()) stop();
  }

  #subscribe(): void {
    this.#unsubscribe();
    this.#unsubscribe = this.#session.doc.subscribe((batch) => this.#documentChanged(batch));
  }

  #documentChanged(batch: LoroEventBatch): void {
    if (this.#writing) return;
    const { id } = this.#session.text;
    for (const { target, diff } of batch.events) {
      if (target !== id || diff.type !== "text") continue;
      this.#apply(changesOfDelta(diff.diff, this.#base.length));
    }
  }

  /** The session has another replica: the editor goes over to its text. */
  #follow(): void {
    this.#subscribe();
    const changes = changeBetween(this.#base.toString(), this.#session.text.toString());
    if (!changes.empty) this.#apply(changes);
  }

  #apply(changes: ChangeSet): void {
    this.#base = changes.apply(this.#base);
    const shown = this.#pending ? changes.map(this.#pending) : changes;
    this.#pending = this.#pending?.map(changes, true);
    this.#view.dispatch({
      changes: shown,
      annotations: [fromDocument.of(true), Transaction.addToHistory.of(false), Transaction.remote.of(true)],
      filter: false,
    });
  }
}

export const documentSync = ViewPlugin.fromClass(DocumentSync, {
  eventObservers: {
    keydown(event) {
      this.pressed(event);
    },
    beforeinput(event) {
      this.pressed(event);
    },
    paste(event) {
      this.pressed(event);
    },
    drop(event) {
      this.pressed(event);
    },
    keyup() {
      this.released();
    },
  },
});

/** Line ends that are not LF are a position too long in the document: none gets in, whoever dispatches them. */
const onlyLineFeeds = EditorState.transactionFilter.of((transaction) => {
  if (!transaction.docChanged || transaction.annotation(fromDocument)) return transaction;
  const changes: { from: number; to: number; insert: string }[] = [];
  let foreign = false;
  transaction.changes.iterChanges((from, to, _fromB, _toB, inserted) => {
    const text = inserted.toString();
    foreign ||= text.includes("\r");
    changes.push({ from, to, insert: normaliseLineEnds(text) });
  }, true);
  if (!foreign) return transaction;
  const userEvent = transaction.annotation(Transaction.userEvent);
  const set = ChangeSet.of(changes, transaction.startState.doc.length, "\n");
  const { main } = transaction.startState.selection;
  return {
    changes: set,
    selection: { anchor: set.mapPos(main.to, 1) },
    effects: transaction.effects,
    scrollIntoView: transaction.scrollIntoView,
    ...(userEvent === undefined ? {} : { userEvent }),
  };
});

/** What makes an editor's text the document's. */
export function textSync(session: DocumentSession): Extension {
  return [
    sessionFacet.of(session),
    // A carriage return that somebody else's client wrote stays one character, as it is in the document.
    EditorState.lineSeparator.of("\n"),
    onlyLineFeeds,
    documentSync,
  ];
}
