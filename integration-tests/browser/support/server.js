/**
 * A CollabEdit server to test against: the one at `COLLABEDIT_URL`, or one of this repository's build, started here.
 * There may be several addresses with commas between, of a deployment's gateways: people come in at them in turn.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const repository = (/** @type {string} */ path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

const BINARY = process.env.COLLABEDIT_BINARY ?? repository("target/debug/collabedit");
const EDITOR = repository("clients/web-editor/dist");
/** The line that says where the editor is, once the server is ready. */
const READY = /^Editor: (http:\/\/[^\s/]+)/;
const START_MS_MAX = 60_000;
const STOP_MS_MAX = 20_000;

/** Whether a server of somebody else's is used, which can't be stopped and started here. */
export const isForeign = process.env.COLLABEDIT_URL !== undefined;

/** What the server is told by its environment are settings; those of the tests are none. */
const ownEnvironment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("COLLABEDIT_")),
);

export class Server {
  #directory = "";
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #process;

  /** @type {readonly string[]} */
  #settings = [];

  /** Where it is, without a slash at the end. */
  url = "";

  /** All of its addresses. */
  #urls = [""];

  /** Starts one with an empty directory, and with these settings, as in `node=2`. */
  static async start(/** @type {readonly string[]} */ settings = []) {
    const server = new Server();
    server.#settings = settings;
    if (process.env.COLLABEDIT_URL) {
      server.#urls = process.env.COLLABEDIT_URL.split(",").map((url) => url.replace(/\/$/, ""));
      server.url = server.#urls[0] ?? "";
      return server;
    }
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: build it with \`cargo build -p server\``);
    server.#directory = await mkdtemp(join(tmpdir(), "collabedit-"));
    await server.#spawn("127.0.0.1:0");
    return server;
  }

  /** Where somebody comes in when so many are there. */
  entrance(/** @type {number} */ present) {
    return this.#urls[present % this.#urls.length];
  }

  /** The socket of the server. */
  get socketUrl() {
    return `${this.url.replace(/^http/, "ws")}/v1/sync`;
  }

  /** What the server has of a document. */
  async text(/** @type {string} */ documentId) {
    const response = await fetch(`${this.url}/v1/documents/${encodeURIComponent(documentId)}/text`);
    return response.status === 404 ? "" : response.text();
  }

  /** Kills it without a warning, as a crash does. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Starts it again on what it left behind, at the same address. */
  async startAgain() {
    await this.#spawn(new URL(this.url).host);
  }

  /** Stops it and removes what it wrote. */
  async stop() {
    if (isForeign) return;
    await this.#end("SIGTERM");
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #spawn(/** @type {string} */ listen) {
    const settings = this.#settings.map((setting) => `--set=${setting}`);
    const node = ["dev", "--listen", listen, "--data", this.#directory, "--web-dir", EDITOR, ...settings];
    const child = spawn(BINARY, node, {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...ownEnvironment, RUST_BACKTRACE: "1" },
    });
    this.#process = child;
    const lines = createInterface({ input: child.stdout });
    this.url = await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("the server did not start in time")), START_MS_MAX);
      lines.on("line", (line) => {
        const url = READY.exec(line)?.[1];
        if (!url) return;
        clearTimeout(late);
        resolve(url);
      });
      child.once("exit", (code, signal) => {
        clearTimeout(late);
        reject(new Error(`the server ended with ${code ?? signal} before it was ready`));
      });
    });
    this.#urls = [this.url];
  }

  async #end(/** @type {NodeJS.Signals} */ signal) {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await ended;
    clearTimeout(late);
  }
}
