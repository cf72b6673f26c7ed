/**
 * What the Loro team's own client has to be able to do with our server, unmodified: connect, edit, see the other's
 * caret, and come back after the server crashed. Each version of the engine has a package of its own beside this file,
 * which hands its modules in.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { isForeign, Server } from "../browser/support/server.js";

const SEEN_MS_MAX = 40_000;

/**
 * @param {string} name
 * @param {{ loro: any, adaptors: any, client: any, WebSocket: any }} modules
 */
export function scenarios(name, { loro, adaptors, client, WebSocket }) {
  // The client uses the browser's WebSocket, which this version of Node does not have.
  globalThis.WebSocket ??= WebSocket;
  const { LoroDoc, EphemeralStore, Cursor } = loro;
  const { LoroWebsocketClient } = client;
  const { LoroAdaptor, LoroEphemeralAdaptor } = adaptors;

  describe(name, () => {
    /** @type {Server} */
    let server;
    /** @type {{ destroy(): void }[]} */
    const connections = [];
    let documents = 0;

    before(async () => {
      server = await Server.start();
    });

    after(async () => {
      for (const connection of connections) connection.destroy();
      await server.stop();
    });

    async function join(/** @type {string} */ roomId) {
      const connection = new LoroWebsocketClient({
        url: server.socketUrl,
        reconnect: { initialDelayMs: 100, maxDelayMs: 1000 },
      });
      connections.push(connection);
      await connection.waitConnected();
      const doc = new LoroDoc();
      const store = new EphemeralStore(30_000);
      /** @type {string[]} */
      const refusals = [];
      const adaptor = new LoroAdaptor(doc, {
        onUpdateError: (/** @type {unknown} */ _updates, /** @type {number} */ code) => refusals.push(`${code}`),
      });
      const room = await connection.join({ roomId, crdtAdaptor: adaptor });
      await connection.join({ roomId, crdtAdaptor: new LoroEphemeralAdaptor(store) });
      await room.waitForReachingServerVersion();
      return {
        doc,
        store,
        refusals,
        text: doc.getText("content"),
        write(/** @type {number} */ position, /** @type {string} */ content) {
          doc.getText("content").insert(position, content);
          doc.commit();
        },
      };
    }

    /** Two clients in a new document. */
    async function two() {
      documents += 1;
      const roomId = `stock/${name} ${documents}`;
      return { roomId, ada: await join(roomId), grace: await join(roomId) };
    }

    it("joins a document that nobody wrote yet, edits it, and converges", async () => {
      const { roomId, ada, grace } = await two();
      const greeting = "Hello 😀 世界";
      ada.write(0, greeting);
      await until(() => grace.text.toString(), greeting);
      for (const [index, each] of [ada, grace].entries()) {
        for (let i = 0; i < 20; i += 1) each.write(each.text.length, `${index}`);
      }
      await until(
        () => ada.text.length === greeting.length + 40 && ada.text.toString() === grace.text.toString(),
        true,
      );
      await until(() => server.text(roomId), ada.text.toString());
      const late = await join(roomId);
      await until(() => late.text.toString(), ada.text.toString());
      assert.deepEqual([ada.refusals, grace.refusals], [[], []]);
    });

    it("sees the other's caret, at the same place in the text", async () => {
      const { ada, grace } = await two();
      ada.write(0, "one two");
      await until(() => grace.text.toString(), "one two");
      ada.store.set("ada", { name: "Ada", head: ada.text.getCursor(4).encode() });
      const seen = () => grace.store.get("ada");
      await until(() => seen()?.name, "Ada");
      grace.write(0, "zero ");
      assert.equal(grace.doc.getCursorPos(Cursor.decode(seen().head)).offset, 9);
    });

    it("pastes 200 kB", async () => {
      const { ada, grace } = await two();
      const paste = "twenty characters..\n".repeat(10_000);
      ada.write(0, paste);
      await until(() => grace.text.length, paste.length);
      assert.equal(grace.text.toString(), paste);
      assert.deepEqual(ada.refusals, []);
    });

    it("comes back after the server crashed, with what was written meanwhile", {
      skip: isForeign && "the server is not ours to crash",
    }, async () => {
      const { roomId, ada, grace } = await two();
      ada.write(0, "before ");
      await until(() => grace.text.toString(), "before ");
      await until(() => server.text(roomId), "before ");
      await server.kill();
      ada.write(ada.text.length, "during");
      await server.startAgain();
      await until(() => grace.text.toString(), "before during");
      grace.write(grace.text.length, " after");
      await until(() => ada.text.toString(), "before during after");
      await until(() => server.text(roomId), "before during after");
    });
  });
}

/**
 * Asks until the answer is the expected one.
 * @param {() => unknown} ask
 * @param {unknown} expected
 */
async function until(ask, expected) {
  const deadline = Date.now() + SEEN_MS_MAX;
  for (;;) {
    const answer = await ask();
    if (answer === expected) return;
    if (Date.now() > deadline) assert.equal(answer, expected);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
