use std::fmt;

/// What the receiver of an error should do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Send the same thing again after a pause; nothing is wrong with it.
    Retry,
    /// Leave the document and join it again: the exchange of versions repairs what is missing.
    Rejoin,
    /// The request can't succeed as it is; change it.
    Fix,
    /// Nothing the caller can send will succeed; tell the person.
    GiveUp,
}

impl Advice {
    /// The advice's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Rejoin => "rejoin",
            Self::Fix => "fix",
            Self::GiveUp => "give_up",
        }
    }
}

/// Every way in which CollabEdit refuses or fails a request, whichever door it came through.
///
/// The names are the wire's names in JSON and metrics. A new code is added only where a caller would
/// act differently on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The update's bytes are malformed, or importing them failed in the dry run.
    InvalidUpdate,
    /// An update, frame or batch is over its size limit.
    TooLarge,
    /// A replica of the document would take more memory than one may; reading still works.
    DocumentTooLarge,
    /// The principal lacks the permission that the operation needs.
    PermissionDenied,
    /// The update is written under a peer id that belongs to another user or device.
    ForeignPeer,
    /// The same operation ids were sent before with other content.
    Equivocation,
    /// The update depends on operations that have not arrived here.
    MissingDependency,
    /// More messages or bytes than the sender may send.
    RateLimited,
    /// Fragments of a batch did not all arrive in time.
    FragmentTimeout,
    /// The sender was suspended for an hour after several harmful updates.
    Suspended,
    /// The session read too slowly and lost its stream.
    SlowConsumer,
    /// The log or the store can't be reached, or the outcome of a write is not known.
    Unavailable,
    /// This node is shutting down.
    Draining,
    /// The node is at a limit of its own.
    Overloaded,
    /// The document was never written, or its name is not a document id.
    NotFound,
    /// The request is not one this version understands.
    UnsupportedVersion,
    /// The message breaks the protocol.
    ProtocolViolation,
    /// A defect on our side.
    Internal,
}

impl ErrorCode {
    /// Every code, for tables that have to name them all.
    pub const ALL: [Self; 18] = [
        Self::InvalidUpdate,
        Self::TooLarge,
        Self::DocumentTooLarge,
        Self::PermissionDenied,
        Self::ForeignPeer,
        Self::Equivocation,
        Self::MissingDependency,
        Self::RateLimited,
        Self::FragmentTimeout,
        Self::Suspended,
        Self::SlowConsumer,
        Self::Unavailable,
        Self::Draining,
        Self::Overloaded,
        Self::NotFound,
        Self::UnsupportedVersion,
        Self::ProtocolViolation,
        Self::Internal,
    ];

    /// The code of a wire name, if this version knows it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// The code's name on the wire, in metrics and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUpdate => "invalid_update",
            Self::TooLarge => "too_large",
            Self::DocumentTooLarge => "document_too_large",
            Self::PermissionDenied => "permission_denied",
            Self::ForeignPeer => "foreign_peer",
            Self::Equivocation => "equivocation",
            Self::MissingDependency => "missing_dependency",
            Self::RateLimited => "rate_limited",
            Self::FragmentTimeout => "fragment_timeout",
            Self::Suspended => "suspended",
            Self::SlowConsumer => "slow_consumer",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
            Self::NotFound => "not_found",
            Self::UnsupportedVersion => "unsupported_version",
            Self::ProtocolViolation => "protocol_violation",
            Self::Internal => "internal",
        }
    }

    /// What a caller should do on this code.
    pub fn advice(self) -> Advice {
        match self {
            Self::RateLimited
            | Self::FragmentTimeout
            | Self::Unavailable
            | Self::Draining
            | Self::Overloaded
            | Self::Internal => Advice::Retry,
            Self::MissingDependency | Self::SlowConsumer => Advice::Rejoin,
            Self::TooLarge
            | Self::DocumentTooLarge
            | Self::NotFound
            | Self::UnsupportedVersion
            | Self::ProtocolViolation => Advice::Fix,
            Self::InvalidUpdate
            | Self::PermissionDenied
            | Self::ForeignPeer
            | Self::Equivocation
            | Self::Suspended => Advice::GiveUp,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
