import { type Extension, type Range, StateEffect } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  EditorView,
  type PluginValue,
  ViewPlugin,
  type ViewUpdate,
  WidgetType,
} from "@codemirror/view";
import { Cursor } from "loro-crdt";
import type { Person } from "../presence/person.ts";
import { documentSync, fromDocument, sessionOf } from "./sync.ts";

const presenceChanged = StateEffect.define<null>();

/** A caret with its person's name, which fades a moment after it moved. */
class CaretWidget extends WidgetType {
  readonly #person: Person;
  readonly #position: number;
  readonly #isBelow: boolean;

  constructor(person: Person, position: number, isBelow: boolean) {
    super();
    this.#person = person;
    this.#position = position;
    this.#isBelow = isBelow;
  }

  override eq(other: CaretWidget): boolean {
    const { key, name, color } = this.#person;
    return (
      key === other.#person.key &&
      name === other.#person.name &&
      color === other.#person.color &&
      this.#position === other.#position &&
      this.#isBelow === other.#isBelow
    );
  }

  override toDOM(): HTMLElement {
    // The name is only ever text, and the colour only ever a value: neither is parsed as HTML or as a rule.
    const caret = document.createElement("span");
    caret.className = this.#isBelow ? "cm-remote-caret cm-remote-caret-below" : "cm-remote-caret";
    caret.style.setProperty("--remote-color", this.#person.color);
    const label = document.createElement("span");
    label.className = "cm-remote-label";
    label.textContent = this.#person.name;
    label.setAttribute("aria-hidden", "true");
    caret.append("\u2060", label, "\u2060");
    return caret;
  }

  override ignoreEvent(): boolean {
    return true;
  }

  override get estimatedHeight(): number {
    return -1;
  }
}

/** Where the others are, and telling them where one is. */
class RemoteCarets implements PluginValue {
  readonly #view: EditorView;
  readonly #stop: (() => void)[];
  #shown = false;
  decorations: DecorationSet = Decoration.none;

  constructor(view: EditorView) {
    this.#view = view;
    const session = sessionOf(view.state);
    this.#stop = [
      session.presence.on("changed", () => this.#redrawSoon()),
      session.on("unsyncedChanges", () => this.#sayCaretSoon()),
      () => session.presence.setCaret(null),
    ];
    this.decorations = this.#draw();
  }

  update(update: ViewUpdate): void {
    const redraw = update.transactions.some(
      (transaction) =>
        transaction.annotation(fromDocument) || transaction.effects.some((effect) => effect.is(presenceChanged)),
    );
    if (redraw) this.decorations = this.#draw();
    else if (update.docChanged) this.decorations = this.decorations.map(update.changes);
    if (update.selectionSet || update.focusChanged || update.docChanged) this.#sayCaretSoon();
  }

  destroy(): void {
    for (const stop of this.#stop) stop();
  }

  /** Presence changes while the editor updates: both sides of it wait for the end of the update. */
  #redrawSoon(): void {
    if (this.#shown) return;
    this.#shown = true;
    requestAnimationFrame(() => {
      this.#shown = false;
      this.#view.dispatch({ effects: presenceChanged.of(null) });
    });
  }

  #sayCaretSoon(): void {
    queueMicrotask(() => this.#sayCaret());
  }

  #sayCaret(): void {
    const sync = this.#view.plugin(documentSync);
    // What is pending has no place in the document yet. The caret follows when it was written.
    const session = sessionOf(this.#view.state);
    if (!sync || sync.isPending || session.isBroken) return;
    const { presence, text } = session;
    if (!this.#view.hasFocus) {
      presence.setCaret(null);
      return;
    }
    const { anchor, head } = this.#view.state.selection.main;
    const [from, to] = [anchor, head].map((position) => text.getCursor(sync.toDocument(position))?.encode());
    presence.setCaret(from && to ? { anchor: from, head: to } : null);
  }

  #draw(): DecorationSet {
    const session = sessionOf(this.#view.state);
    const ranges: Range<Decoration>[] = [];
    for (const person of session.presence.others()) {
      const anchor = this.#positionOf(person.anchor);
      const head = this.#positionOf(person.head);
      if (anchor === undefined || head === undefined) continue;
      const [from, to] = anchor < head ? [anchor, head] : [head, anchor];
      if (from < to) {
        const style = `--remote-color: ${person.color}`;
        ranges.push(Decoration.mark({ class: "cm-remote-selection", attributes: { style } }).range(from, to));
      }
      const isBelow = head <= this.#view.state.doc.line(1).to;
      ranges.push(Decoration.widget({ widget: new CaretWidget(person, head, isBelow), side: 1 }).range(head));
    }
    return Decoration.set(ranges, true);
  }

  #positionOf(cursor: Uint8Array | null): number | undefined {
    const sync = this.#view.plugin(documentSync);
    const session = sessionOf(this.#view.state);
    if (!cursor || !sync || session.isBroken) return undefined;
    const { doc, text } = session;
    try {
      const decoded = Cursor.decode(cursor);
      if (decoded.containerId() !== text.id) return undefined;
      const offset = doc.getCursorPos(decoded)?.offset;
      return offset === undefined ? undefined : Math.min(sync.toEditor(offset), this.#view.state.doc.length);
    } catch {
      // Written by somebody's other program, or on top of edits that are not here yet.
      return undefined;
    }
  }
}

const theme = EditorView.baseTheme({
  ".cm-remote-selection": { backgroundColor: "color-mix(in srgb, var(--remote-color) 24%, transparent)" },
  ".cm-remote-caret": {
    position: "relative",
    borderLeft: "2px solid var(--remote-color)",
    marginLeft: "-1px",
    marginRight: "-1px",
  },
  ".cm-remote-caret::before": {
    content: "''",
    position: "absolute",
    top: "-2px",
    left: "-4px",
    width: "6px",
    height: "6px",
    borderRadius: "50%",
    backgroundColor: "var(--remote-color)",
  },
  ".cm-remote-label": {
    position: "absolute",
    bottom: "calc(100% - 1px)",
    left: "-2px",
    padding: "1px 6px 2px",
    borderRadius: "5px 5px 5px 0",
    backgroundColor: "var(--remote-color)",
    color: "#fff",
    font: "600 11px/1.35 system-ui, sans-serif",
    whiteSpace: "nowrap",
    maxWidth: "18em",
    overflow: "hidden",
    textOverflow: "ellipsis",
    pointerEvents: "none",
    userSelect: "none",
    zIndex: "10",
    animation: "cm-remote-label-fade 3s ease-in forwards",
  },
  ".cm-remote-caret-below .cm-remote-label": { bottom: "auto", top: "calc(100% - 1px)", borderRadius: "0 5px 5px 5px" },
  ".cm-remote-caret:hover .cm-remote-label": { animation: "none", opacity: "1" },
  "@keyframes cm-remote-label-fade": { "0%, 80%": { opacity: "1" }, "100%": { opacity: "0" } },
});

/** Others' carets and selections with their names, and one's own for them. */
export function remoteCarets(): Extension {
  return [ViewPlugin.fromClass(RemoteCarets, { decorations: (plugin) => plugin.decorations }), theme];
}
