use async_trait::async_trait;
use document_types::{DocumentId, SessionId};

use crate::Entry;

/// A session in a document's presence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    /// The document.
    pub document: DocumentId,
    /// The session.
    pub session: SessionId,
}

/// What sessions show in documents, as one node sees it.
///
/// - What a session shows is there for [`document_types::limits::PRESENCE_TIME_TO_LIVE`] after it
///   was last shown or renewed, and is then gone as if it had been taken away.
/// - Whatever changes in a document reaches every node that watches it, the changing one too, as
///   [`News`]. News of one session come in order.
/// - Nothing is durable, and nothing is confirmed beyond the call's return.
///
/// [`crate::conformance`] checks an adapter against this.
#[async_trait]
pub trait PresenceStore: Send + Sync + 'static {
    /// Adds to what a session shows, the newest entry of a key counting.
    ///
    /// # Errors
    /// [`PresenceStoreError::Full`] if as many sessions as may show themselves in the document.
    async fn show(&self, seat: &Seat, entries: Vec<Entry>) -> Result<(), PresenceStoreError>;

    /// Renews what sessions show, and returns those of which nothing is known (any more): they have
    /// to be shown again.
    async fn renew(&self, seats: &[Seat]) -> Result<Vec<Seat>, PresenceStoreError>;

    /// Takes away what a session shows.
    async fn take_away(&self, seat: &Seat) -> Result<(), PresenceStoreError>;

    /// What a document's sessions show now.
    async fn shown(
        &self,
        document: &DocumentId,
    ) -> Result<Vec<(Seat, Vec<Entry>)>, PresenceStoreError>;

    /// From now on this node gets a document's news.
    async fn watch(&self, document: &DocumentId) -> Result<(), PresenceStoreError>;

    /// This node needs no more news of a document.
    async fn unwatch(&self, document: &DocumentId) -> Result<(), PresenceStoreError>;

    /// Takes away what was not renewed in time, in the documents that this node watches. To be
    /// called about once a second.
    async fn expire(&self) -> Result<(), PresenceStoreError>;

    /// Waits for the next news of a watched document. Dropping the future loses nothing.
    async fn next_news(&self) -> News;
}

/// Something changed in a watched document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// What a session newly shows; removals are among the entries.
    Entries {
        /// Whose.
        seat: Seat,
        /// They.
        entries: Vec<Entry>,
    },
    /// More happened than this node could hold: ask for what is shown.
    Missed,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum PresenceStoreError {
    /// As many sessions as may show themselves in the document.
    #[error("as many sessions as may show themselves in the document")]
    Full,
    /// The store can't be reached.
    #[error("the presence store can't be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
