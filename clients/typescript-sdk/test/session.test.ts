import { readFileSync } from "node:fs";
import { decodeImportBlobMeta, LoroDoc } from "loro-crdt";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Client } from "../src/client/client.ts";
import type { DocumentSession, RefusedEvent } from "../src/document/session.ts";
import { insertInPieces } from "../src/document/text.ts";
import { INSERTED_TEXT_PER_STEP_BYTES_MAX } from "../src/protocol/limits.ts";
import { Server } from "./server.ts";
import { Simulation } from "./simulation.ts";

const ID = "doc_1";

let simulation: Simulation;
let server: Server;
const open = (name = "Ada"): DocumentSession =>
  new Client({
    url: "ws://test",
    user: { name, color: "#112233" },
    WebSocket: server.WebSocket,
    environment: simulation,
  }).open(ID);

function opened(name?: string): DocumentSession {
  const session = open(name);
  simulation.advance(100);
  expect(session.synced).toBe(true);
  return session;
}

function type(session: DocumentSession, text: string, position = session.text.length): void {
  session.text.insert(position, text);
  session.doc.commit();
}

function cutConnections(): void {
  for (const socket of [...server.sockets]) socket.cut();
}

beforeEach(() => {
  simulation = new Simulation(7);
  server = new Server(simulation);
});

describe("a document that is open twice", () => {
  it("is the same in both, and everything is acknowledged", () => {
    const ada = opened("Ada");
    const grace = opened("Grace");
    type(ada, "hello ");
    type(grace, "world 😀 世界");
    expect(ada.unsyncedChanges).toBe(6);
    simulation.advance(100);
    expect(ada.text.toString()).toBe(grace.text.toString());
    expect(server.text(ID)).toBe(ada.text.toString());
    expect([ada.unsyncedChanges, grace.unsyncedChanges]).toEqual([0, 0]);
  });

  it("is so with a stock server, too", () => {
    server.isStock = true;
    const ada = opened("Ada");
    const grace = opened("Grace");
    type(ada, "hello");
    simulation.advance(100);
    expect(grace.text.toString()).toBe("hello");
    expect(ada.unsyncedChanges).toBe(0);
    expect(server.texts).toEqual([]);
  });

  it("counts a change as unsynced until its acknowledgement is here", () => {
    const ada = opened();
    const counts: number[] = [];
    ada.on("unsyncedChanges", (count) => counts.push(count));
    server.judge = () => "ignore";
    type(ada, "abc");
    simulation.advance(1000);
    expect(server.batches).toHaveLength(1);
    expect(counts).toEqual([3]);
  });
});

describe("a lost connection", () => {
  it("keeps what is written and offers it again, byte for byte", () => {
    const ada = opened();
    server.judge = () => "ignore";
    type(ada, "first ");
    simulation.advance(20);
    cutConnections();
    expect(ada.status).toBe("offline");
    type(ada, "second");
    server.judge = () => undefined;
    simulation.advance(3000);
    expect(ada.status).toBe("connected");
    expect(server.text(ID)).toBe("first second");
    expect(ada.unsyncedChanges).toBe(0);
    expect(server.batches[1]).toEqual(server.batches[0]);
  });

  it("does not send again what the server took before the connection broke", () => {
    const ada = opened();
    type(ada, "x");
    simulation.advance(6);
    cutConnections();
    expect(ada.unsyncedChanges).toBe(1);
    simulation.advance(3000);
    expect(server.batches).toHaveLength(1);
    expect(ada.unsyncedChanges).toBe(0);
  });

  it("is tried again after 2, 4, 8 … 30 s at most, with full jitter", () => {
    server.isUp = false;
    open();
    const attempts: number[] = [];
    let before = simulation.now();
    for (let count = server.connectionCount; attempts.length < 9; ) {
      simulation.advance(10);
      if (server.connectionCount === count) continue;
      count = server.connectionCount;
      attempts.push(simulation.now() - before);
      before = simulation.now();
    }
    for (const [index, pause] of attempts.entries()) {
      expect(pause).toBeLessThanOrEqual(Math.min(30_000, 2000 * 2 ** index) + 20);
    }
    expect(Math.max(...attempts)).toBeGreaterThan(4000);
  });

  it("waits while the machine is offline and comes back with the network", () => {
    const ada = opened();
    simulation.setOnline(false);
    expect(ada.status).toBe("offline");
    const { connectionCount } = server;
    simulation.advance(120_000);
    expect(server.connectionCount).toBe(connectionCount);
    simulation.setOnline(true);
    simulation.advance(100);
    expect(ada.status).toBe("connected");
  });

  it("is noticed when it is only silent", () => {
    const ada = opened();
    for (const socket of server.sockets) socket.silent = true;
    simulation.advance(26_000);
    expect(ada.status).not.toBe("connected");
    simulation.advance(3000);
    expect(ada.status).toBe("connected");
  });

  it("gives a server what it acknowledged and then lost", () => {
    const ada = opened();
    type(ada, "kept");
    simulation.advance(100);
    server.documents.clear();
    cutConnections();
    simulation.advance(3000);
    expect(server.text(ID)).toBe("kept");
  });

  it("sends years of keystrokes in few updates", () => {
    const ada = opened();
    server.isUp = false;
    cutConnections();
    for (let i = 0; i < 3000; i += 1) type(ada, "k");
    server.isUp = true;
    simulation.advance(60_000);
    expect(server.text(ID)).toBe("k".repeat(3000));
    expect(server.batches.flatMap((batch) => batch.updates).length).toBeLessThan(600);
  });

  it("moves at a draining node's word", () => {
    const ada = opened();
    server.tell({ type: "draining", reconnect_within_ms: 500 });
    simulation.advance(700);
    expect(server.connectionCount).toBe(2);
    expect(ada.status).toBe("connected");
  });
});

describe("a refusal", () => {
  it("that passes is tried again, with everything after it, in order", () => {
    const ada = opened();
    let refusals = 2;
    server.judge = () => (refusals-- > 0 ? { code: "rate_limited", advice: "retry" } : undefined);
    type(ada, "one ");
    simulation.advance(1);
    type(ada, "two");
    simulation.advance(30_000);
    expect(server.text(ID)).toBe("one two");
    expect(ada.unsyncedChanges).toBe(0);
  });

  it("for a missing dependency joins again", () => {
    const ada = opened();
    let refused = false;
    server.judge = () => {
      if (refused) return undefined;
      refused = true;
      return { code: "missing_dependency", advice: "rejoin" };
    };
    type(ada, "x");
    simulation.advance(3000);
    expect(server.text(ID)).toBe("x");
    expect(server.joins.filter(({ crdt }) => crdt === "%LOR")).toHaveLength(2);
  });

  it("that is final keeps a copy and goes on without the refused part", () => {
    const ada = opened();
    type(ada, "before. ");
    simulation.advance(100);
    const refusals: RefusedEvent[] = [];
    ada.on("refused", (refused) => refusals.push(refused));
    const bad = () => server.batches.length === 2;
    server.judge = () => (bad() ? { code: "invalid_update", advice: "give_up" } : undefined);
    const { peerIdStr } = ada.doc;
    type(ada, "REFUSED");
    type(ada, " after", ada.text.length);
    simulation.advance(3000);
    expect(ada.text.toString()).toBe("before.  after");
    expect(server.text(ID)).toBe("before.  after");
    expect(ada.doc.peerIdStr).not.toBe(peerIdStr);
    expect(ada.unsyncedChanges).toBe(0);
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toMatchObject({ code: "invalid_update", carriedOver: true });
    const copy = refusals[0]?.recovery;
    expect(copy?.text).toBe("before. REFUSED after");
    expect(
      LoroDoc.fromSnapshot(copy?.snapshot ?? new Uint8Array())
        .getText("content")
        .toString(),
    ).toBe("before. REFUSED after");
  });

  it("brings back what a refused deletion deleted, amid others' edits", () => {
    const ada = opened("Ada");
    const grace = opened("Grace");
    type(ada, "one two three");
    simulation.advance(100);
    server.judge = (batch) =>
      server.batches.length === 2 && batch ? { code: "invalid_update", advice: "give_up" } : undefined;
    ada.text.delete(4, 4);
    ada.doc.commit();
    ada.doc.getMap("settings").set("language", "Rust");
    type(ada, "!", ada.text.length);
    type(grace, "zero ", 0);
    simulation.advance(5000);
    expect(ada.text.toString()).toBe("zero one two three!");
    expect(grace.text.toString()).toBe(ada.text.toString());
    expect(grace.doc.getMap("settings").get("language")).toBe("Rust");
  });

  it("of the person makes the document read only, and keeps everything in the copy", () => {
    const ada = opened();
    const refusals: RefusedEvent[] = [];
    ada.on("refused", (refused) => refusals.push(refused));
    server.judge = () => {
      server.permission = "read";
      return { code: "permission_denied", advice: "give_up" };
    };
    type(ada, "not yours");
    simulation.advance(3000);
    expect(ada.readOnly).toBe(true);
    expect(ada.text.toString()).toBe("");
    expect(ada.unsyncedChanges).toBe(0);
    expect(refusals.map(({ carriedOver, recovery }) => [carriedOver, recovery?.text])).toEqual([[false, "not yours"]]);
  });

  it("of the peer id carries everything over to a new one", () => {
    const ada = opened();
    server.judge = () => (server.batches.length === 1 ? { code: "foreign_peer", advice: "give_up" } : undefined);
    type(ada, "mine");
    simulation.advance(3000);
    expect(server.text(ID)).toBe("mine");
  });

  it("takes a new peer id when the server knows more of ours than we do", () => {
    const ada = open();
    const { peerIdStr } = ada.doc;
    const other = new LoroDoc();
    other.setPeerId(peerIdStr);
    other.getText("content").insert(0, "from a life that was rolled back");
    other.commit();
    server.document(ID).import(other.export({ mode: "update" }));
    type(ada, " and now");
    simulation.advance(3000);
    expect(ada.doc.peerIdStr).not.toBe(peerIdStr);
    expect(server.text(ID).length).toBe("from a life that was rolled back and now".length);
    expect(ada.text.toString()).toBe(server.text(ID));
  });

  it("takes a new peer id when the announced one is not ours", () => {
    const ada = open();
    const { peerIdStr } = ada.doc;
    server.isOwned = false;
    type(ada, "x");
    simulation.advance(12);
    server.isOwned = true;
    simulation.advance(3000);
    expect(ada.doc.peerIdStr).not.toBe(peerIdStr);
    expect(server.text(ID)).toBe("x");
  });
});

describe("the pulse", () => {
  it("holds frames and edits back until the beat, and commits right after the import", () => {
    const ada = opened("Ada");
    const grace = opened("Grace");
    let typed = 0;
    let written = 0;
    const edits = {
      get count() {
        return typed - written;
      },
      write() {
        ada.text.insert(0, "a".repeat(typed - written));
        written = typed;
      },
    };
    ada.attachEdits(edits);
    const beat = () => server.tell({ type: "pulse", document: ID, beat: 1, beat_ms: 60, typists: 5 });
    beat();
    simulation.advance(10);
    type(grace, "g");
    simulation.advance(20);
    typed = 3;
    ada.editsWaiting();
    simulation.advance(20);
    expect(ada.text.toString()).toBe("");
    expect(ada.unsyncedChanges).toBe(3);
    beat();
    simulation.advance(6);
    expect(ada.text.toString()).toBe("aaag");
    // Written on top of what the beat brought.
    const own = ada.doc.getChangeAt({ peer: ada.doc.peerIdStr, counter: 0 });
    expect(own.deps).toEqual([{ peer: grace.doc.peerIdStr, counter: 0 }]);
  });

  it("commits after two beats when no frame comes, and at once when it stops", () => {
    const ada = opened();
    let waiting = 0;
    ada.attachEdits({
      get count() {
        return waiting;
      },
      write() {
        ada.text.insert(0, "x".repeat(waiting));
        waiting = 0;
      },
    });
    server.tell({ type: "pulse", document: ID, beat: 1, beat_ms: 60, typists: 5 });
    simulation.advance(10);
    waiting = 1;
    ada.editsWaiting();
    simulation.advance(119);
    expect(ada.text.length).toBe(0);
    simulation.advance(2);
    expect(ada.text.length).toBe(1);
    waiting = 1;
    ada.editsWaiting();
    server.tell({ type: "pulse", document: ID, beat: 2, beat_ms: 0, typists: 1 });
    simulation.advance(6);
    expect(ada.text.length).toBe(2);
    waiting = 1;
    ada.editsWaiting();
    simulation.settle();
    expect(ada.text.length).toBe(3);
  });
});

describe("16 KB", () => {
  const paste = Array.from({ length: 200_000 }, (_, i) => "abcdefghijklmnopqrstuvwxyz \n"[(i * 7919) % 28]).join("");

  it("bounds every update, also of what was inserted as one", () => {
    const ada = opened();
    type(ada, paste);
    simulation.advance(60_000);
    expect(server.text(ID)).toBe(paste);
    expect(
      Math.max(...server.batches.flatMap(({ updates }) => updates.map(({ length }) => length))),
    ).toBeLessThanOrEqual(INSERTED_TEXT_PER_STEP_BYTES_MAX);
    expect(
      Math.max(...server.batches.map(({ updates }) => updates.reduce((sum, { length }) => sum + length, 0))),
    ).toBeLessThanOrEqual(INSERTED_TEXT_PER_STEP_BYTES_MAX);
  });

  it("makes a concurrent edit cheap whatever the order of the peer ids", () => {
    for (const [author, other] of [
      ["1", "2"],
      ["2", "1"],
    ] as const) {
      const doc = new LoroDoc();
      doc.setPeerId(author);
      insertInPieces(doc.getText("content"), 0, paste);
      doc.commit();
      expect(doc.getText("content").toString()).toBe(paste);
      const concurrent = new LoroDoc();
      concurrent.setPeerId(other);
      concurrent.getText("content").insert(0, "hello");
      concurrent.commit();
      // The pieces stay apart: a run of 200,000 characters would be one operation.
      const inserts = doc.exportJsonUpdates().changes.flatMap(({ ops }) => ops.map(({ content }) => content));
      expect(inserts.length).toBeGreaterThanOrEqual(paste.length / 1024);
      doc.import(concurrent.export({ mode: "update" }));
      expect(doc.getText("content").length).toBe(paste.length + 5);
    }
  });

  it("bounds import steps, and lets others run in between", () => {
    const source = new LoroDoc();
    for (let i = 0; i < 40; i += 1) {
      insertInPieces(source.getText("content"), 0, paste.slice(i * 5000, (i + 1) * 5000));
      source.commit();
    }
    const ada = opened();
    const steps: number[] = [];
    ada.doc.subscribe(({ events }) => {
      for (const { diff } of events) {
        if (diff.type === "text") steps.push(diff.diff.reduce((sum, part) => sum + (part.insert?.length ?? 0), 0));
      }
    });
    const end = source.oplogVersion().get(source.peerIdStr) ?? 0;
    const updates: Uint8Array[] = [];
    for (let counter = 0; counter < end; counter += 5000) {
      updates.push(
        source.export({ mode: "updates-in-range", spans: [{ id: { peer: source.peerIdStr, counter }, len: 5000 }] }),
      );
    }
    server.broadcast(ID, updates);
    simulation.advance(100);
    expect(ada.text.toString()).toBe(source.getText("content").toString());
    expect(steps.length).toBeGreaterThan(10);
    expect(Math.max(...steps)).toBeLessThanOrEqual(INSERTED_TEXT_PER_STEP_BYTES_MAX);
  });
});

describe("an update that makes the engine panic", () => {
  const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));

  it("is left out after a fresh replica was loaded; nothing else is lost", () => {
    server.document(ID).import(fixture("panicking-update-base.bin"));
    const ada = opened();
    const before = ada.doc;
    let replaced = 0;
    const skipped: unknown[] = [];
    ada.on("replaced", () => (replaced += 1));
    ada.on("skipped", ({ error }) => skipped.push(error));
    type(ada, "Ada's. ", 0);
    server.broadcast(ID, [fixture("panicking-update.bin")]);
    simulation.advance(6);
    expect(ada.isBroken).toBe(true);
    expect(() => before.getText("content").toString()).toThrow();
    simulation.advance(3000);
    expect(ada.isBroken).toBe(false);
    expect(ada.doc).not.toBe(before);
    expect(replaced).toBe(1);
    expect(ada.text.toString()).toBe("Ada's. hello world");
    // Once more, and it is known.
    server.broadcast(ID, [fixture("panicking-update.bin")]);
    simulation.advance(3000);
    expect(skipped).toHaveLength(1);
    server.broadcast(ID, [fixture("panicking-update.bin")]);
    simulation.advance(3000);
    expect(skipped).toHaveLength(1);
    type(ada, "!");
    simulation.advance(100);
    expect(server.text(ID)).toBe("Ada's. hello world!");
    expect(ada.unsyncedChanges).toBe(0);
  });

  it("does not touch an update that is merely malformed beyond reporting it", () => {
    const ada = opened();
    type(ada, "text");
    simulation.advance(100);
    const skipped: unknown[] = [];
    ada.on("skipped", ({ error }) => skipped.push(error));
    const garbage = new Uint8Array(100).fill(7);
    server.broadcast(ID, [garbage]);
    simulation.advance(3000);
    server.broadcast(ID, [garbage]);
    simulation.advance(3000);
    expect(skipped).toHaveLength(1);
    expect(ada.text.toString()).toBe("text");
  });
});

describe("presence", () => {
  // The engine stamps entries with the machine's time, and of two in one millisecond the first stays.
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"] });
    simulation.onTime = (now) => vi.setSystemTime(now);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const caret = (value: number) => ({ anchor: new Uint8Array([value]), head: new Uint8Array([value]) });

  it("shows the others and not oneself, and ends with the document", () => {
    const ada = opened("Ada");
    const grace = opened("Grace");
    simulation.advance(11_000);
    grace.presence.setCaret(caret(1));
    simulation.advance(100);
    expect(ada.presence.others()).toMatchObject([
      { name: "Grace", user: "usr_1", color: "#112233", head: new Uint8Array([1]) },
    ]);
    expect(grace.presence.others().map(({ name }) => name)).toEqual(["Ada"]);
    grace.close();
    simulation.advance(100);
    expect(ada.presence.others()).toEqual([]);
  });

  it("is sent at most every 50 ms, only on change, and again every 10 s", () => {
    const ada = opened("Ada");
    let presenceFrames = 0;
    const received = server.received.bind(server);
    server.received = (socket, data) => {
      if (typeof data !== "string" && String.fromCharCode(...data.subarray(0, 4)) === "%EPH") presenceFrames += 1;
      received(socket, data);
    };
    for (let i = 0; i < 1000; i += 1) {
      ada.presence.setCaret(caret(i % 200));
      simulation.advance(1);
    }
    simulation.advance(100);
    expect(presenceFrames).toBeGreaterThan(15);
    expect(presenceFrames).toBeLessThanOrEqual(21);
    const sent = presenceFrames;
    for (let i = 0; i < 100; i += 1) ada.presence.setCaret(caret(199));
    simulation.advance(1000);
    expect(presenceFrames).toBe(sent);
    simulation.advance(10_000);
    expect(presenceFrames).toBe(sent + 1);
  });
});

describe("the join", () => {
  it("announces device, peer, nonce, name and features", () => {
    const ada = opened();
    const { announcement } = server.joins[0] ?? {};
    expect(announcement).toMatchObject({
      collabedit: 1,
      name: "Ada",
      peer: ada.doc.peerIdStr,
      token: null,
      features: ["pulse", "stamps"],
    });
    expect(announcement?.device).toMatch(/^dev_[0-9a-f]{32}$/);
    expect(announcement?.nonce).toMatch(/^[\w-]{22}$/);
  });

  it("asks for a fresh token on each connection", () => {
    let count = 0;
    const client = new Client({
      url: "ws://test",
      user: { name: "Ada", color: "#112233" },
      token: () => Promise.resolve(`token ${++count}`),
      WebSocket: server.WebSocket,
      environment: simulation,
    });
    client.open(ID);
    simulation.advance(10);
    // The token's promise is a real one.
    return new Promise((resolve) => setTimeout(resolve, 0)).then(() => {
      simulation.advance(100);
      expect(server.joins[0]?.announcement.token).toBe("token 1");
    });
  });

  it("carries spans that tell the server what is written", () => {
    const ada = opened();
    type(ada, "héllo 😀");
    simulation.advance(100);
    const [update] = server.batches[0]?.updates ?? [];
    const meta = decodeImportBlobMeta(update ?? new Uint8Array(), true);
    expect(meta.partialEndVersionVector.toJSON().get(ada.doc.peerIdStr)).toBe(7);
  });
});
