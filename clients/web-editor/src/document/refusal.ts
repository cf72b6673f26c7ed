/** What a refusal means, in words for the person who wrote. */
import type { RefusedEvent } from "@collabedit/sdk";

interface Explanation {
  readonly title: string;
  readonly text: string;
}

const CAUSES: Record<string, string> = {
  permission_denied: "You may read this document, but not change it.",
  suspended: "Edits from here are not accepted for a while.",
  invalid_update: "The server could not make sense of a part of what was written.",
  too_large: "A part of what was written is larger than a document takes at once.",
  document_too_large: "The document has reached its largest size. Deleting still works.",
  foreign_peer: "Another tab or device has written under this tab's identity.",
  equivocation: "Another tab or device has written under this tab's identity.",
  internal: "This document can't be read here. Reloading the page may help.",
};

/** Title and text of the notice. */
export function explain({ code, recovery, carriedOver }: RefusedEvent): Explanation {
  const cause = CAUSES[code] ?? "The server did not accept this.";
  if (!recovery) return { title: "This document can't be edited here", text: cause };
  if (carriedOver)
    return { title: "Some edits were not saved", text: `${cause} Everything else you wrote goes on as before.` };
  return { title: "Your last edits were not saved", text: cause };
}
