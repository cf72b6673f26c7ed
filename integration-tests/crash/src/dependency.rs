use async_trait::async_trait;
use collabedit_sdk::DocumentId;

/// Servers that are not ours, and without one of which a deployment can't go on for a while: the brokers
/// of its log, or its store.
#[async_trait]
pub trait Dependency: Sync {
    /// What one of them is called in a report, as in `a broker`.
    fn name(&self) -> &'static str;

    /// Kills the one on which this document depends, and returns once it is dead.
    ///
    /// # Errors
    /// If it can't be killed.
    async fn kill(&self, document: &DocumentId) -> anyhow::Result<()>;

    /// Starts the one that was killed last again, and waits until it may be another's turn.
    ///
    /// # Errors
    /// If it does not come back.
    async fn recover(&self) -> anyhow::Result<()>;
}
