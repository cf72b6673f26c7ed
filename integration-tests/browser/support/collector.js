/** A collector that takes spans over OTLP, as Jaeger does, and shows them. */
import { once } from "node:events";
import { createServer } from "node:http2";
import protobuf from "protobufjs";

/** What is read of OTLP 1.x; the rest is skipped. */
const OTLP = protobuf
  .parse(`
  syntax = "proto3";
  message Export { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Resource { repeated Attribute attributes = 1; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1;
    bytes span_id = 2;
    bytes parent_span_id = 4;
    string name = 5;
    fixed64 start_time_unix_nano = 7;
    fixed64 end_time_unix_nano = 8;
    repeated Attribute attributes = 9;
  }
  message Attribute { string key = 1; Value value = 2; }
  message Value { string string_value = 1; int64 int_value = 3; }
`)
  .root.lookupType("Export");

/** The bytes of a gRPC message before its content: whether it is compressed, and its length. */
const GRPC_HEADER_BYTES = 5;

/**
 * @typedef {object} Span
 * @property {string} service
 * @property {string} name
 * @property {string} trace
 * @property {string} id
 * @property {string} parent Empty for the first of a trace.
 * @property {number} startMs
 * @property {number} endMs
 * @property {Record<string, string>} attributes
 */

export class Collector {
  /** @type {Span[]} */
  spans = [];
  #server = createServer();
  /** @type {Set<import("node:http2").ServerHttp2Session>} */
  #connections = new Set();

  /** Starts taking spans at `url`. */
  async start() {
    this.#server.on("session", (connection) => {
      this.#connections.add(connection);
      connection.on("close", () => this.#connections.delete(connection));
    });
    this.#server.on("stream", (stream) => void this.#take(stream));
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get url() {
    const address = /** @type {import("node:net").AddressInfo} */ (this.#server.address());
    return `http://127.0.0.1:${address.port}`;
  }

  stop() {
    for (const connection of this.#connections) connection.destroy();
    this.#server.close();
  }

  async #take(/** @type {import("node:http2").ServerHttp2Stream} */ stream) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    this.spans.push(...spansOf(Buffer.concat(chunks).subarray(GRPC_HEADER_BYTES)));
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.alloc(GRPC_HEADER_BYTES));
  }
}

/** @returns {Span[]} */
function spansOf(/** @type {Buffer} */ message) {
  const { resourceSpans } = OTLP.toObject(OTLP.decode(message), { longs: String, defaults: true });
  return resourceSpans.flatMap((/** @type {any} */ { resource, scopeSpans }) =>
    scopeSpans.flatMap((/** @type {any} */ { spans }) =>
      spans.map((/** @type {any} */ span) => ({
        service: attributesOf(resource)["service.name"],
        name: span.name,
        trace: hex(span.traceId),
        id: hex(span.spanId),
        parent: hex(span.parentSpanId),
        startMs: Number(BigInt(span.startTimeUnixNano) / 1000n) / 1000,
        endMs: Number(BigInt(span.endTimeUnixNano) / 1000n) / 1000,
        attributes: attributesOf(span),
      })),
    ),
  );
}

/** @returns {Record<string, string>} */
function attributesOf(/** @type {any} */ { attributes }) {
  const pair = (/** @type {any} */ { key, value }) => [key, value.stringValue || value.intValue];
  return Object.fromEntries(attributes.map(pair));
}

function hex(/** @type {Uint8Array} */ bytes) {
  return Buffer.from(bytes).toString("hex");
}
