use document_types::DocumentId;

use super::{DocumentStore, StoreError, read_head, set_head};
use crate::values::Degraded;

impl DocumentStore {
    /// Marks a document whose updates can't be materialised: it goes on merging, and is served as
    /// last snapshot and tail. A document that is marked keeps its first reason.
    ///
    /// Returns whether the mark is new.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark_degraded(
        &self,
        document: &DocumentId,
        reason: &str,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        self.transact(|transaction| async move {
            let mut head = read_head(&*transaction, document)
                .await?
                .unwrap_or_default();
            if head.degraded.is_some() {
                return Ok(false);
            }
            head.degraded = Some(Degraded {
                reason: reason.to_owned(),
                since_ms: now_ms,
            });
            set_head(&*transaction, document, &head);
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Takes the mark away. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clear_degraded(&self, document: &DocumentId) -> Result<bool, StoreError> {
        self.transact(|transaction| async move {
            let Some(mut head) = read_head(&*transaction, document).await? else {
                return Ok(false);
            };
            let was_degraded = head.degraded.take().is_some();
            if was_degraded {
                set_head(&*transaction, document, &head);
                transaction.commit().await?;
            }
            Ok(was_degraded)
        })
        .await
    }
}
