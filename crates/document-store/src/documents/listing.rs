use document_types::DocumentId;

use super::{CorruptValue, DocumentStore, StoreError, corrupt, unpack_key};
use crate::keyspace::Key;
use crate::ordered_kv::{Pages, RangeOptions};

impl DocumentStore {
    /// Up to `limit` documents that were ever written, in the order of their ids, from the first one
    /// behind `after` on. Fewer than `limit` are the last ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_documents(
        &self,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.transact(|transaction| async move {
            let options = RangeOptions {
                limit,
                snapshot: true,
                ..RangeOptions::default()
            };
            let mut pages = Pages::new(&*transaction, Key::listings(after), options);
            let mut documents = Vec::new();
            while documents.len() < limit
                && let Some(page) = pages.next().await?
            {
                for entry in page.iter().take(limit - documents.len()) {
                    match unpack_key(entry)? {
                        Key::Listing(document) => documents.push(document),
                        other => return Err(corrupt(&other, CorruptValue::Misplaced)),
                    }
                }
            }
            Ok(documents)
        })
        .await
    }
}
