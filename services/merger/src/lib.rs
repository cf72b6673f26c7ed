//! The merger: reads the log, runs the admission fold, and moves the documents' state, each record
//! exactly once.
//!
//! Merging appends: the admitted bytes, the version vector and the applied position are written in
//! one transaction, without the engine. The engine is needed to fold a document's tail into a
//! snapshot, which happens beside merging and never in its way.

mod fold_queue;
mod folder;
mod judge;
mod log_check;
pub mod metrics;
mod partition;

use std::sync::Arc;

use clock::{Clock, IdSource, Offload};
use document_store::DocumentStore;
use document_types::{LogPartition, LogSource, RegionId};
use op_log::OpLog;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use fold_queue::FoldQueue;
pub use log_check::{LogCheckError, check_log};
pub use partition::MergeProgress;

/// What a merger works with.
pub struct MergerParts {
    /// The region whose log this is.
    pub region: RegionId,
    /// The log.
    pub log: Arc<dyn OpLog>,
    /// The documents' state.
    pub store: DocumentStore,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Names for snapshots.
    pub ids: IdSource,
    /// Where the engine's work is done.
    pub offload: Offload,
    /// Where the merger's tasks run.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

/// A running merger.
pub struct Merger {
    partitions: Vec<MergeProgress>,
}

impl Merger {
    /// Starts merging every partition of the log from where merging stopped.
    pub fn start(parts: MergerParts) -> Self {
        let parts = Arc::new(parts);
        let folds = Arc::new(FoldQueue::new(parts.clock.clone()));
        parts.tasks.spawn(folder::run(parts.clone(), folds.clone()));
        let partitions = (0..parts.log.partition_count())
            .map(|partition| {
                let source = LogSource {
                    region: parts.region.clone(),
                    partition: LogPartition(partition),
                };
                partition::start(parts.clone(), folds.clone(), source)
            })
            .collect();
        Self { partitions }
    }

    /// How far each partition is merged, in the partitions' order.
    pub fn progress(&self) -> &[MergeProgress] {
        &self.partitions
    }

    /// Waits until everything that was in the log at the call is merged.
    ///
    /// # Errors
    /// [`op_log::ReadError`] if the log can't say where its tails are.
    pub async fn caught_up(&self, log: &dyn OpLog) -> Result<(), op_log::ReadError> {
        for (partition, progress) in (0..).map(LogPartition).zip(&self.partitions) {
            let tail = log.tail(partition).await?;
            progress.wait_for(tail).await;
        }
        Ok(())
    }
}
