use bytes::Bytes;
use document_types::limits::{DOCUMENT_ID_BYTES_MAX, FRAME_BYTES_MAX, UPDATES_PER_BATCH_MAX};
use document_types::{BatchId, DocumentId, IdError, Permission};

use crate::frame::{
    Frame, JoinErrorCode, Magic, Message, RoomErrorCode, Subscription, UpdateStatus,
};

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame is over the protocol's limit.
    #[error("a frame has {bytes} bytes, and {FRAME_BYTES_MAX} is the most it may have")]
    FrameTooLarge {
        /// Bytes of the frame.
        bytes: usize,
    },
    /// A field reaches over the frame's end.
    #[error("the frame ends inside its {field}")]
    Truncated {
        /// Which field.
        field: &'static str,
    },
    /// Bytes are left after the last field.
    #[error("{bytes} bytes are left over after the last field")]
    LeftOver {
        /// How many.
        bytes: usize,
    },
    /// A number has more than 64 bits.
    #[error("the number in {field} has more than 64 bits")]
    NumberTooLarge {
        /// Which field.
        field: &'static str,
    },
    /// The first four bytes are no magic of the protocol.
    #[error("the frame begins with {bytes:02x?}, which is no magic of the protocol")]
    UnknownMagic {
        /// They.
        bytes: [u8; 4],
    },
    /// The message type is not one of the protocol.
    #[error("message type {type_byte:#04x} is not one of the protocol")]
    UnknownMessageType {
        /// The type's byte.
        type_byte: u8,
    },
    /// A text is not UTF-8.
    #[error("the {field} is not UTF-8")]
    NotUtf8 {
        /// Which field.
        field: &'static str,
    },
    /// The room's name is no document id.
    #[error("the room's name is no document id")]
    DocumentId(#[source] IdError),
    /// The permission is neither `read` nor `write`.
    #[error("the permission is neither `read` nor `write`")]
    UnknownPermission,
    /// More updates than a batch may have.
    #[error(
        "a batch declares {count} updates, and {UPDATES_PER_BATCH_MAX} is the most it may have"
    )]
    TooManyUpdates {
        /// The declared count.
        count: u64,
    },
}

impl Frame {
    /// Reads one frame. Payloads are slices of `bytes`; nothing is allocated for a length that the
    /// frame merely declares.
    ///
    /// # Errors
    /// [`DecodeError`] names the first field that is wrong.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::FrameTooLarge { bytes: bytes.len() });
        }
        let mut reader = Reader::new(bytes.clone());
        let magic_bytes = reader.array("magic")?;
        let magic = Magic::from_bytes(magic_bytes)
            .ok_or(DecodeError::UnknownMagic { bytes: magic_bytes })?;
        let document = reader.document_id()?;
        let type_byte = reader.byte("message type")?;
        let message = reader.message(type_byte)?;
        Ok(Self {
            subscription: Subscription { magic, document },
            message,
        })
    }
}

/// Reads fields off the front of a buffer.
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::LeftOver { bytes }),
        }
    }

    fn take(&mut self, count: usize, field: &'static str) -> Result<Bytes, DecodeError> {
        if count > self.rest.len() {
            return Err(DecodeError::Truncated { field });
        }
        Ok(self.rest.split_to(count))
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.take(N, field)?);
        Ok(array)
    }

    /// An unsigned LEB128 number of up to 64 bits.
    pub(crate) fn number(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut number: u64 = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte(field)?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(DecodeError::NumberTooLarge { field });
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::NumberTooLarge { field })
    }

    fn length_prefixed(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        // A length that does not fit the address space does not fit the frame either.
        let length = usize::try_from(self.number(field)?).unwrap_or(usize::MAX);
        self.take(length, field)
    }

    fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let bytes = self.length_prefixed(field)?;
        std::str::from_utf8(&bytes)
            .map(str::to_owned)
            .map_err(|_| DecodeError::NotUtf8 { field })
    }

    fn document_id(&mut self) -> Result<DocumentId, DecodeError> {
        const FIELD: &str = "room name";
        let bytes = self.length_prefixed(FIELD)?;
        if bytes.len() > DOCUMENT_ID_BYTES_MAX {
            return Err(DecodeError::DocumentId(IdError::TooLong {
                bytes: bytes.len(),
                bytes_max: DOCUMENT_ID_BYTES_MAX,
            }));
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|_| DecodeError::NotUtf8 { field: FIELD })?;
        DocumentId::parse(text).map_err(DecodeError::DocumentId)
    }

    fn batch(&mut self) -> Result<BatchId, DecodeError> {
        self.array("batch id").map(BatchId)
    }

    fn message(&mut self, type_byte: u8) -> Result<Message, DecodeError> {
        match type_byte {
            0x00 => Ok(Message::JoinRequest {
                payload: self.length_prefixed("join payload")?,
                version: self.length_prefixed("version")?,
            }),
            0x01 => Ok(Message::JoinResponseOk {
                permission: match self.text("permission")?.as_str() {
                    "read" => Permission::Read,
                    "write" => Permission::Write,
                    _ => return Err(DecodeError::UnknownPermission),
                },
                version: self.length_prefixed("version")?,
                extra: self.length_prefixed("extra")?,
            }),
            0x02 => self.join_error(),
            0x03 => self.doc_update(),
            0x04 => {
                let message = Message::FragmentHeader {
                    batch: self.batch()?,
                    fragment_count: self.number("fragment count")?,
                    total_bytes: self.number("total size")?,
                };
                self.finish().map(|()| message)
            }
            0x05 => {
                let message = Message::Fragment {
                    batch: self.batch()?,
                    index: self.number("fragment index")?,
                    bytes: self.length_prefixed("fragment")?,
                };
                self.finish().map(|()| message)
            }
            // A v0 client's UpdateError has the same type and begins with the same two fields; what
            // it appends to them is of no use.
            0x06 => Ok(Message::RoomError {
                code: RoomErrorCode::from_byte(self.byte("error code")?),
                message: self.text("message")?,
            }),
            0x07 => Ok(Message::Leave),
            0x08 => {
                let message = Message::Ack {
                    batch: self.batch()?,
                    status: UpdateStatus::from_byte(self.byte("status")?),
                };
                self.finish().map(|()| message)
            }
            _ => Err(DecodeError::UnknownMessageType { type_byte }),
        }
    }

    fn join_error(&mut self) -> Result<Message, DecodeError> {
        let code = JoinErrorCode::from_byte(self.byte("error code")?);
        let message = self.text("message")?;
        let extra = self.remaining() > 0;
        Ok(Message::JoinError {
            code,
            message,
            receiver_version: (extra && code == JoinErrorCode::VersionUnknown)
                .then(|| self.length_prefixed("receiver version"))
                .transpose()?,
            app_code: (extra && code == JoinErrorCode::AppError)
                .then(|| self.text("app code"))
                .transpose()?,
        })
    }

    fn doc_update(&mut self) -> Result<Message, DecodeError> {
        let count = self.number("update count")?;
        if count > UPDATES_PER_BATCH_MAX as u64 {
            return Err(DecodeError::TooManyUpdates { count });
        }
        // Grown as updates are found, never to a count that is only declared.
        let mut updates = Vec::new();
        for _ in 0..count {
            updates.push(self.length_prefixed("update")?);
        }
        // Protocol v0 ends here, v1 appends the batch id.
        let batch = if self.remaining() == 0 {
            None
        } else {
            Some(self.batch()?)
        };
        self.finish()
            .map(|()| Message::DocUpdate { updates, batch })
    }
}
