/**
 * The client's bounds, each with its unit in its name. The wire's are the server's too:
 * `crates/document-types/src/limits.rs`.
 */

/** One WebSocket message, the limit of `loro-protocol` v1. */
export const FRAME_BYTES_MAX = 256 * 1024;
/** Payload of one fragment, which leaves room for its envelope within {@link FRAME_BYTES_MAX}. */
export const FRAGMENT_BYTES_MAX = 240 * 1024;
/** How long the fragments of one batch may take to arrive; the default of `loro-protocol` v1. */
export const FRAGMENT_REASSEMBLY_MS_MAX = 10_000;
/** Batches of fragments that may be open at once. */
export const FRAGMENT_BATCHES_OPEN_MAX = 4;
/** One message in fragments: a document's snapshot is the largest there is. */
export const FRAGMENTED_BYTES_MAX = 256 * 1024 * 1024;
/** Updates in one batch. */
export const UPDATES_PER_BATCH_MAX = 256;

/**
 * Text that one batch or one import step may insert. Importing an insertion costs time in the square
 * of its length. An encoded update is at least as long as the text in it, so bytes are what is measured.
 */
export const INSERTED_TEXT_PER_STEP_BYTES_MAX = 16 * 1024;
/**
 * UTF-16 units of one inserted piece within a step. Pieces are written from the last to the first, so that the engine
 * does not join them into one long run: a concurrent edit then costs milliseconds where a run of 300 KB costs a second.
 */
export const INSERTED_PIECE_UNITS_MAX = 1024;
/** How long imports may hold the thread before they let other events through. */
export const IMPORT_SLICE_MS_MAX = 8;

/** Batches that may be on their way, unacknowledged, for one document. */
export const BATCHES_IN_FLIGHT_MAX = 32;
/** Own updates that wait to be sent before neighbours among them are joined. */
export const UNSENT_UPDATES_MAX = 256;
/** How long an acknowledgement may take before the document is joined again. */
export const ACK_MS_MAX = 30_000;
/** The first pause before something is tried again; it doubles, with full jitter, */
export const RETRY_MS_FIRST = 2_000;
/** up to this one. */
export const RETRY_MS_MAX = 30_000;
/** How often a silent connection is asked whether it still lives, */
export const PING_EVERY_MS = 15_000;
/** and how long it may take to answer. */
export const PONG_MS_MAX = 10_000;

/** Fresh replicas that may be loaded because an import failed, before the document is given up. */
export const RELOADS_MAX = 3;
/** Refusals after which what was written later is no longer carried over. */
export const CARRY_OVERS_MAX = 3;

/** The shortest time between two updates of one's own presence: 20 a second. */
export const PRESENCE_EVERY_MS_MIN = 50;
/** How often presence is said again without a change. */
export const PRESENCE_RENEW_MS = 10_000;
/** How long a silent person is still shown. */
export const PRESENCE_EXPIRES_MS = 30_000;
/** People whose presence is read; what is above that is not shown. */
export const PEOPLE_MAX = 500;
/** Characters of a display name. */
export const NAME_LENGTH_MAX = 64;

/** One attachment. */
export const ATTACHMENT_BYTES_MAX = 64 * 1024 * 1024;
/** The name of an attachment, in UTF-8. */
export const ATTACHMENT_NAME_BYTES_MAX = 255;
/** How long an upload may take where its progress can't be told; the server waits no longer either. */
export const ATTACHMENT_UPLOAD_MS_MAX = 10 * 60_000;
/** How long nothing may happen on an attachment's way; longer than the server may take to store what it was sent. */
export const ATTACHMENT_SILENCE_MS_MAX = 90_000;
