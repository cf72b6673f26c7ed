import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { fixture } from "./support/fixture.js";

const test = fixture();

/**
 * Has the batches of a page for which `isRefused` says so refused with `code` on their way, instead of taken by the server. A batch that
 * the server itself would refuse for good is one that only a broken client sends.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} code
 * @param {(number: number) => boolean} isRefused
 */
async function refuseOnTheWay(page, code, isRefused) {
  let number = 0;
  await page.routeWebSocket(/\/v1\/sync$/, (socket) => {
    const server = socket.connectToServer();
    let refuses = false;
    socket.onMessage((message) => {
      if (typeof message === "string" && message.includes('"type":"trace"')) {
        number += 1;
        refuses = isRefused(number);
        if (refuses) {
          const { document, batch } = JSON.parse(message);
          socket.send(JSON.stringify({ type: "nack", document, batch, code, advice: "give_up", message: "" }));
          return;
        }
      } else if (refuses) {
        // The batch that the trace announced.
        refuses = false;
        return;
      }
      server.send(message);
    });
  });
}

describe("edits that the server refuses for good", () => {
  it("are taken out and kept in a copy; everything else goes on", async () => {
    const ada = await test.arrives("Ada", "/");
    await refuseOnTheWay(ada.page, "invalid_update", (number) => number === 2);
    await ada.page.goto(`${test.server.url}/new`);
    await ada.opened();
    await ada.paste("kept. ");
    await ada.saved();
    await ada.paste("REFUSED");
    const dialog = ada.page.getByRole("dialog", { name: "Some edits were not saved" });
    const downloading = ada.page.waitForEvent("download");
    await dialog.getByRole("button", { name: "Download the text" }).click();
    const download = await downloading;
    assert.match(download.suggestedFilename(), /^doc_\w+-[\dT-]+\.txt$/);
    assert.equal(await readFile(await download.path(), "utf8"), "kept. REFUSED");
    await dialog.getByRole("button", { name: "Continue" }).click();
    await ada.sees("kept. ");
    await ada.type("on.");
    await ada.saved();
    assert.equal(await test.server.text(ada.documentId), "kept. on.");
  });

  it("for want of permission leave a document that can only be read", async () => {
    const ada = await test.arrives("Ada", "/");
    await refuseOnTheWay(ada.page, "permission_denied", () => true);
    await ada.page.goto(`${test.server.url}/new`);
    await ada.opened();
    await ada.paste("not mine to write");
    const dialog = ada.page.getByRole("dialog", { name: "Your last edits were not saved" });
    await dialog.getByText("You may read this document, but not change it.").waitFor();
    await dialog.getByRole("button", { name: "Continue" }).click();
    await ada.sees("");
  });
});
