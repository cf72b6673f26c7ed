use async_trait::async_trait;
use bytes::Bytes;
use document_types::{DocumentId, ErrorCode, SessionId};
use tokio::sync::mpsc;

/// The presence service: cursors and typing state. Never the log, never the store.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Joins a session to a document's presence. Events begin with what others show now.
    async fn join(
        &self,
        document: &DocumentId,
        session: &SessionId,
    ) -> Result<PresenceJoined, PresenceError>;

    /// Says what a session shows now: the engine's encoded ephemeral entries. Best effort: the
    /// surplus over the rate is dropped silently, the newest wins.
    async fn update(&self, document: &DocumentId, session: &SessionId, entries: Bytes);

    /// Takes a session's entries away.
    async fn leave(&self, document: &DocumentId, session: &SessionId);
}

/// A session's place in a document's presence.
#[derive(Debug)]
pub struct PresenceJoined {
    /// What others show.
    pub events: mpsc::Receiver<PresenceEvent>,
}

/// News of presence: encoded ephemeral entries to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceEvent {
    /// The engine's encoded ephemeral entries.
    pub entries: Bytes,
}

/// Why presence was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("presence was refused with {code}")]
pub struct PresenceError {
    /// What kind of refusal.
    pub code: ErrorCode,
}
