import { sha256 as streamedSha256 } from "@noble/hashes/sha2.js";
import type { Environment } from "../client/environment.ts";
import { hex } from "../document/hex.ts";

/** What is taken in at once where the machine's own SHA-256 is not to be had: a few milliseconds' work. */
const PIECE_BYTES = 1024 * 1024;

/** SHA-256, in lower-case hexadecimal. */
export async function sha256(
  bytes: Uint8Array<ArrayBuffer>,
  environment: Pick<Environment, "yieldThen">,
  subtle: SubtleCrypto | null = globalThis.crypto?.subtle ?? null,
): Promise<string> {
  if (subtle) return hex(new Uint8Array(await subtle.digest("SHA-256", bytes)));
  // Browsers have none for pages without TLS, as a machine in the same house may serve them.
  const digest = streamedSha256.create();
  for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
    digest.update(bytes.subarray(start, start + PIECE_BYTES));
    await new Promise<void>((resolve) => environment.yieldThen(resolve));
  }
  return hex(digest.digest());
}

/** The SHA-256 that a `Repr-Digest` (RFC 9530) names, in lower-case hexadecimal. */
export function parseReprDigest(header: string | null): string | undefined {
  const base64 = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(header ?? "")?.[1];
  return base64 && hex(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
}
