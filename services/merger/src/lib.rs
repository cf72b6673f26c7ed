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
mod sequences;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clock::{Clock, IdSource, Offload};
use document_store::DocumentStore;
use document_types::{LogPartition, LogSource};
use op_log::{PartitionShare, RegionalLogs};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use traces::Traces;

use fold_queue::FoldQueue;
pub use log_check::{LogCheckError, check_logs};
pub use partition::MergeProgress;

/// What a merger works with.
pub struct MergerParts {
    /// What is merged.
    pub logs: RegionalLogs,
    /// The partitions that this merger has, of all the logs. It is for dividing work among mergers of one store: where two
    /// merge the same partition, the position in each transaction keeps them from doing it twice.
    pub share: PartitionShare,
    /// The documents' state.
    pub store: DocumentStore,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Names for snapshots.
    pub ids: IdSource,
    /// Where the engine's work is done.
    pub offload: Offload,
    /// Where spans of traced updates go.
    pub traces: Traces,
    /// Where the merger's tasks run.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

/// A running merger.
pub struct Merger {
    logs: RegionalLogs,
    running: watch::Receiver<BTreeMap<LogSource, MergeProgress>>,
}

impl Merger {
    /// Starts merging the partitions of its share, each from where merging stopped.
    pub fn start(parts: MergerParts) -> Self {
        let parts = Arc::new(parts);
        let folds = Arc::new(FoldQueue::new(parts.clock.clone()));
        parts.tasks.spawn(folder::run(parts.clone(), folds.clone()));
        let (running, progress) = watch::channel(BTreeMap::new());
        let logs = parts.logs.clone();
        let mut share = MergedShare {
            parts: parts.clone(),
            folds,
            stops: BTreeMap::new(),
            running,
        };
        // The partitions that are known already are there when this returns.
        let mut known = parts.share.clone();
        share.adopt(&known.current());
        let following = async move {
            loop {
                known.changed().await;
                share.adopt(&known.current());
            }
        };
        let stop = parts.stop.clone();
        parts.tasks.spawn(async move {
            stop.run_until_cancelled(following).await;
        });
        Self {
            logs,
            running: progress,
        }
    }

    /// How far a source is merged, if this merger has it now.
    pub fn progress(&self, source: &LogSource) -> Option<MergeProgress> {
        self.running.borrow().get(source).cloned()
    }

    /// Waits until everything is merged that was in this merger's partitions at the call.
    ///
    /// # Errors
    /// [`op_log::ReadError`] if a log can't say where its tails are.
    pub async fn caught_up(&self) -> Result<(), op_log::ReadError> {
        let running = self.running.borrow().clone();
        for (region, log) in self.logs.iter() {
            let of_region = running
                .iter()
                .filter(|(source, _)| source.region == *region);
            for (source, progress) in of_region {
                let tail = log.tail(source.partition).await?;
                progress.wait_for(tail).await;
            }
        }
        Ok(())
    }
}

/// The partitions that are being merged.
struct MergedShare {
    parts: Arc<MergerParts>,
    folds: Arc<FoldQueue>,
    /// Each ends the merging of one, from all sources.
    stops: BTreeMap<LogPartition, DropGuard>,
    running: watch::Sender<BTreeMap<LogSource, MergeProgress>>,
}

impl MergedShare {
    /// Merges what is in `share`, and nothing else any more.
    fn adopt(&mut self, share: &BTreeSet<LogPartition>) {
        let mut running = self.running.borrow().clone();
        running.retain(|source, _| share.contains(&source.partition));
        self.stops.retain(|partition, _| share.contains(partition));
        for partition in share {
            if self.stops.contains_key(partition) {
                continue;
            }
            let stop = self.parts.stop.child_token();
            for (source, log) in self.parts.logs.sources(*partition) {
                let (parts, folds) = (self.parts.clone(), self.folds.clone());
                let place = (source.clone(), log.clone());
                let progress = partition::start(parts, folds, place, stop.clone());
                running.insert(source, progress);
            }
            self.stops.insert(*partition, stop.drop_guard());
        }
        self.running.send_replace(running);
    }
}
