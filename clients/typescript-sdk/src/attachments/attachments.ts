import type { Environment } from "../client/environment.ts";
import { ATTACHMENT_BYTES_MAX, ATTACHMENT_SILENCE_MS_MAX, ATTACHMENT_UPLOAD_MS_MAX } from "../protocol/limits.ts";
import { parseAttachmentAddress } from "./address.ts";
import { type Attachment, cleanAttachmentName, parseAttachment } from "./attachment.ts";
import { parseReprDigest, sha256 } from "./digest.ts";
import { AttachmentError, damaged, errorOfAnswer, unreachable } from "./error.ts";
import { Silence } from "./silence.ts";
import type { Post } from "./transport.ts";

export interface UploadOptions {
  /** What the file is called; its own name by default. */
  readonly name?: string;
  /** Ends the upload, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told how many of the file's bytes have gone, where the machine can tell. */
  readonly progressed?: (sentBytes: number) => void;
}

/** An attachment's content, which has proven to be what was attached. */
export interface AttachmentContent {
  readonly name: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What attachments need of the client that they belong to. */
export interface AttachmentsLink {
  readonly environment: Environment;
  readonly post: Post;
  readonly fetch: typeof globalThis.fetch;
  /** Where the server is, without a slash at the end. */
  origin(): string;
  token(): Promise<string | null>;
}

/** Images and files of documents, on the server. All that fails rejects with an {@link AttachmentError}. */
export class Attachments {
  readonly #link: AttachmentsLink;

  constructor(link: AttachmentsLink) {
    this.#link = link;
  }

  /**
   * Stores a file for a document. The document's text should have the address that comes back, or nobody finds the file.
   * Trying again after a failure stores nothing twice.
   */
  async upload(documentId: string, file: Blob, options: UploadOptions = {}): Promise<Attachment> {
    const { signal, progressed } = options;
    signal?.throwIfAborted();
    if (file.size > ATTACHMENT_BYTES_MAX) throw tooLarge(file.size);
    const body = await contentOf(file);
    const digest = await sha256(body, this.#link.environment);
    const name = cleanAttachmentName(options.name ?? (file instanceof File ? file.name : ""));
    const url = `${this.#link.origin()}/v1/documents/${encodeURIComponent(documentId)}/attachments?name=${encodeURIComponent(name)}`;
    const headers = { "Content-Type": file.type || "application/octet-stream", ...(await this.#authorization()) };
    const silence = new Silence(this.#link.environment, signal, ATTACHMENT_UPLOAD_MS_MAX);
    try {
      const answer = await this.#link.post({
        url,
        headers,
        body,
        signal: silence.signal,
        progressed: (sentBytes) => {
          silence.heard(ATTACHMENT_SILENCE_MS_MAX);
          progressed?.(Math.min(sentBytes, body.length));
        },
      });
      if (answer.status !== 201) throw errorOfAnswer(answer, this.#link.environment.now());
      const attachment = parseAttachment(answer.body);
      if (!attachment) throw damaged("the server's answer could not be read");
      if (attachment.sha256 !== digest) throw damaged("the file did not arrive as it was sent");
      return attachment;
    } catch (error) {
      throw reasonOf(error, silence.signal, "the server could not be reached");
    } finally {
      silence.stop();
    }
  }

  /** Fetches an attachment by the address that stands in a document's text, and checks that it is what was attached. */
  async attachment(address: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<AttachmentContent> {
    const parsed = parseAttachmentAddress(address);
    if (!parsed) {
      const detail = "this is not the address of an attachment";
      throw new AttachmentError({ code: "protocol_violation", advice: "fix", detail });
    }
    const headers = await this.#authorization();
    const silence = new Silence(this.#link.environment, signal, ATTACHMENT_SILENCE_MS_MAX);
    try {
      const response = await this.#link.fetch(this.#link.origin() + address, { headers, signal: silence.signal });
      if (response.status !== 200) {
        const header = (name: string) => response.headers.get(name);
        const answer = { status: response.status, body: await response.text(), header };
        throw errorOfAnswer(answer, this.#link.environment.now());
      }
      const bytes = await bytesOf(response, () => silence.heard(ATTACHMENT_SILENCE_MS_MAX));
      const expected = parseReprDigest(response.headers.get("Repr-Digest"));
      if (!expected) throw damaged("the server does not say what the attachment should be");
      if ((await sha256(bytes, this.#link.environment)) !== expected) {
        throw damaged("the attachment did not arrive as it was stored");
      }
      const mediaType = response.headers.get("Content-Type") ?? "application/octet-stream";
      return { name: parsed.name, mediaType, bytes };
    } catch (error) {
      throw reasonOf(error, silence.signal, "the attachment did not arrive whole");
    } finally {
      silence.stop();
    }
  }

  async #authorization(): Promise<Record<string, string>> {
    const token = await this.#link.token();
    return token === null ? {} : { Authorization: `Bearer ${token}` };
  }
}

/** What ended a transfer: its signal's reason, or an error of ours, or else something that the network did. */
function reasonOf(error: unknown, signal: AbortSignal, detail: string): unknown {
  if (signal.aborted) return signal.reason;
  return error instanceof AttachmentError ? error : unreachable(detail);
}

/** The file is read once: what is sent is what the digest is of, whatever happens to it on the disk meanwhile. */
async function contentOf(file: Blob): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    // It has changed since it was chosen, or it is a folder.
    throw new AttachmentError({ code: "unreadable", advice: "fix", detail: "the file can't be read" });
  }
}

async function bytesOf(response: Response, heard: () => void): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (let piece = await reader?.read(); piece?.value; piece = await reader?.read()) {
    heard();
    length += piece.value.length;
    if (length > ATTACHMENT_BYTES_MAX) {
      await reader?.cancel();
      throw tooLarge(length);
    }
    pieces.push(piece.value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function tooLarge(sizeBytes: number): AttachmentError {
  const mebibytes = (bytes: number) => (bytes / (1024 * 1024)).toFixed(0);
  const detail = `an attachment has ${mebibytes(ATTACHMENT_BYTES_MAX)} MiB at most, and this has more: ${sizeBytes} bytes`;
  return new AttachmentError({ code: "too_large", advice: "fix", detail });
}
