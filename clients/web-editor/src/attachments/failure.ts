/** Why a file could not be attached, in words for the person who wanted it. */
import { AttachmentError } from "@collabedit/sdk";

export interface Failure {
  readonly text: string;
  /** Whether the same file may be taken at another try. */
  readonly canTryAgain: boolean;
}

const CAUSES: Record<string, string> = {
  unavailable: "It can't be stored at this moment.",
  overloaded: "Too many files are being attached at this moment.",
  rate_limited: "Too many files are being attached at this moment.",
  draining: "The server is being restarted.",
  fragment_timeout: "The connection was too slow for it.",
  damaged: "It did not arrive as it was sent.",
  permission_denied: "You may read this document, but not attach anything to it.",
  suspended: "Nothing is accepted from here for a while.",
  not_found: "This server keeps no attachments. Ask whoever runs it.",
};

/** What can't be taken however often it is tried. */
const FINAL: Record<string, string> = {
  too_large: "It is larger than 64 MiB, the most that an attachment may have. Make it smaller and attach it again.",
  unreadable: "It can't be read: it was moved or changed, or it is a folder. Choose the files themselves again.",
};

/** What happened, and what to do now. */
export function explain(error: unknown): Failure {
  const { code, retryAfterMs } = error instanceof AttachmentError ? error : { code: "internal" };
  const final = FINAL[code];
  if (final) return { text: final, canTryAgain: false };
  if (!navigator.onLine) {
    return { text: "There is no network. The file is kept here: try again when there is.", canTryAgain: true };
  }
  const cause = CAUSES[code] ?? "The server did not take it.";
  const soon = retryAfterMs ? `in ${Math.ceil(retryAfterMs / 1000)} seconds` : "in a moment";
  return { text: `${cause} The file is kept here: try again ${soon}.`, canTryAgain: true };
}

/** The document can only be read since the upload began. */
export const READ_ONLY: Failure = {
  text: "You may read this document, but not change it. The file is kept here until you dismiss it.",
  canTryAgain: true,
};
