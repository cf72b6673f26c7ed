import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { CrdtType, decode, encode, MessageType, UpdateStatusCode } from "loro-protocol";
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
    socket.onMessage((message) => {
      const batch = batchOf(message);
      if (!batch || !isRefused(++number)) {
        server.send(message);
        return;
      }
      const { roomId, batchId } = batch;
      const status = UpdateStatusCode.AppError;
      socket.send(Buffer.from(encode({ type: MessageType.Ack, crdt: CrdtType.Loro, roomId, refId: batchId, status })));
      const nack = { type: "nack", document: roomId, batch: batchId.slice(2), code, advice: "give_up", message: "" };
      socket.send(JSON.stringify(nack));
    });
  });
}

/** The batch of a document's updates that a message is, if it is one. */
function batchOf(/** @type {string | Buffer} */ message) {
  if (typeof message === "string") return undefined;
  const frame = decode(message);
  return frame.type === MessageType.DocUpdate && frame.crdt === CrdtType.Loro ? frame : undefined;
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
