import type { LoroDoc, PeerID, VersionVector } from "loro-crdt";
import { INSERTED_TEXT_PER_STEP_BYTES_MAX } from "../protocol/limits.ts";
import { exportSpan, type OwnUpdate, spanOf } from "./outbox.ts";
import type { PeerIdentity } from "./peer.ts";

/** The root text that an editor shows. */
export const CONTENT = "content";

/** A document's state on this machine, the peer id under which it is written here, and what is written. */
export class Replica {
  readonly doc: LoroDoc;
  readonly identity: PeerIdentity;
  readonly #unsubscribe: () => void;
  #ownEnd: number;

  /** `written` is given each commit's operations, in updates that an import step can take. */
  constructor(doc: LoroDoc, identity: PeerIdentity, written: (updates: OwnUpdate[]) => void) {
    this.doc = doc;
    this.identity = identity;
    doc.setPeerId(identity.peer);
    doc.setRecordTimestamp(true);
    this.#ownEnd = this.knownEnd(identity.peer);
    this.#unsubscribe = doc.subscribeLocalUpdates((bytes) => {
      const span = spanOf(bytes);
      if (!span) return;
      this.#ownEnd = span.end;
      written(bytes.length <= INSERTED_TEXT_PER_STEP_BYTES_MAX ? [{ ...span, bytes }] : exportSpan(doc, span));
    });
  }

  /** The counter after the last operation that was written here; known even when the document broke. */
  get ownEnd(): number {
    return this.#ownEnd;
  }

  /** How far the replica knows `peer`. */
  knownEnd(peer: PeerID): number {
    return this.doc.oplogVersion().get(peer) ?? 0;
  }

  /** Whether everything in `version` is here. */
  includes(version: VersionVector): boolean {
    const order = this.doc.oplogVersion().compare(version);
    return order !== undefined && order >= 0;
  }

  /** Ends the capture of what is written. The document stays readable for those who hold it. */
  close(): void {
    this.#unsubscribe();
  }
}
