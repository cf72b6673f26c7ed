use async_trait::async_trait;
use collabedit_sdk::DocumentId;

/// The brokers that a log is in, one of which can be killed under the servers that use it.
#[async_trait]
pub trait Brokers: Sync {
    /// Kills the broker that has the say over this document's records, and returns once it is dead.
    ///
    /// # Errors
    /// If it can't be killed.
    async fn kill_leader(&self, document: &DocumentId) -> anyhow::Result<()>;

    /// Starts the broker that was killed last again, and waits until it may be another's turn.
    ///
    /// # Errors
    /// If it does not come back.
    async fn recover(&self) -> anyhow::Result<()>;
}
