/** Attachments whose addresses stand in the text: pictures are shown behind them, and files can be downloaded there. */
import type { Extension } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  EditorView,
  MatchDecorator,
  ViewPlugin,
  type ViewUpdate,
  WidgetType,
} from "@codemirror/view";
import { attachmentAddresses, parseAttachmentAddress } from "@collabedit/sdk";
import { isPicture } from "../attachments/picture.ts";
import { chip, thumbnail } from "./attachment-elements.ts";

class AttachmentWidget extends WidgetType {
  readonly #address: string;
  readonly #name: string;

  constructor(address: string, name: string) {
    super();
    this.#address = address;
    this.#name = name;
  }

  override eq(other: AttachmentWidget): boolean {
    return this.#address === other.#address;
  }

  override toDOM(view: EditorView): HTMLElement {
    const element = document.createElement("span");
    element.className = "cm-attachment";
    const asChip = () => chip(this.#address, this.#name);
    const resized = () => view.requestMeasure();
    const failed = () => {
      element.replaceChildren(asChip());
      resized();
    };
    element.append(isPicture(this.#name) ? thumbnail(this.#address, this.#name, resized, failed) : asChip());
    return element;
  }

  /** Clicks and keys on it are its own. */
  override ignoreEvent(): boolean {
    return true;
  }
}

/** Stands for the folders of an address, which say nothing to people. */
class FoldersWidget extends WidgetType {
  override eq(): boolean {
    return true;
  }

  override toDOM(): HTMLElement {
    const element = document.createElement("span");
    element.className = "cm-attachment-folders";
    element.textContent = "…/";
    return element;
  }
}

const addressMark = Decoration.mark({ class: "cm-attachment-address" });
const foldersShort = Decoration.replace({ widget: new FoldersWidget() });

/** Whether somebody writes in this range here. A selection that only comes through must not make the text jump. */
function isWritten(view: EditorView, from: number, to: number): boolean {
  return view.state.selection.ranges.some((range) => from <= range.from && range.to <= to);
}

const decorator = new MatchDecorator({
  regexp: attachmentAddresses(),
  decorate(add, from, to, [address], view) {
    const parsed = parseAttachmentAddress(address);
    if (!parsed) return;
    if (!isWritten(view, from, to)) add(from, from + address.lastIndexOf("/") + 1, foldersShort);
    add(from, to, addressMark);
    // The bracket that ends a link in Markdown belongs to it.
    const end = view.state.doc.sliceString(to, to + 1) === ")" ? to + 1 : to;
    add(end, end, Decoration.widget({ widget: new AttachmentWidget(address, parsed.name), side: 1 }));
  },
});

class AttachmentLinks {
  decorations: DecorationSet;

  constructor(view: EditorView) {
    this.decorations = decorator.createDeco(view);
  }

  update(update: ViewUpdate): void {
    if (update.docChanged || update.viewportChanged || update.selectionSet) {
      this.decorations = decorator.createDeco(update.view);
    }
  }
}

const looks = EditorView.theme({
  // An address says little: the text around it comes first.
  ".cm-attachment-address, .cm-attachment-address span, .cm-attachment-folders": {
    color: "var(--text-faint)",
    textDecoration: "none",
  },
  ".cm-attachment": { display: "inline-block", maxWidth: "100%", padding: "0 2px 0 8px", verticalAlign: "top" },
  ".cm-attachment-thumbnail": {
    display: "block",
    overflow: "hidden",
    maxWidth: "100%",
    margin: "3px 0 6px",
    border: "1px solid var(--line)",
    borderRadius: "var(--radius)",
    backgroundColor: "var(--page)",
    cursor: "zoom-in",
  },
  ".cm-attachment-thumbnail:hover": { borderColor: "var(--accent)" },
  ".cm-attachment-thumbnail img": {
    display: "block",
    minWidth: "24px",
    minHeight: "24px",
    maxWidth: "100%",
    maxHeight: "12rem",
    objectFit: "contain",
  },
  ".cm-attachment-chip": {
    display: "inline-flex",
    alignItems: "center",
    gap: "6px",
    maxWidth: "min(20rem, 100%)",
    height: "21px",
    margin: "2px 0",
    padding: "0 9px 0 7px",
    border: "1px solid var(--line)",
    borderRadius: "11px",
    backgroundColor: "var(--surface-raised)",
    color: "var(--text)",
    font: "550 12.5px/1 var(--sans)",
    textDecoration: "none",
    verticalAlign: "top",
    cursor: "pointer",
  },
  ".cm-attachment-chip:hover": { backgroundColor: "var(--hover)" },
  ".cm-attachment-chip > :first-child": { color: "var(--accent)", fontSize: "14px" },
  ".cm-attachment-chip > :last-child": {
    overflow: "hidden",
    lineHeight: "19px",
    textOverflow: "ellipsis",
    whiteSpace: "nowrap",
  },
});

export const attachmentLinks: Extension = [
  ViewPlugin.fromClass(AttachmentLinks, { decorations: (plugin) => plugin.decorations }),
  looks,
];
