/** How an attachment stands in a document's text. */
import type { Attachment } from "@collabedit/sdk";
import { PLAIN_TEXT } from "../editor/languages.ts";
import { isPicture } from "./picture.ts";

const MARKDOWN = "Markdown";
/** What would end a link's name, or begin something else in it. */
const MARKDOWN_MARKS = /[\\[\]`<]/g;
/** What would become a part of a bare address that stands beside it. */
const OF_ADDRESS = /[A-Za-z0-9._~%/:@-]/;

/** An attachment's link in a document of this language, between these two characters. */
export function linkTo(attachment: Attachment, language: string, before: string, after: string): string {
  if (language !== MARKDOWN && language !== PLAIN_TEXT) return apart(attachment.address, before, after);
  const name = attachment.name.replace(MARKDOWN_MARKS, "\\$&");
  if (isPicture(attachment.name)) return `![${name}](${attachment.address})`;
  // Behind an exclamation mark it would be a picture.
  return `${before === "!" ? " " : ""}[${name}](${attachment.address})`;
}

/** A program has no marks that say where an address begins and ends. */
function apart(address: string, before: string, after: string): string {
  return `${OF_ADDRESS.test(before) ? " " : ""}${address}${OF_ADDRESS.test(after) ? " " : ""}`;
}
