//! What an attachment's blob says of it, in front of the content:
//!
//! ```text
//! collabedit attachment 1
//! {"sha256":"…","document":"doc_1","name":"cat.png","media_type":"image/png","user":"…","device":"…"}
//! …the content…
//! ```

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use document_types::limits::ATTACHMENT_LABEL_BYTES_MAX;
use document_types::{DeviceId, DocumentId, UserId};
use serde::{Deserialize, Serialize};

/// The first line; the number changes when an old reader would misread a new label.
const FORMAT: &[u8] = b"collabedit attachment 1\n";
/// Hexadecimal digits of a SHA-256 digest.
const SHA256_DIGITS: usize = 64;

/// What is known of an attachment. It holds no time, so that sending the same file again after a lost
/// answer stores nothing new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Label {
    /// The content's digest in hexadecimal digits. Browsers can check it by themselves, unlike the BLAKE3
    /// digest by which the blob is named.
    pub(super) sha256: String,
    /// The document that it belongs to.
    pub(super) document: DocumentId,
    /// What the file was called.
    pub(super) name: String,
    /// Its media type, as whoever attached it said.
    pub(super) media_type: String,
    /// Who attached it,
    pub(super) user: UserId,
    /// and from where.
    pub(super) device: DeviceId,
}

impl Label {
    /// Reads the label at the beginning of a blob, and how many bytes it takes. `None` if it is no
    /// attachment's.
    pub(super) fn read(blob: &[u8]) -> Option<(Self, usize)> {
        let rest = blob.strip_prefix(FORMAT)?;
        let line = &rest[..rest.len().min(ATTACHMENT_LABEL_BYTES_MAX)];
        let end = line.iter().position(|byte| *byte == b'\n')?;
        let label = serde_json::from_slice(&line[..end]).ok()?;
        Some((label, FORMAT.len() + end + 1))
    }
}

/// A blob in the making: the label, whose digest is known only at the end, and the content so far.
pub(super) struct LabelledContent {
    label: Label,
    label_bytes: usize,
    blob: BytesMut,
}

impl LabelledContent {
    /// Begins with a label whose digest is yet to come, and with room for so many bytes of content.
    pub(super) fn begin(mut label: Label, capacity_bytes: usize) -> serde_json::Result<Self> {
        label.sha256 = "0".repeat(SHA256_DIGITS);
        let text = serde_json::to_vec(&label)?;
        let label_bytes = FORMAT.len() + text.len() + 1;
        let mut blob = BytesMut::with_capacity(label_bytes + capacity_bytes);
        blob.extend_from_slice(FORMAT);
        blob.extend_from_slice(&text);
        blob.extend_from_slice(b"\n");
        Ok(Self {
            label,
            label_bytes,
            blob,
        })
    }

    pub(super) fn extend(&mut self, content: &[u8]) {
        self.blob.extend_from_slice(content);
    }

    pub(super) fn content_bytes(&self) -> usize {
        self.blob.len() - self.label_bytes
    }

    /// Fills in the digest, which is as long as the one that stood there, and gives the blob.
    pub(super) fn finish(mut self, sha256: &[u8; 32]) -> serde_json::Result<(Label, Bytes)> {
        self.label.sha256 = HEXLOWER.encode(sha256);
        let text = serde_json::to_vec(&self.label)?;
        self.blob[FORMAT.len()..self.label_bytes - 1].copy_from_slice(&text);
        Ok((self.label, self.blob.freeze()))
    }
}
