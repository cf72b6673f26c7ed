/** Collaborative documents for programs of any framework: see `Client`. */
export { type AttachmentAddress, attachmentAddresses, parseAttachmentAddress } from "./attachments/address.ts";
export { type Attachment, cleanAttachmentName } from "./attachments/attachment.ts";
export type { AttachmentContent, Attachments, UploadOptions } from "./attachments/attachments.ts";
export { AttachmentError } from "./attachments/error.ts";
export type { ProgressRequest, ProgressRequestConstructor } from "./attachments/transport.ts";
export { Client, type ClientOptions } from "./client/client.ts";
export type { ConnectionStatus, Socket, SocketConstructor } from "./client/connection.ts";
export { type Environment, systemEnvironment, type Timer } from "./client/environment.ts";
export type { PendingEdits } from "./document/pending-edits.ts";
export type { RecoveryCopy } from "./document/recovery.ts";
export { CONTENT } from "./document/replica.ts";
export { DocumentSession, type RefusedEvent, type SessionEvents } from "./document/session.ts";
export { insertInPieces, normaliseLineEnds } from "./document/text.ts";
export { COLORS, cleanName, colorOf, type Person, type User } from "./presence/person.ts";
export { type Caret, Presence } from "./presence/presence.ts";
export { ATTACHMENT_BYTES_MAX } from "./protocol/limits.ts";
