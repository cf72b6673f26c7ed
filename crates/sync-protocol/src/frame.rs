use bytes::Bytes;
use document_types::{BatchId, DocumentId, Permission};

/// What a frame is about: its first four bytes. Two documents of one name and different magics have
/// nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Magic {
    /// `%LOR`: a document.
    Loro,
    /// `%EPH`: the presence beside a document.
    Ephemeral,
    /// `%EPS`: presence that the server is asked to keep. Ours treats it as [`Magic::Ephemeral`].
    EphemeralPersisted,
    /// `%ELO`: an end-to-end encrypted document.
    EncryptedLoro,
    /// `%YJS`: a Yjs document.
    Yjs,
    /// `%YAW`: Yjs awareness.
    YjsAwareness,
    /// `%FLO`: a Flock document.
    Flock,
}

impl Magic {
    /// Every magic that the protocol names.
    pub const ALL: [Self; 7] = [
        Self::Loro,
        Self::Ephemeral,
        Self::EphemeralPersisted,
        Self::EncryptedLoro,
        Self::Yjs,
        Self::YjsAwareness,
        Self::Flock,
    ];

    /// The four bytes.
    pub fn bytes(self) -> [u8; 4] {
        match self {
            Self::Loro => *b"%LOR",
            Self::Ephemeral => *b"%EPH",
            Self::EphemeralPersisted => *b"%EPS",
            Self::EncryptedLoro => *b"%ELO",
            Self::Yjs => *b"%YJS",
            Self::YjsAwareness => *b"%YAW",
            Self::Flock => *b"%FLO",
        }
    }

    /// The magic of these four bytes, if the protocol names it.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|magic| magic.bytes() == bytes)
    }

    /// Whether the frames carry presence.
    pub fn is_presence(self) -> bool {
        matches!(self, Self::Ephemeral | Self::EphemeralPersisted)
    }
}

/// What a socket joins, and what every frame names: a document or its presence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription {
    /// Which of the two.
    pub magic: Magic,
    /// Of which document.
    pub document: DocumentId,
}

/// One binary WebSocket message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is about.
    pub subscription: Subscription,
    /// What it says.
    pub message: Message,
}

/// What a frame says. Payloads are slices of the frame's own buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// 0x00, from the client: let me in; this is what I know.
    JoinRequest {
        /// Opaque to the protocol; ours put a [`crate::JoinPayload`] there.
        payload: Bytes,
        /// The client's version vector in the engine's encoding; see [`crate::decode_version`].
        version: Bytes,
    },
    /// 0x01: you are in; this is what the server knows.
    JoinResponseOk {
        /// What the client may do.
        permission: Permission,
        /// The server's version vector. Never empty: at an empty one stock clients send snapshots.
        version: Bytes,
        /// Empty, or a [`crate::JoinAnswer`].
        extra: Bytes,
    },
    /// 0x02: you are not in.
    JoinError {
        /// Why.
        code: JoinErrorCode,
        /// For the person.
        message: String,
        /// With [`JoinErrorCode::VersionUnknown`]: what the server knows.
        receiver_version: Option<Bytes>,
        /// With [`JoinErrorCode::AppError`]: the name of our error code.
        app_code: Option<String>,
    },
    /// 0x03: updates, in the order in which to import them.
    DocUpdate {
        /// The engine's bytes, or encoded ephemeral entries.
        updates: Vec<Bytes>,
        /// The sender's name for the batch. Clients of protocol v0 send none.
        batch: Option<BatchId>,
    },
    /// 0x04: one update follows in fragments.
    FragmentHeader {
        /// The batch that the fragments belong to.
        batch: BatchId,
        /// How many follow.
        fragment_count: u64,
        /// Bytes of all together.
        total_bytes: u64,
    },
    /// 0x05: a fragment.
    Fragment {
        /// The batch it belongs to.
        batch: BatchId,
        /// Its place, from 0.
        index: u64,
        /// Its bytes.
        bytes: Bytes,
    },
    /// 0x06: you are out of the room.
    RoomError {
        /// Why.
        code: RoomErrorCode,
        /// For the person.
        message: String,
    },
    /// 0x06 as a client of protocol v0 reads it: a batch of yours was refused. Written, never read.
    UpdateErrorV0 {
        /// Why.
        status: UpdateStatus,
        /// For the person.
        message: String,
        /// With [`UpdateStatus::FragmentTimeout`]: which batch.
        batch: Option<BatchId>,
    },
    /// 0x07, from the client: I am leaving.
    Leave,
    /// 0x08: what became of a batch.
    Ack {
        /// Which.
        batch: BatchId,
        /// What.
        status: UpdateStatus,
    },
}

/// Why a join was refused, as a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinErrorCode {
    /// 0x00.
    Unknown,
    /// 0x01: the version can't be read. A stock client tries again with an empty one.
    VersionUnknown,
    /// 0x02.
    AuthFailed,
    /// 0x7f: the name of our code follows.
    AppError,
}

impl JoinErrorCode {
    /// The byte on the wire.
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Unknown => 0x00,
            Self::VersionUnknown => 0x01,
            Self::AuthFailed => 0x02,
            Self::AppError => 0x7f,
        }
    }

    /// The code of a byte; a byte without a name is [`JoinErrorCode::Unknown`].
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::VersionUnknown,
            0x02 => Self::AuthFailed,
            0x7f => Self::AppError,
            _ => Self::Unknown,
        }
    }
}

/// Why a client is out of a room, as a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomErrorCode {
    /// 0x01: join again, at once.
    RejoinSuggested,
    /// 0x02: stay out.
    Evicted,
    /// 0x7f.
    Unknown,
}

impl RoomErrorCode {
    /// The byte on the wire.
    pub fn as_byte(self) -> u8 {
        match self {
            Self::RejoinSuggested => 0x01,
            Self::Evicted => 0x02,
            Self::Unknown => 0x7f,
        }
    }

    /// The code of a byte; a byte without a name is [`RoomErrorCode::Unknown`].
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::RejoinSuggested,
            0x02 => Self::Evicted,
            _ => Self::Unknown,
        }
    }
}

/// What became of a batch, as a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStatus {
    /// 0x00: accepted; with us that means durable in the log.
    Ok,
    /// 0x01.
    Unknown,
    /// 0x03.
    PermissionDenied,
    /// 0x04.
    InvalidUpdate,
    /// 0x05.
    PayloadTooLarge,
    /// 0x06.
    RateLimited,
    /// 0x07.
    FragmentTimeout,
    /// 0x7f: a reason of ours, which the byte can't name.
    AppError,
}

impl UpdateStatus {
    /// The byte on the wire.
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Ok => 0x00,
            Self::Unknown => 0x01,
            Self::PermissionDenied => 0x03,
            Self::InvalidUpdate => 0x04,
            Self::PayloadTooLarge => 0x05,
            Self::RateLimited => 0x06,
            Self::FragmentTimeout => 0x07,
            Self::AppError => 0x7f,
        }
    }

    /// The status of a byte; a byte without a name is [`UpdateStatus::Unknown`].
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x00 => Self::Ok,
            0x03 => Self::PermissionDenied,
            0x04 => Self::InvalidUpdate,
            0x05 => Self::PayloadTooLarge,
            0x06 => Self::RateLimited,
            0x07 => Self::FragmentTimeout,
            0x7f => Self::AppError,
            _ => Self::Unknown,
        }
    }
}

/// One WebSocket message, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireMessage {
    /// A text message: `ping`, `pong`, or one of our additions.
    Text(String),
    /// A binary message: one encoded [`Frame`].
    Binary(Bytes),
}

impl WireMessage {
    /// Bytes of the message's payload.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the payload has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
