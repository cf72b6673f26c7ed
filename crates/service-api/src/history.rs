use async_trait::async_trait;
use document_types::{Digest, DocumentId, ErrorCode, Frontiers, VersionVector};

/// The history service: a document's state, without a session.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// The document as it stands, with everything that was acknowledged before the call.
    async fn current(&self, document: &DocumentId) -> Result<CurrentState, HistoryError>;
}

/// A document's state and the version that it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentState {
    /// The plain text of the document's text container.
    pub text: String,
    /// The operations in it.
    pub version: VersionVector,
    /// The same as a point in history.
    pub frontiers: Frontiers,
    /// Equal for the same set of operations, in every replica.
    pub state_hash: Digest,
}

/// Why a state can't be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document can't be read ({code}): {message}")]
pub struct HistoryError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// For the person.
    pub message: String,
}
