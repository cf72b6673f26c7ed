import { blake3 } from "@noble/hashes/blake3.js";
import type { LoroDoc } from "loro-crdt";
import { RELOADS_MAX } from "../protocol/limits.ts";
import { hex } from "./hex.ts";

export interface GuardedImportHandler {
  /** The document into which is imported now. */
  document(): LoroDoc;
  /** A fresh document is needed, and everything from the server again. */
  reload(): void;
  /** An update was left out for good. */
  skipped(error: unknown): void;
  /** Fresh documents break too. */
  failed(): void;
}

/**
 * Imports that can't take the page down.
 *
 * The engine panics on some malformed updates, and a document in which it has panicked can't be used any more. So the
 * first failure loads a fresh document, into which updates go one at a time, and an update that fails again is left
 * out.
 */
export class GuardedImport {
  readonly #handler: GuardedImportHandler;
  /** Digests of updates that failed, and whether they are left out by now. */
  readonly #suspects = new Map<string, "suspected" | "skipped">();
  #reloadCount = 0;
  #broken = false;

  constructor(handler: GuardedImportHandler) {
    this.#handler = handler;
  }

  /** Imports one step. Never throws. */
  importStep(updates: readonly Uint8Array[]): void {
    if (this.#broken) return;
    if (this.#suspects.size === 0 && this.#reloadCount === 0) {
      try {
        this.#handler.document().importBatch([...updates]);
      } catch (error) {
        if (updates.length === 1 && updates[0]) this.#suspects.set(digest(updates[0]), "suspected");
        this.#reload(error);
      }
      return;
    }
    for (const update of updates) if (!this.#importOne(update)) return;
  }

  /** Imports one of our own updates into `doc`; leaves it out if that fails. */
  importOwn(doc: LoroDoc, update: Uint8Array): void {
    try {
      doc.import(update);
    } catch (error) {
      this.#handler.skipped(error);
    }
  }

  /** Returns whether the document can take more. */
  #importOne(update: Uint8Array): boolean {
    const id = digest(update);
    const state = this.#suspects.get(id);
    if (state === "skipped") return true;
    try {
      this.#handler.document().import(update);
      return true;
    } catch (error) {
      this.#suspects.set(id, state ? "skipped" : "suspected");
      if (state) this.#handler.skipped(error);
      // A plain error leaves the document as it was; anything else leaves it broken.
      if (state && !isPanic(error)) return true;
      this.#reload(error);
      return false;
    }
  }

  #reload(error: unknown): void {
    if (this.#reloadCount >= RELOADS_MAX) {
      this.#broken = true;
      this.#handler.skipped(error);
      this.#handler.failed();
      return;
    }
    this.#reloadCount += 1;
    this.#handler.reload();
  }
}

/** A panic inside the engine reaches JavaScript as a trap of WebAssembly. */
function isPanic(error: unknown): boolean {
  return error instanceof WebAssembly.RuntimeError;
}

function digest(update: Uint8Array): string {
  return hex(blake3(update));
}
