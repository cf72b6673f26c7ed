//! Bounds of attachments.

use std::time::Duration;

use super::{BLOB_BYTES_MAX, BLOB_PIECE_BYTES_MAX};

/// One attachment.
pub const ATTACHMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The name of an attachment.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 255;
/// The media type of an attachment.
pub const ATTACHMENT_MEDIA_TYPE_BYTES_MAX: usize = 127;
/// What an attachment's blob says of it, in front of its content.
pub const ATTACHMENT_LABEL_BYTES_MAX: usize = 8 * 1024;
/// Bytes of attachments that one gateway takes in at once; each is in memory until it is stored.
pub const ATTACHMENT_UPLOADS_BYTES_MAX: usize = 4 * ATTACHMENT_BYTES_MAX;
/// Attachments that one gateway gives out at once. Each has two pieces of its blob in memory at most.
pub const ATTACHMENT_DOWNLOADS_MAX: usize = 32;
/// How long a client may send nothing of an attachment, or take nothing of it.
pub const ATTACHMENT_SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long one attachment may take on its way in: the largest at 120 KB a second.
pub const ATTACHMENT_UPLOAD_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// When a client comes back whose attachment there is no room for now.
pub const ATTACHMENT_RETRY_AFTER: Duration = Duration::from_secs(5);

const _: () = assert!(ATTACHMENT_BYTES_MAX + ATTACHMENT_LABEL_BYTES_MAX <= BLOB_BYTES_MAX);
const _: () = assert!(ATTACHMENT_LABEL_BYTES_MAX < BLOB_PIECE_BYTES_MAX);
