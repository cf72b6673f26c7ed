import { blake3 } from "@noble/hashes/blake3.js";
import type { PeerID } from "loro-crdt";

/** A CRDT author id and the nonce that proves where it comes from: `docs/protocol.md`, section 5. */
export interface PeerIdentity {
  readonly peer: PeerID;
  /** Base64url, without padding. */
  readonly nonce: string;
}

const NONCE_BYTES = 16;
/** The engine keeps the largest number for itself. */
const PEER_RESERVED = 2n ** 64n - 1n;

/**
 * A new peer id for a user on a device.
 *
 * Every replica that is not restored from a store gets one of its own: two pages that wrote under one id would
 * give the same operation ids to different operations, and nothing repairs that.
 */
export function drawPeer(user: string, device: string, randomBytes: (count: number) => Uint8Array): PeerIdentity {
  for (;;) {
    const nonce = randomBytes(NONCE_BYTES);
    const peer = peerOf(user, device, nonce);
    if (peer !== PEER_RESERVED) return { peer: peer.toString() as PeerID, nonce: base64url(nonce) };
  }
}

/** The first 64 bits of BLAKE3 over user, device and nonce. */
export function peerOf(user: string, device: string, nonce: Uint8Array): bigint {
  const encoder = new TextEncoder();
  const input = [encoder.encode(user), [0], encoder.encode(device), [0], nonce];
  const digest = blake3(Uint8Array.from(input.flatMap((part) => [...part])));
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0, false);
}

/** The `sub` of an access token, empty without one. The server verifies the token; this only reads it. */
export function userOfToken(token: string | null): string {
  const payload = token?.split(".")[1];
  if (!payload) return "";
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    const sub = (claims as { sub?: unknown } | null)?.sub;
    return typeof sub === "string" ? sub : "";
  } catch {
    return "";
  }
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}
