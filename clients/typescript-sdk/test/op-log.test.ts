/** The operation log's record as another language reads it: the vectors beside its schema, through the schema alone. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";

const folder = new URL("../../../schemas/op-log/", import.meta.url);
const names = readdirSync(new URL("v1/", folder))
  .filter((name) => name.endsWith(".bin"))
  .map((name) => name.slice(0, -4));

describe("the golden vectors of the log", () => {
  const root = new protobuf.Root();
  root.loadSync(fileURLToPath(new URL("op_record.proto", folder)), { keepCase: true });
  const OpRecord = root.lookupType("collabedit.op_log.v1.OpRecord");

  it("are there", () => {
    expect(names.length).toBeGreaterThanOrEqual(7);
  });

  it.each(names)("%s", (name) => {
    const bytes = readFileSync(new URL(`v1/${name}.bin`, folder));
    const expected: unknown = JSON.parse(readFileSync(new URL(`v1/${name}.json`, folder), "utf8"));
    const record = OpRecord.decode(bytes);
    expect(plain(OpRecord.toObject(record, { longs: String }))).toEqual(expected);
    // Nothing was dropped on the way.
    expect(Buffer.from(OpRecord.encode(record).finish()).equals(bytes)).toBe(true);
  });
});

/** Bytes as hexadecimal, as in the vectors. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
  }
  return value;
}
