use std::time::Duration;

use document_types::ErrorCode;

use super::causality::Violation;

/// Why a light client stopped before it had played its part.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The connection, or what came over it.
    #[error("the connection was lost")]
    Lost(#[source] anyhow::Error),
    /// The server refused an update.
    #[error("an update was refused with {code}: {message}")]
    Refused {
        /// Its error code.
        code: ErrorCode,
        /// For the person.
        message: String,
    },
    /// The server put the client out of the room.
    #[error("put out of the room: {message}")]
    PutOut {
        /// What it said; it begins with the error code.
        message: String,
    },
    /// An update came as it must not.
    #[error("the order of updates was broken")]
    Violation(#[from] Violation),
    /// Nothing came any more.
    #[error("nothing came for {silence:?} while round {round} was not complete")]
    Stalled {
        /// For how long.
        silence: Duration,
        /// What was waited for.
        round: u32,
    },
    /// Another client of the document stopped, so that what it has not sent is missing.
    #[error("another client of the document stopped")]
    CutShort,
}

impl PlayError {
    /// What it is called where it is counted.
    pub fn kind(&self) -> String {
        match self {
            Self::Lost(_) => "connection lost".to_owned(),
            Self::Refused { code, .. } => format!("refused: {code}"),
            Self::PutOut { message } => {
                let code = message.split(':').next().unwrap_or_default();
                format!("put out: {code}")
            }
            Self::Violation(violation) => violation.to_string(),
            Self::Stalled { .. } => "stalled".to_owned(),
            Self::CutShort => "cut short".to_owned(),
        }
    }
}
