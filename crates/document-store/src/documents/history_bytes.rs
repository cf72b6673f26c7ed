//! A document's whole history, for whoever materialises it.

use bytes::{Bytes, BytesMut};
use document_types::record::Payload;
use document_types::{DocumentId, VersionVector};

use super::{CatchUpContent, CatchUpLimits, DocumentStore, StoreError};

/// What a replica has to import, in this order and each on its own, to know what the store knows.
#[derive(Clone, Debug, Default)]
pub struct HistoryBytes {
    /// The newest snapshot, if the replica lacks some of it.
    pub snapshot: Option<Bytes>,
    /// The updates behind it, in merge order.
    pub updates: Vec<Bytes>,
}

impl HistoryBytes {
    /// The snapshot and the updates, in the order of import.
    pub fn into_bytes(self) -> Vec<Bytes> {
        self.snapshot.into_iter().chain(self.updates).collect()
    }
}

impl DocumentStore {
    /// Everything that a replica which knows `known` lacks, gathered in memory. Sessions are caught
    /// up step by step instead, with [`DocumentStore::catch_up`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history_bytes(
        &self,
        document: &DocumentId,
        known: &VersionVector,
    ) -> Result<HistoryBytes, StoreError> {
        let mut history = HistoryBytes::default();
        let mut snapshot = BytesMut::new();
        let mut cursor = None;
        loop {
            let step = self
                .catch_up(document, known, cursor, CatchUpLimits::default())
                .await?;
            match step.content {
                CatchUpContent::Snapshot(piece) => {
                    if piece.offset_bytes == 0 {
                        // The snapshot was replaced while it was read; this is its successor.
                        snapshot.clear();
                        history.updates.clear();
                    }
                    snapshot.extend_from_slice(&piece.bytes);
                    if snapshot.len() as u64 == piece.total_bytes {
                        history.snapshot = Some(snapshot.split().freeze());
                    }
                }
                CatchUpContent::Updates(updates) => {
                    let inline = updates
                        .into_iter()
                        .filter_map(|update| match update.payload {
                            Payload::Inline(bytes) => Some(bytes),
                            Payload::Blob(_) | Payload::Ciphertext(_) => None,
                        });
                    history.updates.extend(inline);
                }
            }
            cursor = Some(step.cursor);
            if step.complete.is_some() {
                return Ok(history);
            }
        }
    }
}
