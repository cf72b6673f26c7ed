// @vitest-environment jsdom
import { EditorSelection } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Client } from "../src/client/client.ts";
import { collaboration, redo, undo } from "../src/codemirror/index.ts";
import { changeBetween, splitChanges } from "../src/codemirror/pending-changes.ts";
import type { DocumentSession } from "../src/document/session.ts";
import { Server } from "./server.ts";
import { Simulation } from "./simulation.ts";

const ID = "doc_1";

let simulation: Simulation;
let server: Server;
let views: EditorView[];

interface Writer {
  readonly session: DocumentSession;
  readonly view: EditorView;
}

function writer(name: string): Writer {
  const client = new Client({
    url: "ws://test",
    user: { name, color: "#d6336c" },
    WebSocket: server.WebSocket,
    environment: simulation,
  });
  const session = client.open(ID);
  const view = new EditorView({
    doc: session.text.toString(),
    parent: document.body,
    extensions: collaboration(session),
  });
  views.push(view);
  simulation.advance(100);
  return { session, view };
}

function type({ view }: Writer, insert: string, from = view.state.doc.length, to = from): void {
  view.dispatch({
    changes: { from, to, insert },
    selection: { anchor: from + insert.length },
    userEvent: "input.type",
  });
}

const shown = ({ view }: Writer) => view.state.sliceDoc();

const painted = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

const pass = (ms: number) => simulation.advance(ms);

function start(seed: number): void {
  simulation = new Simulation(seed);
  // The binding and the engine stamp with the machine's clock.
  simulation.onTime = (now) => vi.setSystemTime(now);
  server = new Server(simulation);
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
  start(11);
  views = [];
});

afterEach(() => {
  for (const view of views) view.destroy();
  vi.useRealTimers();
});

describe("two editors", () => {
  it("show the same text, and show their person's own at once", () => {
    const ada = writer("Ada");
    const grace = writer("Grace");
    type(ada, "hello 😀 世界\nsecond line");
    expect(shown(ada)).toBe("hello 😀 世界\nsecond line");
    pass(100);
    expect(shown(grace)).toBe(shown(ada));
    type(grace, "Hi. ", 0);
    type(ada, "!", 5, 8);
    pass(100);
    expect(shown(ada)).toBe("Hi. hello! 世界\nsecond line");
    expect(shown(grace)).toBe(shown(ada));
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("come to the same text under random edits, pulses and losses (seed %i)", (seed) => {
    start(seed);
    const writers = ["Ada", "Grace", "Mary"].map(writer);
    const pick = (count: number) => Math.floor(simulation.random() * count);
    const pieces = ["a", "bc", "\n", "😀", "世界", " ", "longer piece of text", "\r\n"];
    for (let step = 0; step < 150; step += 1) {
      const author = writers[pick(3)] as Writer;
      const action = pick(20);
      // Whole characters only, as an editor knows them.
      const characters = [...shown(author)];
      const index = pick(characters.length + 1);
      const from = characters.slice(0, index).join("").length;
      if (action < 12) type(author, pieces[pick(pieces.length)] ?? "", from);
      else if (action < 15 && index < characters.length) {
        author.view.dispatch({ changes: { from, to: from + (characters[index]?.length ?? 0) } });
      } else if (action < 16) undo(author.view);
      else if (action < 17) redo(author.view);
      else if (action < 18) server.tell({ type: "pulse", document: ID, beat: step, beat_ms: pick(2) * 60, typists: 5 });
      else if (action < 19) [...server.sockets][pick(3)]?.cut();
      pass(pick(15));
    }
    server.tell({ type: "pulse", document: ID, beat: 0, beat_ms: 0, typists: 0 });
    pass(60_000);
    for (const each of writers) {
      expect(each.session.unsyncedChanges).toBe(0);
      expect(each.session.text.toString()).toBe(server.text(ID));
      expect(shown(each)).toBe(server.text(ID));
    }
    expect(server.text(ID)).not.toContain("\r");
  });

  it("keep each other's caret in place while both type in one line", () => {
    const ada = writer("Ada");
    const grace = writer("Grace");
    type(ada, "[A|G]");
    pass(100);
    ada.view.dispatch({ selection: { anchor: 2 } });
    grace.view.dispatch({ selection: { anchor: 4 } });
    for (const character of "0123456789") {
      for (const each of [ada, grace]) type(each, character, each.view.state.selection.main.head);
      pass(4);
    }
    pass(200);
    expect(shown(ada)).toBe("[A0123456789|G0123456789]");
    expect(shown(grace)).toBe(shown(ada));
  });
});

describe("a large paste", () => {
  it("is shown at once, goes in steps, and others' edits go in between", () => {
    const ada = writer("Ada");
    const grace = writer("Grace");
    const paste = Array.from({ length: 100_000 }, (_, i) => "abcdefghijklm 世\n"[(i * 7919) % 16]).join("");
    type(ada, paste);
    expect(shown(ada)).toBe(paste);
    pass(12);
    expect(ada.session.text.length).toBeLessThan(40_000);
    type(grace, "from Grace ", 0);
    type(ada, "on top ", 0);
    pass(3000);
    expect(shown(grace)).toBe(shown(ada));
    expect(shown(ada).length).toBe(paste.length + "from Grace on top ".length);
    expect(ada.session.unsyncedChanges).toBe(0);
    for (const { updates } of server.batches)
      expect(updates.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(16 * 1024);
  });

  it("is complete offline, too, and undone as one", () => {
    const ada = writer("Ada");
    simulation.setOnline(false);
    const paste = "line of text\n".repeat(6000);
    type(ada, paste);
    pass(500);
    expect(ada.session.text.length).toBe(paste.length);
    undo(ada.view);
    expect(shown(ada)).toBe("");
    redo(ada.view);
    expect(shown(ada)).toBe(paste);
    simulation.setOnline(true);
    pass(10_000);
    expect(server.text(ID)).toBe(paste);
  });
});

describe("undo", () => {
  it("takes one's own group back and leaves others' edits, also those in the middle of it", () => {
    const ada = writer("Ada");
    const grace = writer("Grace");
    type(ada, "kept ");
    pass(1000);
    for (const character of "taken") {
      type(ada, character);
      pass(60);
      type(grace, "g", 0);
      pass(60);
    }
    expect(shown(ada)).toBe("gggggkept taken");
    undo(ada.view);
    expect(shown(ada)).toBe("gggggkept ");
    redo(ada.view);
    expect(shown(ada)).toBe("gggggkept taken");
    undo(ada.view);
    undo(ada.view);
    expect(shown(ada)).toBe("ggggg");
    pass(100);
    expect(shown(grace)).toBe("ggggg");
    expect(ada.session.text.toString()).toBe("ggggg");
  });

  it("puts the selection back", () => {
    const ada = writer("Ada");
    type(ada, "one two three");
    pass(1000);
    ada.view.dispatch({ selection: EditorSelection.range(4, 7) });
    ada.view.dispatch({ changes: { from: 4, to: 7, insert: "2" }, selection: { anchor: 5 } });
    pass(1000);
    ada.view.dispatch({ selection: { anchor: 0 } });
    undo(ada.view);
    expect(shown(ada)).toBe("one two three");
    expect(ada.view.state.selection.main).toMatchObject({ anchor: 4, head: 7 });
  });

  it("outlives several updates that come at once, and another replica", () => {
    const ada = writer("Ada");
    const [grace, mary] = [writer("Grace"), writer("Mary")];
    type(ada, "one ");
    pass(1000);
    server.tell({ type: "pulse", document: ID, beat: 1, beat_ms: 60, typists: 5 });
    pass(10);
    type(grace, "g", 0);
    type(mary, "m", 0);
    pass(140);
    server.tell({ type: "pulse", document: ID, beat: 2, beat_ms: 0, typists: 5 });
    pass(1000);
    server.judge = () => ({ code: "foreign_peer", advice: "give_up" });
    type(ada, "two");
    pass(8);
    server.judge = () => undefined;
    pass(3000);
    expect(shown(ada)).toMatch(/^(gm|mg)one two$/);
    undo(ada.view);
    undo(ada.view);
    pass(100);
    expect(server.text(ID)).toMatch(/^(gm|mg)$/);
    redo(ada.view);
    pass(100);
    expect(shown(grace)).toMatch(/^(gm|mg)one $/);
  });

  it("also undoes what waits for the pulse", () => {
    const ada = writer("Ada");
    server.tell({ type: "pulse", document: ID, beat: 1, beat_ms: 60, typists: 5 });
    pass(10);
    type(ada, "waits");
    expect(ada.session.text.length).toBe(0);
    undo(ada.view);
    expect(shown(ada)).toBe("");
  });
});

describe("the document's own changes", () => {
  it("reach the editor when something else writes, and when the replica is another", () => {
    const ada = writer("Ada");
    type(ada, "written");
    pass(100);
    ada.session.text.insert(0, "restored and ");
    ada.session.doc.commit();
    expect(shown(ada)).toBe("restored and written");
    pass(100);
    server.judge = () => ({ code: "invalid_update", advice: "give_up" });
    type(ada, " refused");
    pass(8);
    server.judge = () => undefined;
    type(ada, " later");
    pass(3000);
    expect(shown(ada)).toBe(server.text(ID));
    expect(shown(ada)).toBe("restored and written later");
    type(ada, "!");
    pass(100);
    expect(server.text(ID)).toBe("restored and written later!");
  });

  it("do not take an editor off course when somebody wrote carriage returns", () => {
    const ada = writer("Ada");
    const other = server.document(ID);
    other.getText("content").insert(0, "a\r\nb");
    other.commit();
    server.broadcast(ID, [other.export({ mode: "update" })]);
    pass(100);
    type(ada, "c");
    pass(100);
    expect(server.text(ID)).toBe("a\r\nbc");
    expect(shown(ada)).toBe("a\r\nbc");
    type(ada, "d\r\ne\rf");
    pass(100);
    expect(server.text(ID)).toBe("a\r\nbcd\ne\nf");
  });

  it("make the editor read only when the document is", () => {
    server.permission = "read";
    const ada = writer("Ada");
    expect(ada.view.state.readOnly).toBe(true);
  });
});

describe("a remote caret", () => {
  it("shows the name as text and nothing else of what a stranger sends", async () => {
    const ada = writer("Ada");
    type(ada, "one\ntwo");
    pass(100);
    const mallory = new Client({
      url: "ws://test",
      user: { name: "<img src=x onerror=alert(1)>", color: "red; background: url(//evil)" },
      WebSocket: server.WebSocket,
      environment: simulation,
    }).open(ID);
    pass(200);
    const cursor = mallory.text.getCursor(5)?.encode() ?? new Uint8Array();
    const anchor = mallory.text.getCursor(1)?.encode() ?? new Uint8Array();
    mallory.presence.setCaret({ anchor, head: cursor });
    pass(200);
    await painted();
    const label = ada.view.dom.querySelector(".cm-remote-label");
    expect(label?.textContent).toBe("<img src=x onerror=alert(1)>");
    expect(label?.children).toHaveLength(0);
    expect(ada.view.dom.querySelector(".cm-remote-selection")?.getAttribute("style")).toMatch(
      /^--remote-color: #[0-9a-f]{6};?$/,
    );
    mallory.close();
    pass(100);
    await painted();
    expect(ada.view.dom.querySelector(".cm-remote-label")).toBeNull();
  });
});

describe("a traced edit", () => {
  const key = ({ view }: Writer, name: "keydown" | "keyup") => {
    const event = new KeyboardEvent(name, { bubbles: true, key: "x" });
    Object.defineProperty(event, "timeStamp", { value: simulation.eventTime() });
    view.contentDOM.dispatchEvent(event);
  };
  const waits = () => {
    const texts = server.texts.map((text) => JSON.parse(text) as { type: string; waited_us?: number });
    return texts.filter(({ type }) => type === "traced").map(({ waited_us }) => waited_us);
  };

  it("begins with the first key press of its batch, whatever was pressed before", () => {
    server.traceRatio = 1;
    const ada = writer("Ada");
    key(ada, "keydown");
    key(ada, "keyup");
    pass(1000);
    key(ada, "keydown");
    pass(3);
    type(ada, "x");
    key(ada, "keyup");
    pass(100);
    server.tell({ type: "pulse", document: ID, beat: 1, beat_ms: 60, typists: 5 });
    pass(50);
    key(ada, "keydown");
    type(ada, "y");
    pass(20);
    key(ada, "keydown");
    type(ada, "z");
    pass(10);
    server.tell({ type: "pulse", document: ID, beat: 2, beat_ms: 60, typists: 5 });
    pass(100);
    // Both wait for the beat, which takes its time to come.
    expect(waits()).toEqual([3000, 30_000 + server.latencyMs * 1000]);
  });

  it("may begin with no key press", () => {
    server.traceRatio = 1;
    const ada = writer("Ada");
    key(ada, "keydown");
    ada.view.dispatch({ changes: { from: 0, insert: "by a program" } });
    pass(100);
    expect(waits()).toEqual([undefined]);
  });
});

describe("changes", () => {
  it("split into a step and a rest that make the whole", () => {
    const before = "0123456789";
    const { changes } = new EditorView({ doc: before }).state.update({
      changes: [
        { from: 1, to: 3, insert: "ab" },
        { from: 5, insert: "世界".repeat(20) },
        { from: 8, to: 9, insert: "x".repeat(30) },
      ],
    });
    const { now, rest } = splitChanges(changes, 20);
    expect(
      rest &&
        now
          .compose(rest)
          .apply(new EditorView({ doc: before }).state.doc)
          .toString(),
    ).toBe(changes.apply(new EditorView({ doc: before }).state.doc).toString());
    expect(splitChanges(changes, 1000).rest).toBeUndefined();
  });

  it("between two texts touch only what differs", () => {
    const change = changeBetween("one two three", "one 2 three");
    expect(change.toJSON()).toEqual([4, [3, "2"], 6]);
    expect(changeBetween("same", "same").empty).toBe(true);
    expect(changeBetween("aa", "aaa").toJSON()).toEqual([2, [0, "a"]]);
  });
});
