use std::collections::BTreeSet;

use document_types::LogPartition;
use tokio::sync::watch;

/// The partitions that one of several readers has, as they change.
///
/// Readers divide the work by it and nothing else: for a while two of them may have the same partition,
/// or nobody has it, so whatever they do has to be right when it is done twice.
#[derive(Clone, Debug)]
pub struct PartitionShare {
    /// `None` until it is known.
    assigned: watch::Receiver<Option<BTreeSet<LogPartition>>>,
}

impl PartitionShare {
    /// All partitions of a log, for a reader that shares them with nobody.
    pub fn all(partition_count: u32) -> Self {
        let all = (0..partition_count).map(LogPartition).collect();
        let (_, assigned) = watch::channel(Some(all));
        Self { assigned }
    }

    /// A share that whoever holds the sender decides on.
    pub fn decided_elsewhere() -> (watch::Sender<Option<BTreeSet<LogPartition>>>, Self) {
        let (sender, assigned) = watch::channel(None);
        (sender, Self { assigned })
    }

    /// The partitions, as they are now.
    pub fn current(&mut self) -> BTreeSet<LogPartition> {
        self.assigned
            .borrow_and_update()
            .clone()
            .unwrap_or_default()
    }

    /// Waits until they are others than [`current`](Self::current) last said, for ever if they will be
    /// the same.
    pub async fn changed(&mut self) {
        if self.assigned.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until it is known for the first time which they are.
    pub async fn known(&mut self) {
        if self.assigned.wait_for(Option::is_some).await.is_err() {
            std::future::pending().await
        }
    }
}
