use document_types::RegionId;

use super::{DocumentStore, StoreError, get_message, set_message};
use crate::keyspace::Key;
use crate::values::Log;

impl DocumentStore {
    /// Takes `log` for the one from which `region`'s records are merged, durably and for good. Call it before
    /// anything is merged, and before any of the store's positions is used with the log.
    ///
    /// # Errors
    /// [`StoreError::OtherLog`] if it is not the one that the store knows, or has another number of
    /// partitions.
    pub async fn bind_log(&self, region: &RegionId, log: &Log) -> Result<(), StoreError> {
        let bound = self
            .transact(|transaction| async move {
                let key = Key::Log(region.clone());
                if let Some(bound) = get_message::<Log>(&*transaction, &key).await? {
                    return Ok(bound);
                }
                set_message(&*transaction, &key, log);
                transaction.commit().await?;
                Ok::<_, StoreError>(log.clone())
            })
            .await?;
        if bound != *log {
            return Err(StoreError::OtherLog {
                region: region.clone(),
                bound: name(&bound),
                found: name(log),
            });
        }
        self.sync().await
    }
}

fn name(log: &Log) -> String {
    format!("{} of {} partitions", log.id, log.partition_count)
}
