import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fixture } from "./support/fixture.js";

const test = fixture();

describe("the welcome page", () => {
  it("makes a document, and lists it by its title afterwards", async () => {
    const ada = await test.arrives("Ada", "/");
    await ada.page.getByRole("link", { name: "New document" }).click();
    await ada.opened();
    assert.match(ada.documentId, /^doc_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    await ada.type("# The plan\n\nsteps");
    await ada.page.getByRole("heading", { name: "The plan" }).waitFor();
    await ada.saved();
    await ada.page.getByRole("link", { name: /all documents/ }).click();
    await ada.page.getByRole("link", { name: /The plan/ }).click();
    await ada.opened();
    await ada.sees("# The plan\n\nsteps");
    await ada.page.getByRole("link", { name: /all documents/ }).click();
    await ada.page.getByRole("button", { name: "Take The plan off this list" }).click();
    assert.equal(await ada.page.getByText("Recently opened").count(), 0);
  });

  it("does not load the engine", async () => {
    const ada = await test.arrives("Ada", "/");
    await ada.page.getByRole("link", { name: "New document" }).waitFor();
    const loaded = await ada.page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
    assert.deepEqual(
      loaded.filter((name) => name.endsWith(".wasm")),
      [],
    );
  });
});

describe("an editor's page", () => {
  it("is light or dark, as the system or the person has it", async () => {
    const ada = await (await test.arrives("Ada", "/new", { colorScheme: "dark" })).opened();
    const background = () => ada.page.locator("header").evaluate((header) => getComputedStyle(header).backgroundColor);
    const dark = await background();
    await ada.page.getByRole("button", { name: "Appearance: as the system" }).click();
    await ada.page.getByRole("button", { name: "Appearance: light" }).waitFor();
    assert.notEqual(await background(), dark);
    await ada.page.getByRole("button", { name: "Appearance: light" }).click();
    assert.equal(await background(), dark);
  });

  it("can be left by keyboard: Escape, then Tab", async () => {
    const ada = await (await test.arrives("Ada")).opened();
    await ada.type("text");
    await ada.press("Tab");
    const inEditor = () => ada.page.evaluate(() => document.activeElement?.classList.contains("cm-content"));
    assert.equal(await inEditor(), true);
    await ada.press("Escape", "Tab");
    assert.equal(await inEditor(), false);
  });

  it("opens documents of any name", async () => {
    const name = "notes/überblick 7";
    const ada = await (await test.arrives("Ada", `/d/${encodeURIComponent(name)}`)).opened();
    assert.equal(ada.documentId, name);
    await ada.type("text");
    await ada.saved();
    assert.equal(await test.server.text(name), "text");
  });
});
