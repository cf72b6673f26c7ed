import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import { fixture } from "./support/fixture.js";
import { until } from "./support/person.js";

/** @typedef {import("./support/person.js").Person} Person */
/** @typedef {{ name: string, mimeType: string, buffer: Buffer }} TestFile */

const test = fixture();

const UPLOAD = /\/v1\/documents\/[^/]+\/attachments\?name=/;
const ATTACHMENT_BYTES_MAX = 64 * 1024 * 1024;
const WIDTH = 48;
const HEIGHT = 32;

/** A picture of one colour, WIDTH by HEIGHT pixels. */
function picture(/** @type {string} */ name) {
  const part = (/** @type {string} */ type, /** @type {Buffer} */ content) => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), content]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(content.length, 0);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(WIDTH, 0);
  header.writeUInt32BE(HEIGHT, 4);
  // Eight bits for each of red, green and blue.
  header.set([8, 2], 8);
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(3 * WIDTH, 0x99)]);
  const rows = deflateSync(Buffer.concat(Array.from({ length: HEIGHT }, () => row)));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const end = part("IEND", Buffer.alloc(0));
  const buffer = Buffer.concat([signature, part("IHDR", header), part("IDAT", rows), end]);
  return { name, mimeType: "image/png", buffer };
}

/** A file of bytes that don't repeat soon. */
function file(/** @type {string} */ name, /** @type {number} */ length) {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let index = 0, word = 1; index < words.length; index += 1) {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
    words[index] = word;
  }
  return { name, mimeType: "application/octet-stream", buffer: Buffer.from(words.buffer, 0, length) };
}

/** Attaches by the button, as from a file dialog. */
async function attach(/** @type {Person} */ person, /** @type {TestFile[]} */ ...files) {
  const choosing = person.page.waitForEvent("filechooser");
  await person.page.getByRole("button", { name: "Attach a file" }).click();
  await (await choosing).setFiles(files);
}

/**
 * Gives a file of zeroes to the editor, as the clipboard or the mouse would.
 * @param {Person} person
 * @param {"paste" | "drop"} type
 * @param {{ name: string, length?: number, text?: string }} what
 */
async function give(person, type, { name, length = 3, text }) {
  await person.page.locator(".cm-content").evaluate(
    (content, { type, name, length, text }) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(length)], name));
      if (text) {
        data.setData("text/plain", text);
        data.setData("text/html", `<b>${text}</b>`);
      }
      const { left, top } = content.getBoundingClientRect();
      const where = { clientX: left + 1, clientY: top + 1, bubbles: true, cancelable: true };
      if (type === "paste") content.dispatchEvent(new ClipboardEvent("paste", { ...where, clipboardData: data }));
      else content.dispatchEvent(new DragEvent("drop", { ...where, dataTransfer: data }));
    },
    { type, name, length, text },
  );
}

/** Waits until the picture of this name is there to be seen. */
async function seesPicture(/** @type {Person} */ person, /** @type {string} */ name) {
  const image = person.page.getByRole("img", { name });
  await until(
    () => image.evaluate((element) => /** @type {HTMLImageElement} */ (element).naturalWidth),
    (width) => width === WIDTH,
    `${person.name} to see ${name}`,
  );
}

/** The server's text, once it fits. */
async function textLike(/** @type {Person} */ person, /** @type {RegExp} */ wanted) {
  return until(
    () => test.server.text(person.documentId),
    (text) => wanted.test(text),
    `the text to be like ${wanted}`,
  );
}

/** Where an attachment of the document is, as a part of a regular expression. */
function addressOf(/** @type {Person} */ person, /** @type {string} */ name) {
  return `/v1/documents/${person.documentId}/attachments/[0-9a-f]{64}/${name.replaceAll(".", "\\.")}`;
}

const list = (/** @type {Person} */ person) => person.page.getByRole("list", { name: "Files being attached" });

describe("attachments", () => {
  it("are pictures that the other sees, and files that the other can have", async () => {
    const { ada, grace } = await test.two();
    await ada.type("Look: ");
    await grace.sees("Look: ");
    await attach(ada, picture("cat [1].png"));
    await seesPicture(ada, "cat [1].png");
    await seesPicture(grace, "cat [1].png");
    const link = `!\\[cat \\\\\\[1\\\\\\]\\.png\\]\\(${addressOf(ada, "cat%20%5B1%5D.png")}\\)`;
    await textLike(ada, new RegExp(`^Look: ${link}$`));

    const film = file("film.bin", 20_000_000);
    // The caret has gone on behind the picture.
    await ada.type(" and ");
    await attach(ada, film);
    const downloading = grace.page.waitForEvent("download");
    await grace.page.getByRole("link", { name: "film.bin" }).click();
    const download = await downloading;
    assert.equal(download.suggestedFilename(), "film.bin");
    assert.ok(film.buffer.equals(await readFile(await download.path())), "the film is the same, byte by byte");
    await textLike(ada, new RegExp(`^Look: ${link} and \\[film\\.bin\\]\\(${addressOf(ada, "film.bin")}\\)$`));
    await list(ada).waitFor({ state: "detached" });
  });

  it("that can't be stored are kept, and attached at another try where they were wanted", async () => {
    const { ada, grace } = await test.two();
    const problem = { status: 503, code: "unavailable", advice: "retry", detail: "attachments can't be stored" };
    await ada.page.route(
      UPLOAD,
      (route) =>
        route.fulfill({
          status: 503,
          contentType: "application/problem+json",
          headers: { "Retry-After": "5" },
          body: JSON.stringify(problem),
        }),
      { times: 1 },
    );
    await ada.type("one two");
    await grace.sees("one two");
    await ada.press("Home", "Control+ArrowRight");
    await attach(ada, picture("cat.png"));
    const alert = list(ada).getByRole("alert");
    await alert.getByText("The file is kept here: try again in 5 seconds.").waitFor();
    assert.equal(await test.server.text(ada.documentId), "one two");
    // Its place moves with what others write.
    await grace.press("Control+Home");
    await grace.type("zero ");
    await ada.sees("zero one two");
    await list(ada).getByRole("button", { name: "Try again" }).click();
    await seesPicture(ada, "cat.png");
    await seesPicture(grace, "cat.png");
    await textLike(ada, new RegExp(`^zero one!\\[cat\\.png\\]\\(${addressOf(ada, "cat.png")}\\) two$`));
    await list(ada).waitFor({ state: "detached" });
  });

  it("that are cancelled or dismissed leave nothing behind", async () => {
    const ada = await (await test.arrives("Ada")).opened();
    await ada.type("text");
    await ada.page.route(UPLOAD, () => {}, { times: 1 });
    await attach(ada, picture("slow.png"));
    await list(ada).getByRole("button", { name: "Cancel attaching slow.png" }).click();
    await list(ada).waitFor({ state: "detached" });
    await ada.page.route(UPLOAD, (route) => route.abort("connectionrefused"), { times: 1 });
    await attach(ada, picture("lost.png"));
    await list(ada).getByText("It can't be stored at this moment.").waitFor();
    await list(ada).getByRole("button", { name: "Dismiss lost.png" }).click();
    await list(ada).waitFor({ state: "detached" });
    await give(ada, "paste", { name: "large.bin", length: ATTACHMENT_BYTES_MAX + 1 });
    await list(ada).getByText("It is larger than 64 MiB").waitFor();
    assert.equal(await list(ada).getByRole("button", { name: "Try again" }).count(), 0);
    await list(ada).getByRole("button", { name: "Dismiss" }).click();
    await ada.saved();
    assert.equal(await test.server.text(ada.documentId), "text");
  });

  it("of which there are many are sent four at a time, and stand in the order in which they were given", async () => {
    const ada = await (await test.arrives("Ada")).opened();
    /** @type {import("playwright-core").Route[]} */
    const held = [];
    await ada.page.route(UPLOAD, (route) => void held.push(route));
    const names = [1, 2, 3, 4, 5, 6].map((number) => `${number}.txt`);
    await attach(ada, ...names.map((name) => file(name, 10)));
    const holds = (/** @type {number} */ count) =>
      until(
        async () => held.length,
        (length) => length === count,
        `${count} uploads to be on their way`,
      );
    await holds(4);
    assert.equal(await list(ada).getByText("Waiting").count(), 2);
    // The last ones arrive first.
    for (const route of held.slice(0, 4).reverse()) await route.continue();
    await holds(6);
    for (const route of held.slice(4).reverse()) await route.continue();
    const lines = names.map((name) => `\\[${name.replace(".", "\\.")}\\]\\(${addressOf(ada, name)}\\)`);
    await textLike(ada, new RegExp(`^${lines.join("\n")}$`));
    await list(ada).waitFor({ state: "detached" });
    // Each link is one step of undo.
    await ada.page.getByRole("button", { name: "Undo" }).click();
    await ada.saved();
    assert.equal((await test.server.text(ada.documentId)).match(/attachments/g)?.length, names.length - 1);
  });

  it("can be pasted and dropped, and are bare addresses in a program", async () => {
    const ada = await (await test.arrives("Ada")).opened();
    await ada.type("// end");
    await ada.page.getByRole("combobox", { name: "Language" }).selectOption("Rust");
    await give(ada, "drop", { name: "dropped.csv" });
    // A space keeps apart what would become a part of the address.
    const dropped = addressOf(ada, "dropped.csv");
    await textLike(ada, new RegExp(`^${dropped} // end$`));
    await ada.press("Control+End");
    await give(ada, "paste", { name: "pasted.csv" });
    await textLike(ada, new RegExp(`^${dropped} // end ${addressOf(ada, "pasted.csv")}$`));
    // A spreadsheet's picture of what is copied is not what is meant.
    await ada.press("Control+a");
    await give(ada, "paste", { name: "image.png", text: "cells" });
    await ada.sees("cells");
  });

  it("can be reached by keyboard, and are looked for on no other server", async () => {
    const ada = await (await test.arrives("Ada")).opened();
    await ada.type("mine: ");
    await attach(ada, file("notes.txt", 10));
    await ada.page.getByRole("link", { name: "notes.txt" }).waitFor();
    // Its folders are to be seen where somebody writes in the address, and nowhere else.
    const folders = ada.page.locator(".cm-attachment-folders");
    await folders.waitFor();
    await ada.press("ArrowLeft");
    await folders.waitFor({ state: "detached" });
    await ada.press("Control+Home", "Escape", "Tab");
    const focused = () => ada.page.evaluate(() => document.activeElement?.textContent);
    assert.match((await focused()) ?? "", /notes\.txt$/);
    const text = await ada.copied();
    await ada.paste(text.replace("(/v1", "(https://example.invalid/v1"));
    await ada.page.getByRole("link", { name: "notes.txt" }).waitFor({ state: "detached" });
  });
});
