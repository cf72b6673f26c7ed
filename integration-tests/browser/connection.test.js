import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fixture } from "./support/fixture.js";
import { isForeign } from "./support/server.js";

const test = fixture();

describe("without a network", () => {
  it("both go on writing, are told the truth, and meet again", async () => {
    const { ada, grace } = await test.two();
    await ada.type("shared. ");
    await grace.sees("shared. ");
    await ada.context.setOffline(true);
    await ada.state(/^Offline/);
    await ada.type("Ada alone. ");
    await ada.state(/^Offline — \d+ changes kept in this tab$/);
    await grace.press("Control+Home");
    await grace.type("Grace alone. ");
    await grace.saved();
    await ada.context.setOffline(false);
    await ada.saved();
    await ada.sees("Grace alone. shared. Ada alone. ");
    await grace.sees("Grace alone. shared. Ada alone. ");
  });

  it("warns before a page with unsaved changes is closed", async () => {
    const { ada } = await test.two();
    await ada.context.setOffline(true);
    await ada.state(/^Offline/);
    await ada.type("not saved");
    await ada.state(/kept in this tab$/);
    const asked = ada.page.waitForEvent("dialog");
    void ada.page.close({ runBeforeUnload: true });
    const dialog = await asked;
    assert.equal(dialog.type(), "beforeunload");
    await dialog.dismiss();
    await ada.context.setOffline(false);
    await ada.saved();
  });
});

describe("a server that crashes", { skip: isForeign && "the server is not ours to crash" }, () => {
  it("has what it called saved, and gets what it missed", async () => {
    const { ada, grace } = await test.two();
    await ada.type("before the crash. ");
    await ada.saved();
    await grace.sees("before the crash. ");
    await test.server.kill();
    await ada.state(/^Offline/);
    await ada.type("during it.");
    await ada.state(/kept in this tab$/);
    await test.server.startAgain();
    await ada.saved();
    await grace.sees("before the crash. during it.");
    assert.equal(await test.server.text(ada.documentId), "before the crash. during it.");
  });
});
