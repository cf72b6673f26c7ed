use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::DOCUMENT_ID_BYTES_MAX;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("an id must not be empty")]
    Empty,
    /// The text is longer than an id may be.
    #[error("an id has {bytes} bytes, and {bytes_max} is the most it may have")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// The most it may have.
        bytes_max: usize,
    },
    /// The text has a control character.
    #[error("an id must not contain control characters")]
    ControlCharacter,
}

fn check_text(text: &str, bytes_max: usize) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > bytes_max {
        return Err(IdError::TooLong {
            bytes: text.len(),
            bytes_max,
        });
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter);
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $bytes_max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and takes it as an id: not empty, within the length limit, and free of
            /// control characters.
            ///
            /// # Errors
            /// [`IdError`] says which rule the text breaks.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check_text(text, $bytes_max)?;
                Ok(Self(Arc::from(text)))
            }

            /// A new id made of this kind's prefix and `uuid`, which the caller draws from its own
            /// id source (UUIDv7, RFC 9562).
            pub fn from_uuid(uuid: uuid::Uuid) -> Self {
                Self(Arc::from(format!(concat!($prefix, "{}"), uuid.simple())))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }
    };
}

text_id!(
    /// A document's name. Ours are `doc_` and a UUIDv7; documents of stock clients may have any room
    /// name of up to 128 bytes.
    DocumentId, "doc_", DOCUMENT_ID_BYTES_MAX
);
text_id!(
    /// A person, from authentication: `usr_` and a UUIDv7, or what the identity provider says.
    UserId, "usr_", 128
);
text_id!(
    /// One installation of a client program that a user writes from: `dev_` and a UUIDv7.
    DeviceId, "dev_", 128
);
text_id!(
    /// One connection's lifetime: `ses_` and a UUIDv7.
    SessionId, "ses_", 64
);
text_id!(
    /// A region, as in `eu-west-1`; the embedded one is `local`.
    RegionId, "reg_", 64
);

/// CRDT author identity: one writer at a time, bound to one user and device for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A collaboration node within its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a node, from its start to its end; grows with every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeEpoch(pub u64);

/// A client's name for one batch of updates, 8 bytes as on the wire; its ack or nack names it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub [u8; 8]);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_id_may_be_any_room_name_of_up_to_128_bytes() {
        assert!(DocumentId::parse("notes/überblick 7").is_ok());
        assert!(DocumentId::parse(&"x".repeat(128)).is_ok());
        assert_eq!(
            DocumentId::parse(&"x".repeat(129)),
            Err(IdError::TooLong {
                bytes: 129,
                bytes_max: 128
            })
        );
        assert_eq!(DocumentId::parse(""), Err(IdError::Empty));
        assert_eq!(DocumentId::parse("a\nb"), Err(IdError::ControlCharacter));
    }
}
