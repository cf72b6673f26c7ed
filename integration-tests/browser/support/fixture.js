/** One server and one browser for a file of tests, and people who leave when their test is over. */
import { after, afterEach, before } from "node:test";
import { launch, Person } from "./person.js";
import { Server } from "./server.js";

/**
 * Sets both up around the tests of a file.
 * @param {() => Promise<readonly string[]>} [settings] What the server is told besides.
 */
export function fixture(settings = async () => []) {
  /** @type {Person[]} */
  let present = [];
  const state = {
    server: /** @type {Server} */ (/** @type {unknown} */ (undefined)),
    browser: /** @type {import("playwright-core").Browser} */ (/** @type {unknown} */ (undefined)),

    /** Somebody opens a page, a new document by default. */
    async arrives(/** @type {string} */ name, path = "/new", options = {}) {
      const person = await Person.arrive(
        state.browser,
        name,
        `${state.server.entrance(present.length)}${path}`,
        options,
      );
      present.push(person);
      return person;
    },

    /** Two people with one new document. */
    async two() {
      const ada = await (await state.arrives("Ada")).opened();
      const grace = await (await state.arrives("Grace", `/d/${ada.documentId}`)).opened();
      return { ada, grace };
    },
  };
  before(async () => {
    state.server = await Server.start(await settings());
    state.browser = await launch();
  });
  afterEach(async () => {
    const leaving = present;
    present = [];
    for (const person of leaving) await person.leave();
  });
  after(async () => {
    await state.browser?.close();
    await state.server?.stop();
  });
  return state;
}
