import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { Collector } from "./support/collector.js";
import { fixture } from "./support/fixture.js";
import { until } from "./support/person.js";
import { isForeign } from "./support/server.js";

/** The spans of a key press, each with the one that it is a part of. */
const STAGES = /** @type {const} */ ([
  ["key press", undefined],
  ["batch", "key press"],
  ["gate", "batch"],
  ["dry run", "gate"],
  ["append", "batch"],
  ["deliver", "append"],
  ["merge", "append"],
  ["commit", "merge"],
]);

const collector = new Collector();
const test = fixture(async () => {
  await collector.start();
  return [`telemetry.otlp.endpoint=${collector.url}`, "telemetry.otlp.sampling_ratio=1"];
});
after(() => collector.stop());

describe("one key press", { skip: isForeign && "the server is not one that was started here" }, () => {
  it("is one trace, from the browser to the store's commit", async () => {
    const { ada, grace } = await test.two();
    assert.deepEqual(collector.spans, [], "what nobody pressed is no trace");
    await ada.page.locator(".cm-content").focus();
    await ada.press("x");
    await grace.sees("x");
    await ada.saved();

    const names = new Set(STAGES.map(([name]) => name));
    const spans = await until(
      async () => collector.spans,
      (spans) => new Set(spans.map(({ name }) => name)).size >= names.size,
      "the spans of a key press",
    );
    assert.equal(spans.length, STAGES.length, JSON.stringify(spans, undefined, 1));
    const of = (/** @type {string} */ name) => {
      const span = spans.find((candidate) => candidate.name === name);
      assert.ok(span, name);
      return span;
    };
    const keyPress = of("key press");
    for (const [name, parent] of STAGES) {
      const span = of(name);
      assert.equal(span.trace, keyPress.trace, name);
      assert.equal(span.parent, parent ? of(parent).id : "", `${name} is a part of ${parent}`);
      assert.ok(span.startMs <= span.endMs, name);
      // A trace does not tell what was written.
      assert.doesNotMatch(JSON.stringify(Object.values(span.attributes)), /"x"/);
    }
    assert.equal(of("batch").attributes["collabedit.document"], ada.documentId);
    // The browser has taken the time from the key on, and it lies around all that the gateway saw.
    assert.ok(Number(keyPress.attributes["collabedit.waited_us"]) > 0);
    assert.ok(keyPress.startMs < of("batch").startMs);
    assert.equal(of("commit").service, "collabedit-merger");
  });
});
