/** What our clients say of themselves in a join request, and what the server answers: `docs/protocol.md`, section 2. */

/** Additions to the stock protocol that this client understands. */
export const FEATURES = ["pulse", "stamps"] as const;

export interface Announcement {
  readonly device: string;
  readonly name: string;
  readonly peer: string;
  /** The nonce from which `peer` was computed, base64url. */
  readonly nonce: string;
  readonly token: string | null;
}

/** What the server says of the session it opened. Absent from a stock server. */
export interface Welcome {
  readonly session: string;
  readonly user: string;
  readonly serverTimeMs: number;
  /** How far the server knows the announced peer, and whether this session may write under it. */
  readonly peer: { readonly end: number; readonly owned: boolean };
  readonly features: ReadonlySet<string>;
  readonly updateBytesMax: number | undefined;
  /** The part of what is sent that the server would have traced, from 0 to 1. */
  readonly traceRatio: number;
}

export function encodeAnnouncement(announcement: Announcement): Uint8Array {
  const { device, name, peer, nonce, token } = announcement;
  return new TextEncoder().encode(
    JSON.stringify({ collabedit: 1, device, name, features: FEATURES, peer, nonce, token }),
  );
}

/** Reads a join response's extra metadata; `undefined` if it is not a CollabEdit server's. */
export function decodeWelcome(extra: Uint8Array | undefined): Welcome | undefined {
  if (!extra || extra.length === 0) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(extra));
  } catch {
    return undefined;
  }
  if (!isRecord(json) || json.collabedit !== 1) return undefined;
  const peer = isRecord(json.peer) ? json.peer : {};
  const limits = isRecord(json.limits) ? json.limits : {};
  const features = Array.isArray(json.features) ? json.features : [];
  return {
    session: text(json.session),
    user: text(json.user),
    serverTimeMs: number(json.server_time_ms) ?? 0,
    peer: { end: number(peer.end) ?? 0, owned: peer.owned !== false },
    features: new Set(features.filter((feature) => typeof feature === "string")),
    updateBytesMax: number(limits.update_bytes_max),
    traceRatio: number(json.trace_ratio) ?? 0,
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
