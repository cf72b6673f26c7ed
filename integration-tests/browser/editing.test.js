import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fixture } from "./support/fixture.js";
import { until } from "./support/person.js";

const test = fixture();

describe("two people in one document", () => {
  it("see what the other types, emoji and CJK included", async () => {
    const { ada, grace } = await test.two();
    await ada.type("Hello 😀 世界 👩‍👩‍👧‍👦");
    await grace.sees("Hello 😀 世界 👩‍👩‍👧‍👦");
    await grace.press("Control+Home");
    await grace.type("¡");
    await ada.sees("¡Hello 😀 世界 👩‍👩‍👧‍👦");
    await ada.saved();
    await grace.saved();
    assert.equal(await test.server.text(ada.documentId), "¡Hello 😀 世界 👩‍👩‍👧‍👦");
  });

  it("type at the same time, and every character lands where its author put it", async () => {
    const { ada, grace } = await test.two();
    await ada.type("Ada: \nGrace: ");
    await grace.sees("Ada: \nGrace: ");
    await ada.press("Control+Home", "End");
    await grace.page.locator(".cm-content").focus();
    await grace.press("Control+End");
    const adas = "abcdefghijklmnopqrstuvwxyz0123456789 and on";
    const graces = "ABCDEFGHIJKLMNOPQRSTUVWXYZ9876543210 UND SO";
    await Promise.all([ada.type(adas, { delay: 15 }), grace.type(graces, { delay: 17 })]);
    const whole = `Ada: ${adas}\nGrace: ${graces}`;
    await ada.sees(whole);
    await grace.sees(whole);
    assert.equal(await test.server.text(ada.documentId), whole);
  });

  it("still have it all after a reload, and so does who comes later", async () => {
    const { ada, grace } = await test.two();
    await ada.type("# Kept\n\nLine of Ada");
    await grace.sees("# Kept\n\nLine of Ada");
    await ada.saved();
    await ada.page.reload();
    await ada.opened();
    await ada.sees("# Kept\n\nLine of Ada");
    await ada.press("Control+End");
    await ada.type("!");
    await grace.sees("# Kept\n\nLine of Ada!");
    const mary = await (await test.arrives("Mary", `/d/${ada.documentId}`)).opened();
    await mary.sees("# Kept\n\nLine of Ada!");
    assert.equal(await mary.page.title(), "Kept · CollabEdit");
  });

  it("choose the language together", async () => {
    const { ada, grace } = await test.two();
    await ada.type("fn main() {}");
    await ada.page.getByRole("combobox", { name: "Language" }).selectOption("Rust");
    await until(
      () => grace.page.getByRole("combobox", { name: "Language" }).inputValue(),
      (language) => language === "Rust",
      "Grace to see the language",
    );
    // The grammar is loaded: the keyword is told from the name.
    await grace.page.locator(".cm-line span", { hasText: /^fn$/ }).waitFor();
  });

  it("paste a megabyte between each other's words", async () => {
    const { ada, grace } = await test.two();
    const pasted = Array.from({ length: 20_000 }, (_, line) => `line ${line} of what was pasted, with ü and 世\n`).join(
      "",
    );
    await ada.paste(pasted);
    // While it is on its way:
    await grace.press("Control+Home");
    await grace.type("Grace was here. ");
    await ada.saved();
    await grace.saved();
    const whole = await test.server.text(ada.documentId);
    assert.equal(whole.length, pasted.length + "Grace was here. ".length);
    assert.equal(whole.replace("Grace was here. ", ""), pasted);
    assert.equal(await ada.copied(), whole);
    await until(
      () => grace.copied(),
      (text) => text === whole,
      "Grace to have it all",
    );
  });

  it("paste text with Windows line ends, and nobody's positions drift", async () => {
    const { ada, grace } = await test.two();
    await ada.paste("one\r\ntwo\r\nthree");
    await grace.sees("one\ntwo\nthree");
    await grace.page.locator(".cm-content").focus();
    await grace.press("Control+End");
    await grace.type("!");
    await ada.sees("one\ntwo\nthree!");
    assert.equal(await test.server.text(ada.documentId), "one\ntwo\nthree!");
  });
});

describe("eight people typing at once", () => {
  it("come to the same text, on the pulse", async () => {
    const first = await (await test.arrives("Person 0")).opened();
    const people = [first];
    for (let number = 1; number < 8; number += 1) {
      people.push(await (await test.arrives(`Person ${number}`, `/d/${first.documentId}`)).opened());
    }
    await Promise.all(people.map((person, number) => person.type(`${number}`.repeat(30), { delay: 40 + number })));
    for (const person of people) await person.saved();
    for (const person of people) assert.ok(person.beatCount > 10, `${person.name} was sent ${person.beatCount} beats`);
    const text = await test.server.text(first.documentId);
    assert.equal(text.length, 8 * 30);
    for (const number of people.keys()) assert.equal(text.split(`${number}`).length - 1, 30);
    for (const person of people) await person.sees(text);
  });
});
