use document_types::{LogOffset, LogSource};

use super::{DocumentStore, StoreError, get_message, set_message};
use crate::keyspace::Key;
use crate::values::Offset;

impl DocumentStore {
    /// The record of `source` up to which every record is in its document's state or pending, `None`
    /// if there is none. Mergers and rooms begin to read behind it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn merged(&self, source: &LogSource) -> Result<Option<LogOffset>, StoreError> {
        self.transact(|transaction| async move {
            let offset: Option<Offset> =
                get_message(&*transaction, &Key::Merged(source.clone())).await?;
            Ok(offset.map(|merged| LogOffset(merged.offset)))
        })
        .await
    }

    /// Moves the merged position of `source` to `offset`, unless it is there or further. Call it
    /// only after every append up to `offset` has returned.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_merged(
        &self,
        source: &LogSource,
        offset: LogOffset,
    ) -> Result<(), StoreError> {
        self.transact(|transaction| async move {
            let key = Key::Merged(source.clone());
            let merged: Option<Offset> = get_message(&*transaction, &key).await?;
            if merged.is_none_or(|merged| merged.offset < offset.0) {
                set_message(&*transaction, &key, &Offset { offset: offset.0 });
                transaction.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// The merged position of `source` after making it durable: a crash takes nothing back at or
    /// below it, so the log may be trimmed up to there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn synced_merged(&self, source: &LogSource) -> Result<Option<LogOffset>, StoreError> {
        let merged = self.merged(source).await?;
        self.sync().await?;
        Ok(merged)
    }
}
