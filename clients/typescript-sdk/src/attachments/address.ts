/** Where attachments are: `/v1/documents/<document>/attachments/<64 hexadecimal digits>/<name>`, on the document's server. */

/** An attachment's address, taken apart. */
export interface AttachmentAddress {
  readonly document: string;
  readonly id: string;
  /** The file's name, decoded: text from a stranger. */
  readonly name: string;
}

/** What the server leaves as it is in an address; all else is percent-encoded. */
const SEGMENT = "[A-Za-z0-9._~%-]";
/** A name does not end with a full stop here: that is the sentence's in which the address stands. */
const ADDRESS = `/v1/documents/(${SEGMENT}+)/attachments/([0-9a-f]{64})/(${SEGMENT}*[A-Za-z0-9_~%-])`;
const WHOLE_ADDRESS = new RegExp(`^${ADDRESS}$`);

/**
 * Finds addresses in a text, with `matchAll` or CodeMirror's `MatchDecorator`. What stands behind another server's name
 * is an address of that server, and none of these.
 */
export function attachmentAddresses(): RegExp {
  return new RegExp(`(?<![A-Za-z0-9._~%/:@-])${ADDRESS}`, "g");
}

/** Takes an address apart; `undefined` if the text is none, also if it is one of another server's. */
export function parseAttachmentAddress(text: string): AttachmentAddress | undefined {
  const [, document, id, name] = WHOLE_ADDRESS.exec(text) ?? [];
  if (document === undefined || id === undefined || name === undefined) return undefined;
  try {
    const address = { document: decodeURIComponent(document), id, name: decodeURIComponent(name) };
    // Dots alone would lead out of the folder in which they stand.
    return [address.document, address.name].some((segment) => /^\.{1,2}$/.test(segment)) ? undefined : address;
  } catch {
    return undefined;
  }
}

/** The server's address for HTTP, without a slash at the end, from that of its socket. */
export function httpOrigin(socketUrl: string): string {
  const { protocol, host } = new URL(socketUrl, globalThis.location?.href);
  return `${protocol === "wss:" || protocol === "https:" ? "https:" : "http:"}//${host}`;
}
