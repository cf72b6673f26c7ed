import { isRecord } from "../protocol/announcement.ts";
import { ATTACHMENT_NAME_BYTES_MAX } from "../protocol/limits.ts";
import { parseAttachmentAddress } from "./address.ts";

/** A file that the server keeps for a document. */
export interface Attachment {
  readonly id: string;
  readonly name: string;
  readonly mediaType: string;
  readonly lengthBytes: number;
  /** The content's SHA-256, in lower-case hexadecimal. */
  readonly sha256: string;
  /** Where it is on the server, for the document's text. */
  readonly address: string;
}

const SHA256 = /^[0-9a-f]{64}$/;

/** Reads the server's answer to an upload; `undefined` if it is no such answer. */
export function parseAttachment(body: string): Attachment | undefined {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (!isRecord(json)) return undefined;
  const { id, name, media_type, length_bytes, sha256, address } = json;
  if (typeof name !== "string" || typeof media_type !== "string" || typeof length_bytes !== "number") return undefined;
  if (typeof sha256 !== "string" || !SHA256.test(sha256) || typeof address !== "string") return undefined;
  // The address goes into a document that others open: it has to be one of this server's.
  if (typeof id !== "string" || parseAttachmentAddress(address)?.id !== id) return undefined;
  return { id, name, mediaType: media_type, lengthBytes: length_bytes, sha256, address };
}

/** A file's name as the server takes it: without slashes and control characters, and not too long. */
export function cleanAttachmentName(name: string): string {
  // Half a character, as file systems may have it, can't be sent.
  const wellFormed = new TextDecoder().decode(new TextEncoder().encode(name));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const clean = wellFormed.replace(/[\u0000-\u001f\u007f-\u009f/\\]/g, "_");
  if (/^\.{0,2}$/.test(clean)) return "file";
  const ending = /\.[^.]{1,16}$/u.exec(clean)?.[0] ?? "";
  const characters = [...clean.slice(0, clean.length - ending.length)];
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  // What is cut off is the middle, so that the ending still says what kind of file it is.
  characters.length = Math.min(characters.length, ATTACHMENT_NAME_BYTES_MAX);
  while (bytes(characters.join("") + ending) > ATTACHMENT_NAME_BYTES_MAX) characters.pop();
  return characters.join("") + ending;
}
