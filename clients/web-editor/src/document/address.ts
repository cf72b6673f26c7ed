/** Where documents live: `/d/<document id>`. */

export type Page = { name: "welcome" } | { name: "new" } | { name: "document"; documentId: string };

/** The page that a path names. */
export function pageOf(pathname: string): Page {
  if (pathname === "/new") return { name: "new" };
  const encoded = /^\/d\/(.+)$/.exec(pathname)?.[1];
  if (!encoded) return { name: "welcome" };
  try {
    return { name: "document", documentId: decodeURIComponent(encoded) };
  } catch {
    return { name: "welcome" };
  }
}

/** A document's path. */
export function pathOf(documentId: string): string {
  return `/d/${encodeURIComponent(documentId)}`;
}

/** The socket of the server that served this page. */
export function socketUrl(): string {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/sync`;
}

/** `doc_` and a UUIDv7 (RFC 9562): 48 bits of milliseconds, then chance. */
export function newDocumentId(): string {
  return `doc_${uuidV7()}`;
}

/** 32 hexadecimal digits of a UUIDv7. */
export function uuidV7(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  const now = Date.now();
  view.setUint16(0, Math.floor(now / 2 ** 32));
  view.setUint32(2, now % 2 ** 32);
  view.setUint8(6, 0x70 | (view.getUint8(6) & 0x0f));
  view.setUint8(8, 0x80 | (view.getUint8(8) & 0x3f));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
