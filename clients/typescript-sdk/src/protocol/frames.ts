/** The stock frames of `loro-protocol` v1, and how an answer's status reads as a refusal. */
import {
  CrdtType,
  decode,
  encode,
  type HexString,
  JoinErrorCode,
  MessageType,
  type ProtocolMessage,
  RoomErrorCode,
  UpdateStatusCode,
} from "loro-protocol";
import { FRAGMENT_BYTES_MAX } from "./limits.ts";
import type { Advice } from "./messages.ts";

export type { ProtocolMessage };
export { CrdtType, decode, encode, JoinErrorCode, MessageType, RoomErrorCode, UpdateStatusCode };

/** The room types that a document has. */
export type RoomType = typeof CrdtType.Loro | typeof CrdtType.LoroEphemeralStore;

/** Why the server did not take something, and what is to be done about it. */
export interface Refusal {
  /** One of the error codes of `docs/errors.md`. */
  readonly code: string;
  readonly advice: Advice;
  readonly message: string;
}

const REFUSALS: Partial<Record<UpdateStatusCode, readonly [code: string, advice: Advice]>> = {
  [UpdateStatusCode.PermissionDenied]: ["permission_denied", "give_up"],
  [UpdateStatusCode.InvalidUpdate]: ["invalid_update", "give_up"],
  [UpdateStatusCode.PayloadTooLarge]: ["too_large", "fix"],
  [UpdateStatusCode.RateLimited]: ["rate_limited", "retry"],
  [UpdateStatusCode.FragmentTimeout]: ["fragment_timeout", "retry"],
};

/** What an `Ack`'s status says where no `nack` follows it; `undefined` for "accepted". */
export function refusalOfStatus(status: UpdateStatusCode): Refusal | undefined {
  if (status === UpdateStatusCode.Ok) return undefined;
  const [code, advice] = REFUSALS[status] ?? ["internal", "retry"];
  return { code, advice, message: `the server answered with status ${status}` };
}

/** A room's end as a refusal: the message begins with the code. */
export function refusalOfRoomError(message: string): Refusal {
  const code = /^([a-z_]+): /.exec(message)?.[1] ?? "permission_denied";
  return { code, advice: "give_up", message };
}

/** The frames of one batch: one `DocUpdate`, or, when a lone update is too large for a frame, its fragments. */
export function updateFrames(crdt: RoomType, roomId: string, batch: string, updates: Uint8Array[]): ProtocolMessage[] {
  const batchId: HexString = `0x${batch}`;
  const [first] = updates;
  if (updates.length !== 1 || !first || first.length <= FRAGMENT_BYTES_MAX) {
    return [{ type: MessageType.DocUpdate, crdt, roomId, updates, batchId }];
  }
  const frames: ProtocolMessage[] = [];
  for (let start = 0; start < first.length; start += FRAGMENT_BYTES_MAX) {
    const fragment = first.subarray(start, start + FRAGMENT_BYTES_MAX);
    frames.push({ type: MessageType.DocUpdateFragment, crdt, roomId, batchId, index: frames.length, fragment });
  }
  const header: ProtocolMessage = {
    type: MessageType.DocUpdateFragmentHeader,
    crdt,
    roomId,
    batchId,
    fragmentCount: frames.length,
    totalSizeBytes: first.length,
  };
  return [header, ...frames];
}
