use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::format::{GroupBuilder, PartitionRange};
use super::index::{GroupSpan, Index};
use super::journal::{Journal, WriteError};
use super::queue::{Queue, Waiting};
use crate::{Cause, LogEntry, TrimError, metric_names};

/// What the writer shares with everyone who holds the log.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    index: Mutex<Index>,
    /// One for each partition: those who wait at its tail watch it.
    pub(super) progress: Vec<watch::Sender<Progress>>,
}

/// What a reader at the tail waits for a change of.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    /// The log lives; a change to this says that the tail has moved.
    Running,
    /// The writer stopped on an error; what is durable can still be read.
    Stopped(Cause),
    /// The owner closed the log.
    Closed,
}

/// The writer's thread ended without a word.
#[derive(Debug, thiserror::Error)]
#[error("the log's writer ended unexpectedly")]
pub(super) struct WriterLost;

/// The log stopped earlier, and says so to all who come later.
#[derive(Debug, thiserror::Error)]
#[error("the log stopped after a write of unknown outcome; restart the process to recover it")]
struct Stopped(#[source] Cause);

impl Shared {
    pub(super) fn new(index: Index, partitions: &[PartitionRange]) -> Self {
        let progress = partitions
            .iter()
            .map(|_| watch::Sender::new(Progress::Running))
            .collect();
        Self {
            queue: Queue::default(),
            index: Mutex::new(index),
            progress,
        }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        // Every change under this lock is complete before anything in it can panic.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers everything that waits, and everything that comes, with `cause`.
    fn stop(&self, cause: &Cause) {
        for waiting in self.queue.stop(cause) {
            waiting.refuse(cause);
        }
        for progress in &self.progress {
            progress.send_replace(Progress::Stopped(Cause::clone(cause)));
        }
    }

    /// Wakes everyone who reads; there will be nothing more.
    pub(super) fn close(&self) {
        for progress in &self.progress {
            progress.send_replace(Progress::Closed);
        }
    }
}

/// Who waits for a trim. Nobody may be; then the answer is not needed.
type TrimDone = oneshot::Sender<Result<(), TrimError>>;

/// The one thread that writes: it takes all that waits, up to a group, makes it durable with one sync,
/// and only then answers. Meanwhile the next group gathers, so the busier the log the larger the
/// groups, and one sync serves all partitions.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    journal: Journal,
    /// What is durable.
    partitions: Vec<PartitionRange>,
    group: GroupBuilder,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        journal: Journal,
        partitions: Vec<PartitionRange>,
    ) -> Self {
        Self {
            shared,
            journal,
            partitions,
            group: GroupBuilder::default(),
        }
    }

    /// Writes until the log is closed and nothing waits any more, or until a write fails in a way
    /// that leaves its outcome unknown.
    pub(super) fn run(mut self) {
        let _guard = StopOnPanic(Arc::clone(&self.shared));
        let mut waiting = Vec::new();
        while self.shared.queue.take_group(&mut waiting) {
            if let Err(error) = self.write_group(&mut waiting) {
                tracing::error!(%error, "the log stops: a write's outcome is unknown");
                let cause: Cause = Arc::new(error);
                waiting
                    .drain(..)
                    .for_each(|waiting| waiting.leave_unknown(&cause));
                self.shared.stop(&(Arc::new(Stopped(cause)) as Cause));
                return;
            }
        }
    }

    /// Writes `waiting` as one group and answers it. On an error nothing is answered.
    fn write_group(&mut self, waiting: &mut Vec<Waiting>) -> Result<(), std::io::Error> {
        let started = Instant::now();
        let written = self
            .begin_segment_if_due(waiting)
            .and_then(|()| self.write(waiting));
        match written {
            Ok((span, partitions)) => {
                metrics::histogram!(metric_names::GROUP_WRITE_MS)
                    .record(started.elapsed().as_secs_f64() * 1_000.0);
                #[allow(clippy::cast_precision_loss)] // A few thousand at most.
                metrics::histogram!(metric_names::GROUP_ENTRIES).record(waiting.len() as f64);
                metrics::counter!(metric_names::WRITTEN_BYTES).increment(span.end - span.position);
                self.partitions = partitions;
                let trimmed = self.publish(waiting, span);
                if !trimmed.is_empty() {
                    self.remove_trimmed();
                }
                for done in trimmed {
                    let _ = done.send(Ok(()));
                }
                Ok(())
            }
            Err(WriteError::NotWritten(error)) => {
                tracing::warn!(%error, "a group could not be written to the log");
                let cause: Cause = Arc::new(error);
                waiting.drain(..).for_each(|waiting| waiting.refuse(&cause));
                Ok(())
            }
            Err(WriteError::Unknown(error)) => Err(error),
        }
    }

    fn begin_segment_if_due(&mut self, waiting: &[Waiting]) -> Result<(), WriteError> {
        // Trims alone stay in the segment, so that a full disk, which has no room for another, can
        // be emptied.
        if only_trims(waiting) || !self.journal.segment_is_full() {
            return Ok(());
        }
        let (number, file) = self.journal.begin_segment(self.partitions.clone())?;
        self.shared.index().add_segment(number, file);
        // The closed segment may be below all trim points already.
        self.remove_trimmed();
        Ok(())
    }

    /// Makes `waiting` durable. Returns where, and what the partitions are after it.
    fn write(
        &mut self,
        waiting: &[Waiting],
    ) -> Result<(GroupSpan, Vec<PartitionRange>), WriteError> {
        let mut partitions = self.partitions.clone();
        self.group.clear();
        for waiting in waiting {
            match waiting {
                Waiting::Append {
                    partition,
                    document,
                    record,
                    ..
                } => {
                    let range = &mut partitions[partition.0 as usize];
                    self.group.record(*partition, range.tail, document, record);
                    range.tail = range.tail.next();
                }
                Waiting::Trim { partition, end, .. } => {
                    let range = &mut partitions[partition.0 as usize];
                    range.trim_point = range.trim_point.max(*end);
                    self.group.trim(*partition, range.trim_point);
                }
            }
        }
        let span = self.journal.write(&mut self.group, only_trims(waiting))?;
        Ok((span, partitions))
    }

    /// Shows readers what is durable now, and then answers the appends, so that who has an answer
    /// finds the entry. Returns who waits for a trim.
    fn publish(&mut self, waiting: &mut Vec<Waiting>, span: GroupSpan) -> Vec<TrimDone> {
        let mut appended = Vec::with_capacity(waiting.len());
        let mut trimmed = Vec::new();
        let mut grown = BTreeSet::new();
        let mut index = self.shared.index();
        for waiting in waiting.drain(..) {
            match waiting {
                Waiting::Append {
                    partition,
                    document,
                    record,
                    done,
                } => {
                    let offset = index.range(partition).tail;
                    index.add_entry(partition, span);
                    index.keep_recent(
                        partition,
                        LogEntry {
                            offset,
                            document,
                            record,
                        },
                    );
                    grown.insert(partition);
                    appended.push((offset, done));
                }
                Waiting::Trim {
                    partition,
                    end,
                    done,
                } => {
                    index.trim(partition, end);
                    trimmed.push(done);
                }
            }
        }
        drop(index);
        // Nobody may be waiting for an answer; then it is not needed.
        for partition in grown {
            self.shared.progress[partition.0 as usize].send_replace(Progress::Running);
        }
        for (offset, done) in appended {
            let _ = done.send(Ok(offset));
        }
        trimmed
    }

    fn remove_trimmed(&mut self) {
        let removed = self.journal.remove_trimmed(&self.partitions);
        let mut index = self.shared.index();
        removed
            .into_iter()
            .for_each(|number| index.remove_segment(number));
        drop(index);
        #[allow(clippy::cast_precision_loss)] // A few thousand at most.
        metrics::gauge!(metric_names::SEGMENTS).set(self.journal.segment_count() as f64);
    }
}

fn only_trims(waiting: &[Waiting]) -> bool {
    waiting
        .iter()
        .all(|waiting| matches!(waiting, Waiting::Trim { .. }))
}

/// Wakes everyone if the writer panics; nobody may wait for a thread that is gone.
struct StopOnPanic(Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(&(Arc::new(WriterLost) as Cause));
        }
    }
}
