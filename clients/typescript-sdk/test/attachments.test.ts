import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { attachmentAddresses, httpOrigin, parseAttachmentAddress } from "../src/attachments/address.ts";
import { cleanAttachmentName } from "../src/attachments/attachment.ts";
import { parseReprDigest, sha256 } from "../src/attachments/digest.ts";
import type { AttachmentError } from "../src/attachments/error.ts";
import type { ProgressRequest } from "../src/attachments/transport.ts";
import { Client } from "../src/client/client.ts";
import { ATTACHMENT_BYTES_MAX, ATTACHMENT_SILENCE_MS_MAX, ATTACHMENT_UPLOAD_MS_MAX } from "../src/protocol/limits.ts";
import { Server } from "./server.ts";
import { Simulation } from "./simulation.ts";

const ID = "a1".repeat(32);
const ADDRESS = `/v1/documents/doc_1/attachments/${ID}/cat.png`;
const CONTENT = new TextEncoder().encode("a picture of a cat");
const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
const SHA256 = digestOf(CONTENT).toString("hex");

const stored = (changes: Record<string, unknown> = {}) =>
  JSON.stringify({
    id: ID,
    name: "cat.png",
    media_type: "image/png",
    length_bytes: CONTENT.length,
    sha256: SHA256,
    address: ADDRESS,
    ...changes,
  });

interface Received {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

let simulation: Simulation;
let received: Received[];
/** What the server answers; with `undefined` it never does. */
let answer: (request: Received) => Response | undefined;

const fetchOfTest: typeof globalThis.fetch = (input, init = {}) =>
  new Promise((resolve, reject) => {
    const body = (init.body as Uint8Array | undefined) ?? new Uint8Array();
    const request = { url: String(input), method: init.method ?? "GET", headers: new Headers(init.headers), body };
    received.push(request);
    const { signal } = init;
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason));
    try {
      const response = answer(request);
      if (response) resolve(response);
    } catch (error) {
      reject(error);
    }
  });

function client(options: Partial<ConstructorParameters<typeof Client>[0]> = {}): Client {
  return new Client({
    url: "wss://example.org/v1/sync",
    user: { name: "Ada", color: "#112233" },
    WebSocket: new Server(simulation).WebSocket,
    fetch: fetchOfTest,
    XMLHttpRequest: null,
    environment: simulation,
    ...options,
  });
}

const picture = () => new File([CONTENT], "cat.png", { type: "image/png" });
const problem = (status: number, code: string, advice: string, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify({ title: "T", status, code, advice, detail: "it can't be stored at this moment" }), {
    status,
    headers: { "Content-Type": "application/problem+json", ...headers },
  });
const failureOf = (outcome: Promise<unknown>): Promise<AttachmentError> =>
  outcome.then(
    () => expect.unreachable("it should have failed"),
    (error) => error,
  );
const until = async (isSo: () => boolean) => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 0));
};

beforeEach(() => {
  simulation = new Simulation(7);
  received = [];
  answer = () => new Response(stored(), { status: 201 });
});

describe("an upload", () => {
  it("sends the bytes, the name and the media type, and says where they are", async () => {
    const attachment = await client().attachments.upload("notes/7", picture());
    expect(attachment).toEqual({
      id: ID,
      name: "cat.png",
      mediaType: "image/png",
      lengthBytes: CONTENT.length,
      sha256: SHA256,
      address: ADDRESS,
    });
    const [request] = received;
    expect(request?.url).toBe("https://example.org/v1/documents/notes%2F7/attachments?name=cat.png");
    expect(request?.method).toBe("POST");
    expect(request?.headers.get("Content-Type")).toBe("image/png");
    expect(request?.headers.get("Authorization")).toBe(null);
    expect(request?.body).toEqual(CONTENT);
  });

  it("has a name and a media type of its own if the file has none", async () => {
    await client().attachments.upload("doc_1", new Blob([CONTENT]), { name: "a b/ü?.txt" });
    expect(received[0]?.url).toMatch(/\?name=a%20b_%C3%BC%3F\.txt$/);
    expect(received[0]?.headers.get("Content-Type")).toBe("application/octet-stream");
  });

  it("shows the token, a fresh one each time where there is a source of them", async () => {
    await client({ token: "fixed" }).attachments.upload("doc_1", picture());
    let count = 0;
    const { attachments } = client({ token: async () => `drawn ${++count}` });
    await attachments.upload("doc_1", picture());
    await attachments.upload("doc_1", picture());
    const shown = received.map(({ headers }) => headers.get("Authorization"));
    expect(shown).toEqual(["Bearer fixed", "Bearer drawn 1", "Bearer drawn 2"]);
  });

  it("of too much is refused before anything is sent", async () => {
    const large = { size: ATTACHMENT_BYTES_MAX + 1 } as Blob;
    const error = await failureOf(client().attachments.upload("doc_1", large, { name: "film.mp4" }));
    expect(error).toMatchObject({ name: "AttachmentError", code: "too_large", advice: "fix" });
    expect(error.message).toContain("64 MiB");
    expect(received).toEqual([]);
  });

  it("of a file that can't be read says so", async () => {
    const gone = Object.assign(picture(), { arrayBuffer: () => Promise.reject(new Error("NotReadableError")) });
    const error = await failureOf(client().attachments.upload("doc_1", gone));
    expect(error).toMatchObject({ code: "unreadable", advice: "fix" });
  });

  it("that is refused carries the code, the advice, the detail and when to come back", async () => {
    answer = () => problem(503, "unavailable", "retry", { "Retry-After": "5" });
    const error = await failureOf(client().attachments.upload("doc_1", picture()));
    expect(error).toMatchObject({
      code: "unavailable",
      advice: "retry",
      detail: "it can't be stored at this moment",
      retryAfterMs: 5000,
    });
    expect(error.message).toBe("it can't be stored at this moment (unavailable). Try again in 5 s.");
  });

  it.each([
    ["give_up", "Trying again will not help."],
    ["fix", "It can't succeed as it is."],
    ["rejoin", "Open the document anew, and try again."],
    ["something new", "Try again."],
  ])("whose advice is %s says: %s", async (advice, sentence) => {
    answer = () => problem(403, "some_code", advice);
    expect((await failureOf(client().attachments.upload("doc_1", picture()))).message).toMatch(
      new RegExp(`${sentence}$`),
    );
  });

  it("is told of by what stands between, too, which knows no codes", async () => {
    const date = new Date(simulation.now() + 30_000).toUTCString();
    answer = () => new Response("<h1>Bad gateway</h1>", { status: 502, headers: { "Retry-After": date } });
    const error = await failureOf(client().attachments.upload("doc_1", picture()));
    expect(error).toMatchObject({ code: "unavailable", advice: "retry", retryAfterMs: 30_000 });
    answer = () => new Response("<h1>Too large</h1>", { status: 413 });
    expect(await failureOf(client().attachments.upload("doc_1", picture()))).toMatchObject({
      code: "too_large",
      advice: "fix",
      retryAfterMs: undefined,
    });
  });

  it("without a network is worth another try", async () => {
    answer = () => {
      throw new TypeError("Failed to fetch");
    };
    expect(await failureOf(client().attachments.upload("doc_1", picture()))).toMatchObject({
      code: "unavailable",
      advice: "retry",
    });
  });

  it("that did not arrive as it was sent is none", async () => {
    answer = () => new Response(stored({ sha256: "0".repeat(64) }), { status: 201 });
    expect(await failureOf(client().attachments.upload("doc_1", picture()))).toMatchObject({
      code: "damaged",
      advice: "retry",
    });
  });

  it.each([
    ["not JSON", "<h1>Hello</h1>"],
    ["an address on another server", stored({ address: `https://evil.example${ADDRESS}` })],
    ["an address that leads elsewhere", stored({ address: `/v1/documents/../attachments/${ID}/cat.png` })],
    ["the address of another attachment", stored({ id: "b2".repeat(32) })],
    ["no digest", stored({ sha256: "" })],
  ])("is not believed an answer with %s", async (_, body) => {
    answer = () => new Response(body, { status: 201 });
    expect(await failureOf(client().attachments.upload("doc_1", picture()))).toMatchObject({ code: "damaged" });
  });

  it("can be cancelled before it is sent, while it is read, and while it is sent", async () => {
    const reason = new Error("changed my mind");
    const early = failureOf(client().attachments.upload("doc_1", picture(), { signal: AbortSignal.abort(reason) }));
    expect(await early).toBe(reason);
    expect(received).toEqual([]);

    const whileRead = new AbortController();
    const unsent = failureOf(client().attachments.upload("doc_1", picture(), { signal: whileRead.signal }));
    whileRead.abort(reason);
    expect(await unsent).toBe(reason);
    received = [];

    answer = () => undefined;
    const cancel = new AbortController();
    const outcome = failureOf(client().attachments.upload("doc_1", picture(), { signal: cancel.signal }));
    await until(() => received.length === 1);
    cancel.abort(reason);
    expect(await outcome).toBe(reason);
  });

  it("of which nothing is heard for too long has failed", async () => {
    answer = () => undefined;
    let settled = false;
    const outcome = failureOf(client().attachments.upload("doc_1", picture())).finally(() => {
      settled = true;
    });
    await until(() => received.length === 1);
    simulation.advance(ATTACHMENT_UPLOAD_MS_MAX - 1);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(settled).toBe(false);
    simulation.advance(1);
    expect(await outcome).toMatchObject({ code: "unavailable", advice: "retry" });
  });
});

describe("an upload with progress", () => {
  let requests: Request[];

  class Request implements ProgressRequest {
    status = 0;
    responseText = "";
    readonly upload: ProgressRequest["upload"] = { onprogress: null };
    onload: (() => void) | null = null;
    onerror: (() => void) | null = null;
    onabort: (() => void) | null = null;
    sent: Uint8Array | undefined;
    isAborted = false;
    readonly said: string[] = [];

    constructor() {
      requests.push(this);
    }
    open(method: string, url: string): void {
      this.said.push(`${method} ${url}`);
    }
    setRequestHeader(name: string, value: string): void {
      this.said.push(`${name}: ${value}`);
    }
    getResponseHeader(name: string): string | null {
      return name === "Retry-After" ? "2" : null;
    }
    send(body: Uint8Array<ArrayBuffer>): void {
      this.sent = body;
    }
    abort(): void {
      this.isAborted = true;
      this.onabort?.();
    }
    answer(status: number, body: string): void {
      this.status = status;
      this.responseText = body;
      this.onload?.();
    }
  }

  const begun = async (options = {}) => {
    const outcome = client({ XMLHttpRequest: Request }).attachments.upload("doc_1", picture(), options);
    outcome.catch(() => {});
    await until(() => requests.length === 1 && requests[0]?.sent !== undefined);
    return { outcome, request: requests[0] as Request };
  };

  beforeEach(() => {
    requests = [];
  });

  it("tells how many bytes have gone", async () => {
    const told: number[] = [];
    const { outcome, request } = await begun({ progressed: (sentBytes: number) => told.push(sentBytes) });
    expect(request.said).toEqual([
      "POST https://example.org/v1/documents/doc_1/attachments?name=cat.png",
      "Content-Type: image/png",
    ]);
    expect(request.sent).toEqual(CONTENT);
    request.upload.onprogress?.({ loaded: 9 });
    request.upload.onprogress?.({ loaded: CONTENT.length });
    request.answer(201, stored());
    expect((await outcome).address).toBe(ADDRESS);
    expect(told).toEqual([0, 9, CONTENT.length]);
    expect(received).toEqual([]);
  });

  it("is refused, loses its connection and is cancelled like one without", async () => {
    const refused = await begun();
    refused.request.answer(503, JSON.stringify({ code: "overloaded", advice: "retry", detail: "too many" }));
    expect(await failureOf(refused.outcome)).toMatchObject({ code: "overloaded", retryAfterMs: 2000 });
    requests = [];
    const lost = await begun();
    lost.request.onerror?.();
    expect(await failureOf(lost.outcome)).toMatchObject({ code: "unavailable", advice: "retry" });
    requests = [];
    const cancel = new AbortController();
    const cancelled = await begun({ signal: cancel.signal });
    cancel.abort("enough");
    expect(await failureOf(cancelled.outcome)).toBe("enough");
  });

  it("may take long as long as it goes on", async () => {
    const { outcome, request } = await begun();
    for (let minute = 0; minute < 30; minute += 1) {
      simulation.advance(60_000);
      request.upload.onprogress?.({ loaded: minute });
    }
    simulation.advance(ATTACHMENT_SILENCE_MS_MAX - 1);
    expect(request.isAborted).toBe(false);
    simulation.advance(1);
    expect(request.isAborted).toBe(true);
    expect(await failureOf(outcome)).toMatchObject({ code: "unavailable", advice: "retry" });
  });
});

describe("a download", () => {
  const digest = (bytes: Uint8Array) => `sha-256=:${digestOf(bytes).toString("base64")}:`;
  const download = (body: BodyInit, headers: Record<string, string>) => {
    answer = () => new Response(body, { headers: { "Content-Type": "image/png", ...headers } });
    return client({ url: "ws://127.0.0.1:8080/v1/sync", token: "t" }).attachments.attachment(ADDRESS);
  };

  it("gives what was attached", async () => {
    const content = await download(CONTENT, { "Repr-Digest": digest(CONTENT) });
    expect(content).toEqual({ name: "cat.png", mediaType: "image/png", bytes: CONTENT });
    expect(received[0]?.url).toBe(`http://127.0.0.1:8080${ADDRESS}`);
    expect(received[0]?.headers.get("Authorization")).toBe("Bearer t");
  });

  it("that was changed on the way, or can't be checked, is none", async () => {
    const other = new TextEncoder().encode("a picture of a dog");
    expect(await failureOf(download(other, { "Repr-Digest": digest(CONTENT) }))).toMatchObject({ code: "damaged" });
    const unchecked = await failureOf(download(CONTENT, {}));
    expect(unchecked).toMatchObject({ code: "damaged" });
    expect(unchecked.detail).toMatch(/^the server does not say/);
  });

  it("that breaks off is none", async () => {
    const cut = new ReadableStream({
      pull(controller) {
        controller.enqueue(CONTENT.slice(0, 4));
        controller.error(new TypeError("terminated"));
      },
    });
    expect(await failureOf(download(cut, { "Repr-Digest": digest(CONTENT) }))).toMatchObject({
      code: "unavailable",
      advice: "retry",
    });
  });

  it("that has no end is ended", async () => {
    const piece = new Uint8Array(16 * 1024 * 1024);
    const endless = new ReadableStream({ pull: (controller) => controller.enqueue(piece) });
    expect(await failureOf(download(endless, { "Repr-Digest": digest(CONTENT) }))).toMatchObject({ code: "too_large" });
  });

  it("that is refused says why", async () => {
    answer = () => problem(404, "not_found", "fix");
    expect(await failureOf(client().attachments.attachment(ADDRESS))).toMatchObject({ code: "not_found" });
  });

  it.each([`https://evil.example${ADDRESS}`, `//evil.example${ADDRESS}`, "/v1/documents/doc_1/text", "@evil.example"])(
    "is not made from %s",
    async (address) => {
      expect(await failureOf(client().attachments.attachment(address))).toMatchObject({ code: "protocol_violation" });
      expect(received).toEqual([]);
    },
  );
});

describe("an address", () => {
  const found = (text: string) => [...text.matchAll(attachmentAddresses())].map(([address]) => address);

  it("is taken apart", () => {
    expect(parseAttachmentAddress(`/v1/documents/notes%2F7/attachments/${ID}/%5Ba%5D%20%C3%BC.txt`)).toEqual({
      document: "notes/7",
      id: ID,
      name: "[a] ü.txt",
    });
  });

  it.each([
    `/v1/documents/doc_1/attachments/${ID.slice(1)}/cat.png`,
    `/v1/documents/doc_1/attachments/${ID}/`,
    `/v1/documents/doc_1/attachments/${ID}/a/b`,
    `/v1/documents/doc_1/attachments/${ID}/%FF`,
    `/v1/documents/%2e%2e/attachments/${ID}/cat.png`,
    `/v1/documents/doc_1/attachments/${ID}/%2E%2E`,
  ])("is none: %s", (text) => {
    expect(parseAttachmentAddress(text)).toBe(undefined);
  });

  it("is found in Markdown, in prose and in code, as often as it is there", () => {
    expect(found(`![cat](${ADDRESS}) and [it](${ADDRESS})`)).toEqual([ADDRESS, ADDRESS]);
    expect(found(`Look at ${ADDRESS}. Then go.`)).toEqual([ADDRESS]);
    expect(found(`let cat = "${ADDRESS}";`)).toEqual([ADDRESS]);
  });

  it("is not found behind another server's name", () => {
    expect(found(`https://evil.example${ADDRESS}`)).toEqual([]);
    expect(found(`evil.example:80${ADDRESS}`)).toEqual([]);
  });
});

describe("a name", () => {
  it.each([
    ["cat.png", "cat.png"],
    ["überblick 7 [neu].txt", "überblick 7 [neu].txt"],
    ["a/b\\c\n.txt", "a_b_c_.txt"],
    ["", "file"],
    ["..", "file"],
    ["half \ud83d.png", "half \ufffd.png"],
  ])("%j is sent as %j", (name, clean) => {
    expect(cleanAttachmentName(name)).toBe(clean);
  });

  it("that is too long loses its middle", () => {
    const clean = cleanAttachmentName(`${"世".repeat(300)}.png`);
    expect(clean).toMatch(/^世+\.png$/);
    expect(new TextEncoder().encode(clean).length).toBeGreaterThan(250);
    expect(new TextEncoder().encode(clean).length).toBeLessThanOrEqual(255);
  });
});

describe("a digest", () => {
  it("is the same without the machine's own SHA-256", async () => {
    const bytes = Uint8Array.from({ length: 3 * 1024 * 1024 + 7 }, (_, index) => (index * 7919) % 256);
    const now = { yieldThen: (run: () => void) => run() };
    const withoutSubtle = sha256(bytes, now, null);
    expect(await withoutSubtle).toBe(digestOf(bytes).toString("hex"));
    expect(await sha256(bytes, now)).toBe(await withoutSubtle);
  });

  it("is read from its header, among others", () => {
    const base64 = digestOf(CONTENT).toString("base64");
    expect(parseReprDigest(`sha-256=:${base64}:`)).toBe(SHA256);
    expect(parseReprDigest(`sha-512=:AAAA:, sha-256=:${base64}:`)).toBe(SHA256);
    expect(parseReprDigest("sha-256=:AAAA:")).toBe(undefined);
    expect(parseReprDigest(null)).toBe(undefined);
  });
});

describe("the server's origin", () => {
  it.each([
    ["wss://example.org/v1/sync", "https://example.org"],
    ["ws://127.0.0.1:8080/v1/sync", "http://127.0.0.1:8080"],
    ["https://example.org/v1/sync", "https://example.org"],
  ])("of %s is %s", (socket, origin) => {
    expect(httpOrigin(socket)).toBe(origin);
  });
});
