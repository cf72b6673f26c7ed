/** People at a browser: each in a context of their own, so with storage and a connection of their own. */
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** How long anything may take to be seen. The machine may be busy; nothing here measures time. */
export const SEEN_MS_MAX = 40_000;

/** Chromium, without what it would look for in the outside world. */
export function launch() {
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export class Person {
  /** @type {string[]} */
  #errors = [];
  /** Beats of the pulse that the page was sent. */
  beatCount = 0;

  /**
   * @param {import("playwright-core").BrowserContext} context
   * @param {import("playwright-core").Page} page
   * @param {string} name
   */
  constructor(context, page, name) {
    this.context = context;
    this.page = page;
    this.name = name;
    page.on("websocket", (socket) =>
      socket.on("framereceived", ({ payload }) => {
        if (typeof payload === "string" && /"type":"pulse".*"beat_ms":[1-9]/.test(payload)) this.beatCount += 1;
      }),
    );
    page.on("pageerror", (error) => this.#errors.push(error.stack ?? error.message));
    page.on("console", (message) => {
      // A lost connection and a server that can't serve are told on the console by the browser itself.
      const isTold = /WebSocket|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|status of 503/.test(message.text());
      if (message.type() === "error" && !isTold) {
        this.#errors.push(message.text());
      }
    });
  }

  /**
   * Sits down at a browser and opens `url`.
   * @param {import("playwright-core").Browser} browser
   * @param {string} name
   * @param {string} url
   * @param {import("playwright-core").BrowserContextOptions} [options]
   */
  static async arrive(browser, name, url, options = {}) {
    const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...options });
    context.setDefaultTimeout(SEEN_MS_MAX);
    await context.addInitScript(
      (profile) => {
        if (location.protocol.startsWith("http") && !localStorage.getItem("collabedit.profile"))
          localStorage.setItem("collabedit.profile", profile);
      },
      JSON.stringify({ name, color: "#7048e8" }),
    );
    const person = new Person(context, await context.newPage(), name);
    await person.page.goto(url);
    return person;
  }

  /** Waits until the editor shows the document. */
  async opened() {
    await this.page.locator(".cm-content").waitFor();
    await this.saved();
    return this;
  }

  /** The document that is open. */
  get documentId() {
    return decodeURIComponent(new URL(this.page.url()).pathname.slice("/d/".length));
  }

  /** The text as the page shows it, without the others' carets and without attachments. A long text is shown in part only. */
  shown() {
    return this.page.evaluate(() =>
      [...document.querySelectorAll(".cm-line")]
        .map((line) => {
          const copy = /** @type {HTMLElement} */ (line.cloneNode(true));
          for (const other of copy.querySelectorAll(".cm-remote-caret, .cm-placeholder, .cm-attachment"))
            other.remove();
          return copy.textContent;
        })
        .join("\n"),
    );
  }

  /** The whole text, by way of the clipboard. */
  async copied() {
    await this.page.locator(".cm-content").focus();
    await this.press("Control+a", "Control+c");
    return this.page.evaluate(() => navigator.clipboard.readText());
  }

  /** Types at the caret. */
  async type(/** @type {string} */ text, { delay = 0 } = {}) {
    await this.page.locator(".cm-content").focus();
    await this.page.keyboard.type(text, { delay });
  }

  async press(/** @type {string[]} */ ...keys) {
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** Pastes, by way of the clipboard. */
  async paste(/** @type {string} */ text) {
    await this.page.locator(".cm-content").focus();
    await this.page.evaluate((content) => navigator.clipboard.writeText(content), text);
    await this.press("Control+v");
  }

  /** Waits until the page shows `text`. */
  async sees(/** @type {string} */ text) {
    await until(
      () => this.shown(),
      (shown) => shown === text,
      `${this.name} to see ${JSON.stringify(text)}`,
    );
  }

  /** Waits until the page says this of what is saved. */
  async state(/** @type {RegExp} */ wanted) {
    const state = this.page.getByTestId("save-state");
    await until(
      async () => (await state.textContent()) ?? "",
      (text) => wanted.test(text.trim()),
      `${this.name} to be told ${wanted}`,
    );
  }

  saved() {
    return this.state(/^Saved$/);
  }

  /** Fails if the page reported an error, and goes. */
  async leave() {
    await this.context.close();
    if (this.#errors.length > 0) throw new Error(`${this.name}'s page reported: ${this.#errors.join("\n")}`);
  }
}

/**
 * Asks again and again until the answer is good.
 * @template T
 * @param {() => Promise<T>} ask
 * @param {(answer: T) => boolean} isGood
 * @param {string} what
 * @returns {Promise<T>}
 */
export async function until(ask, isGood, what) {
  const deadline = Date.now() + SEEN_MS_MAX;
  for (;;) {
    const answer = await ask();
    if (isGood(answer)) return answer;
    if (Date.now() > deadline)
      throw new Error(`waited in vain for ${what}; the last was ${JSON.stringify(answer)?.slice(0, 2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
