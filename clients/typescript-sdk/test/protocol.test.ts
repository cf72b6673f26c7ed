import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { hex } from "../src/document/hex.ts";
import { drawPeer, peerOf, userOfToken } from "../src/document/peer.ts";
import type { TraceReport } from "../src/document/traces.ts";
import { cleanName, personOf } from "../src/presence/person.ts";
import { decodeWelcome, encodeAnnouncement } from "../src/protocol/announcement.ts";
import { FragmentAssembler } from "../src/protocol/fragments.ts";
import {
  CrdtType,
  decode,
  encode,
  MessageType,
  refusalOfRoomError,
  refusalOfStatus,
  UpdateStatusCode,
  updateFrames,
} from "../src/protocol/frames.ts";
import { FRAGMENT_BYTES_MAX, FRAME_BYTES_MAX } from "../src/protocol/limits.ts";
import { parseServerMessage, tracedMessage, traceMessage } from "../src/protocol/messages.ts";
import { Simulation } from "./simulation.ts";

interface Vectors {
  peers: { user: string; device: string; nonce: string; peer: string }[];
  server_texts: { json: string; means: Record<string, unknown> | null }[];
  client_texts: { trace: { document: string; batch: string; traceparent: string }; json: string }[];
  client_reports: { document: string; batch: string; report: TraceReport; json: string }[];
  announcements: { announcement: Parameters<typeof encodeAnnouncement>[0]; json: string }[];
}

const vectors = JSON.parse(
  readFileSync(new URL("../../../schemas/socket/v1/vectors.json", import.meta.url), "utf8"),
) as Vectors;
const base64url = (text: string) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

describe("the golden vectors of the socket", () => {
  it.each(vectors.peers)("peer of $user on $device", ({ user, device, nonce, peer }) => {
    expect(peerOf(user, device, base64url(nonce)).toString()).toBe(peer);
  });

  it.each(vectors.server_texts)("server text $json", ({ json, means }) => {
    expect(parseServerMessage(json) ?? null).toEqual(means);
  });

  it.each(vectors.client_texts)("client text $json", ({ trace, json }) => {
    expect(traceMessage(trace.document, trace.batch, trace.traceparent)).toBe(json);
  });

  it.each(vectors.client_reports)("client report $json", ({ document, batch, report, json }) => {
    expect(tracedMessage(document, batch, report)).toBe(json);
  });

  it.each(vectors.announcements)("announcement of $announcement.name", ({ announcement, json }) => {
    expect(new TextDecoder().decode(encodeAnnouncement(announcement))).toBe(json);
  });
});

describe("stock frames", () => {
  const bytes = (...values: number[]) => Uint8Array.from(values);

  // Bytes by hand from the published description of protocol version 1.
  it.each([
    [
      "join request",
      { type: MessageType.JoinRequest, crdt: CrdtType.Loro, roomId: "a", auth: bytes(1), version: bytes(0) },
      "254c4f52 0161 00 0101 0100",
    ],
    [
      "update",
      {
        type: MessageType.DocUpdate,
        crdt: CrdtType.Loro,
        roomId: "a",
        updates: [bytes(7, 8)],
        batchId: "0x0102030405060708",
      },
      "254c4f52 0161 03 01 020708 0102030405060708",
    ],
    [
      "ack",
      {
        type: MessageType.Ack,
        crdt: CrdtType.LoroEphemeralStore,
        roomId: "é",
        refId: "0x00000000000000ff",
        status: UpdateStatusCode.InvalidUpdate,
      },
      "25455048 02c3a9 08 00000000000000ff 04",
    ],
    ["leave", { type: MessageType.Leave, crdt: CrdtType.Loro, roomId: "a" }, "254c4f52 0161 07"],
  ] as const)("%s", (_name, message, expected) => {
    const encoded = encode(message as unknown as Parameters<typeof encode>[0]);
    expect(hex(encoded)).toBe(expected.replaceAll(" ", ""));
    expect(decode(encoded)).toMatchObject(message);
  });

  it("carry a large update in fragments, which come together again", () => {
    const simulation = new Simulation();
    const update = simulation.randomBytes(600_000);
    const frames = updateFrames(CrdtType.Loro, "doc", "0123456789abcdef", [update]);
    expect(frames).toHaveLength(1 + Math.ceil(update.length / FRAGMENT_BYTES_MAX));
    const assembler = new FragmentAssembler(simulation, () => {});
    let whole: Uint8Array | undefined;
    for (const frame of frames) {
      const encoded = encode(frame);
      expect(encoded.length).toBeLessThanOrEqual(FRAME_BYTES_MAX);
      const message = decode(encoded);
      if (message.type === MessageType.DocUpdateFragmentHeader) expect(assembler.begin(message)).toBe(true);
      if (message.type === MessageType.DocUpdateFragment) whole = assembler.add(message);
    }
    expect(whole && hex(whole) === hex(update)).toBe(true);
  });

  it("give fragments that stay incomplete up after ten seconds, and take no more than four at once", () => {
    const simulation = new Simulation();
    let timeouts = 0;
    const assembler = new FragmentAssembler(simulation, () => (timeouts += 1));
    const header = (batch: number) =>
      ({
        type: MessageType.DocUpdateFragmentHeader,
        crdt: CrdtType.Loro,
        roomId: "a",
        batchId: `0x${batch}`,
        fragmentCount: 2,
        totalSizeBytes: 10,
      }) as const;
    expect([1, 2, 3, 4, 5].map((batch) => assembler.begin(header(batch)))).toEqual([true, true, true, true, false]);
    simulation.advance(9_999);
    expect(timeouts).toBe(0);
    simulation.advance(1);
    expect(timeouts).toBe(4);
    expect(assembler.begin(header(6))).toBe(true);
  });

  it("have statuses that read as refusals", () => {
    expect(refusalOfStatus(UpdateStatusCode.Ok)).toBeUndefined();
    expect(refusalOfStatus(UpdateStatusCode.PermissionDenied)).toMatchObject({
      code: "permission_denied",
      advice: "give_up",
    });
    expect(refusalOfStatus(UpdateStatusCode.RateLimited)).toMatchObject({ code: "rate_limited", advice: "retry" });
    expect(refusalOfStatus(UpdateStatusCode.AppError)).toMatchObject({ code: "internal", advice: "retry" });
    expect(refusalOfRoomError("suspended: for an hour")).toMatchObject({ code: "suspended" });
  });
});

describe("the welcome", () => {
  const read = (text: string) => decodeWelcome(new TextEncoder().encode(text));

  it("is read, and its absence is a stock server", () => {
    expect(
      read(
        '{"collabedit":1,"session":"ses_1","user":"usr_1","server_time_ms":5,"peer":{"end":3,"owned":false},"features":["pulse",7],"limits":{"update_bytes_max":9}}',
      ),
    ).toEqual({
      session: "ses_1",
      user: "usr_1",
      serverTimeMs: 5,
      peer: { end: 3, owned: false },
      features: new Set(["pulse"]),
      updateBytesMax: 9,
      traceRatio: 0,
    });
    expect(read('{"collabedit":1,"trace_ratio":0.25}')?.traceRatio).toBe(0.25);
    expect(read('{"collabedit":1,"peer":null}')?.peer).toEqual({ end: 0, owned: true });
    for (const stock of ["", "{}", "null", "[1]", "\u0000"]) expect(read(stock)).toBeUndefined();
    expect(decodeWelcome(undefined)).toBeUndefined();
  });
});

describe("identity", () => {
  it("draws peer ids that say where they come from", () => {
    const simulation = new Simulation(3);
    const { peer, nonce } = drawPeer("usr_1", "dev_1", (count) => simulation.randomBytes(count));
    expect(peerOf("usr_1", "dev_1", base64url(nonce)).toString()).toBe(peer);
    expect(drawPeer("usr_1", "dev_1", (count) => simulation.randomBytes(count)).peer).not.toBe(peer);
  });

  it("reads the user of a token, and nobody of what is none", () => {
    const payload = btoa(JSON.stringify({ sub: "usr_ada" })).replaceAll("=", "");
    expect(userOfToken(`e30.${payload}.x`)).toBe("usr_ada");
    for (const token of [null, "", "opaque", "a.b.c", "a.e30.c"]) expect(userOfToken(token)).toBe("");
  });

  it("takes names and colours from strangers with care", () => {
    expect(cleanName("  Ada\u202e\n ")).toBe("Ada");
    expect(cleanName("\u0000")).toBe("Anonymous");
    expect([...cleanName("😀".repeat(100))]).toHaveLength(64);
    expect(personOf("1", "text")).toBeUndefined();
    expect(personOf("1", { name: 7, color: "#12345", anchor: [1], head: "x" })).toMatchObject({
      name: "Anonymous",
      anchor: null,
      head: null,
      user: "1",
    });
    expect(personOf("1", { color: "url(x)" })?.color).toMatch(/^#[0-9a-f]{6}$/);
  });
});
