import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fixture } from "./support/fixture.js";
import { until } from "./support/person.js";

const test = fixture();

describe("presence", () => {
  it("shows the other's name at their caret, where it is in the text", async () => {
    const { ada, grace } = await test.two();
    await ada.type("one two three");
    await grace.sees("one two three");
    await grace.press("Control+Home", "Control+ArrowRight");
    const before = () =>
      ada.page.evaluate(() => {
        const caret = document.querySelector(".cm-remote-caret");
        if (!caret) return null;
        const range = document.createRange();
        range.setStart(/** @type {Node} */ (caret.closest(".cm-line")), 0);
        range.setEndBefore(caret);
        return { name: caret.querySelector(".cm-remote-label")?.textContent, text: range.toString() };
      });
    const caret = await until(before, (found) => found?.text === "one", "Grace's caret after the first word");
    assert.equal(caret?.name, "Grace");
    // It moves with the text.
    await ada.press("Control+Home");
    await ada.type("zero ");
    await until(before, (found) => found?.text === "zero one", "Grace's caret to have moved");
  });

  it("shows a selection, and takes both away when the other leaves", async () => {
    const { ada, grace } = await test.two();
    await ada.type("one two three");
    await grace.sees("one two three");
    await grace.press("Control+a");
    const selection = ada.page.locator(".cm-remote-selection");
    await until(
      () => selection.allTextContents(),
      (texts) => texts.join("") === "one two three",
      "Grace's selection",
    );
    await grace.page.goto("about:blank");
    await ada.page.locator(".cm-remote-caret").waitFor({ state: "detached" });
    assert.equal(await selection.count(), 0);
  });

  it("lists who is here, and follows a change of name at once", async () => {
    const { ada, grace } = await test.two();
    const people = ada.page.getByRole("list", { name: "People in this document" });
    await people.getByText("Grace", { exact: true }).waitFor({ state: "attached" });
    await grace.page.getByRole("button", { name: /change name and colour/ }).click();
    await grace.page.getByRole("textbox", { name: "Name" }).fill("Grace <b>Hopper</b>");
    await grace.page.getByRole("radio", { name: "Colour 3" }).check();
    await grace.page.getByRole("button", { name: "Save" }).click();
    await people.getByText("Grace <b>Hopper</b>", { exact: true }).waitFor({ state: "attached" });
    // And it is kept.
    await grace.page.reload();
    await grace.opened();
    await people.getByText("Grace <b>Hopper</b>", { exact: true }).first().waitFor({ state: "attached" });
  });
});
