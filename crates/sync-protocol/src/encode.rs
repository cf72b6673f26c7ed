use bytes::{BufMut, Bytes, BytesMut};
use document_types::Permission;
use document_types::limits::FRAME_BYTES_MAX;

use crate::frame::{Frame, JoinErrorCode, Message, UpdateStatus};

/// Why a frame can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frame would have {bytes} bytes, and {FRAME_BYTES_MAX} is the most it may have")]
pub struct EncodeError {
    /// Bytes that the frame would have.
    pub bytes: usize,
}

impl Frame {
    /// Writes the frame.
    ///
    /// # Errors
    /// [`EncodeError`] if the frame would be over the protocol's limit.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        out.put_slice(&self.subscription.magic.bytes());
        put_length_prefixed(&mut out, self.subscription.document.as_str().as_bytes());
        self.message.put(&mut out);
        if out.len() > FRAME_BYTES_MAX {
            return Err(EncodeError { bytes: out.len() });
        }
        Ok(out.freeze())
    }
}

impl Message {
    fn type_byte(&self) -> u8 {
        match self {
            Self::JoinRequest { .. } => 0x00,
            Self::JoinResponseOk { .. } => 0x01,
            Self::JoinError { .. } => 0x02,
            Self::DocUpdate { .. } => 0x03,
            Self::FragmentHeader { .. } => 0x04,
            Self::Fragment { .. } => 0x05,
            Self::RoomError { .. } | Self::UpdateErrorV0 { .. } => 0x06,
            Self::Leave => 0x07,
            Self::Ack { .. } => 0x08,
        }
    }

    fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.type_byte());
        match self {
            Self::JoinRequest { payload, version } => {
                put_length_prefixed(out, payload);
                put_length_prefixed(out, version);
            }
            Self::JoinResponseOk {
                permission,
                version,
                extra,
            } => {
                let permission = match permission {
                    Permission::Read => "read",
                    Permission::Write => "write",
                };
                put_length_prefixed(out, permission.as_bytes());
                put_length_prefixed(out, version);
                put_length_prefixed(out, extra);
            }
            Self::JoinError {
                code,
                message,
                receiver_version,
                app_code,
            } => {
                out.put_u8(code.as_byte());
                put_length_prefixed(out, message.as_bytes());
                match (code, receiver_version, app_code) {
                    (JoinErrorCode::VersionUnknown, Some(version), _) => {
                        put_length_prefixed(out, version);
                    }
                    (JoinErrorCode::AppError, _, Some(app_code)) => {
                        put_length_prefixed(out, app_code.as_bytes());
                    }
                    _ => {}
                }
            }
            Self::DocUpdate { updates, batch } => {
                put_number(out, updates.len() as u64);
                for update in updates {
                    put_length_prefixed(out, update);
                }
                if let Some(batch) = batch {
                    out.put_slice(&batch.0);
                }
            }
            Self::FragmentHeader {
                batch,
                fragment_count,
                total_bytes,
            } => {
                out.put_slice(&batch.0);
                put_number(out, *fragment_count);
                put_number(out, *total_bytes);
            }
            Self::Fragment {
                batch,
                index,
                bytes,
            } => {
                out.put_slice(&batch.0);
                put_number(out, *index);
                put_length_prefixed(out, bytes);
            }
            Self::RoomError { code, message } => {
                out.put_u8(code.as_byte());
                put_length_prefixed(out, message.as_bytes());
            }
            Self::UpdateErrorV0 {
                status,
                message,
                batch,
            } => {
                put_update_error_v0(out, *status, message, *batch);
            }
            Self::Leave => {}
            Self::Ack { batch, status } => {
                out.put_slice(&batch.0);
                out.put_u8(status.as_byte());
            }
        }
    }
}

fn put_update_error_v0(
    out: &mut BytesMut,
    status: UpdateStatus,
    message: &str,
    batch: Option<document_types::BatchId>,
) {
    // Protocol v0 numbers `unknown` with 0 and has no `ok`; the others kept their numbers in v1.
    out.put_u8(match status {
        UpdateStatus::Ok | UpdateStatus::Unknown => 0x00,
        other => other.as_byte(),
    });
    put_length_prefixed(out, message.as_bytes());
    if let (UpdateStatus::FragmentTimeout, Some(batch)) = (status, batch) {
        out.put_slice(&batch.0);
    }
}

/// Appends an unsigned LEB128 number.
pub(crate) fn put_number(out: &mut BytesMut, mut number: u64) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

fn put_length_prefixed(out: &mut BytesMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}
