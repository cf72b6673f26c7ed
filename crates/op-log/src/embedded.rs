//! The embedded log: one journal on one disk, for all partitions.

mod format;
mod index;
mod journal;
mod open_error;
mod queue;
mod reader;
mod recovery;
mod writer;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Random;
use disk::{Disk, DiskLock};
use document_types::limits::{
    EMBEDDED_LOG_DISK_READS_MAX, EMBEDDED_LOG_PARTITIONS_MAX, EMBEDDED_LOG_SEGMENT_BYTES,
};
use document_types::{Digest, DocumentId, LogOffset, LogPartition};
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::edges::{check_append, check_partition, count_append};
use crate::{
    AppendError, AppendFuture, Cause, LogEntry, OpLog, ReadError, ReadLimit, TrimError,
    metric_names,
};
use format::PartitionRange;
use index::ReadPlan;
use journal::{Journal, remove_unfinished, segment_number};
use open_error::io_error;
pub use open_error::{Damage, OpenError};
use reader::read_stretches;
use recovery::{Recovered, recover};
use writer::{Progress, Shared, Writer, WriterLost};

/// How an embedded log is opened.
#[derive(Clone, Debug)]
pub struct EmbeddedLogOptions {
    /// Partitions of the log, fixed for its life.
    pub partition_count: u32,
    /// Bytes from which on a segment is closed and the next one begun.
    pub segment_bytes: u64,
}

impl EmbeddedLogOptions {
    /// A log of `partition_count` partitions in segments of
    /// [`EMBEDDED_LOG_SEGMENT_BYTES`].
    pub fn new(partition_count: u32) -> Self {
        Self {
            partition_count,
            segment_bytes: EMBEDDED_LOG_SEGMENT_BYTES,
        }
    }
}

/// An [`OpLog`] in a directory of this machine, for one process.
///
/// All partitions share one journal of segment files, because then one sync serves them all. A writer
/// thread takes everything that waits, writes it as one checksummed group, syncs once, and completes
/// the appends in it; the next group gathers meanwhile.
///
/// - **After a crash** [`open`](Self::open) drops a torn last group as a whole; nobody was told of any
///   record in it. A group that is whole is kept, whether or not its appends were answered. Anything
///   else that is not as it was written is refused as [`OpenError::Damaged`].
/// - **If a sync fails**, or a write to the journal, the log stops: the group's appends resolve to
///   [`AppendError::Unknown`], later ones to [`AppendError::Failed`], and what is durable can still be
///   read. A failed sync is never repeated, since the second one may answer `Ok` without having
///   written. Opening the log again settles what was written.
/// - **If the disk is full**, appends resolve to [`AppendError::Failed`] and the log lives on. Trimming
///   works on a full disk, from space that it holds back.
/// - **Trimming** is written to the journal like a record. It removes the segments all of whose entries
///   are below their partitions' trim points, from the oldest on; so whoever trims, trims every
///   partition.
/// - **Memory** is bounded: the queue by count and bytes, the newest entries (which serve those who
///   follow the tail without touching the disk) by bytes, and the index by the bytes of the journal,
///   hence by trimming. The numbers are in [`document_types::limits`] under `EMBEDDED_LOG_…`.
/// - A group never holds more than
///   [`EMBEDDED_LOG_GROUP_BYTES_MAX`](document_types::limits::EMBEDDED_LOG_GROUP_BYTES_MAX).
///
/// Dropping the log closes it.
#[derive(Debug)]
pub struct EmbeddedOpLog {
    id: String,
    shared: Arc<Shared>,
    disk_reads: Arc<Semaphore>,
    open: Mutex<Option<Open>>,
}

/// What closing gives back.
#[derive(Debug)]
struct Open {
    writer: JoinHandle<()>,
    _lock: DiskLock,
}

impl EmbeddedOpLog {
    /// Opens the log in `disk`'s directory, or makes one there if the directory holds none. A new
    /// journal's id is drawn from `random`.
    ///
    /// It blocks while it reads and checks the whole journal: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`OpenError`] says why, and what to do.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: &EmbeddedLogOptions,
        random: &Random,
    ) -> Result<Self, OpenError> {
        let partition_count = options.partition_count;
        if !(1..=EMBEDDED_LOG_PARTITIONS_MAX).contains(&partition_count) {
            return Err(OpenError::InvalidPartitionCount {
                configured: partition_count,
                partitions_max: EMBEDDED_LOG_PARTITIONS_MAX,
            });
        }
        let lock = disk.lock().map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked,
            _ => OpenError::Io {
                action: "lock the log's directory",
                source,
            },
        })?;
        let recovered = open_journal(disk.as_ref(), partition_count, random)?;
        let Recovered {
            end,
            index,
            partitions,
            dropped_bytes,
        } = recovered;
        if dropped_bytes > 0 {
            tracing::info!(dropped_bytes, "dropped a group that a crash cut short");
        }
        // The journal's own id must not be known to those whose bytes it holds.
        let id = format!("embedded-{}", Digest::of(&end.journal_id.to_le_bytes()));
        let shared = Arc::new(Shared::new(index, &partitions));
        let journal = Journal::new(disk, end, options.segment_bytes);
        let writer = Writer::new(Arc::clone(&shared), journal, partitions);
        let writer = std::thread::Builder::new()
            .name("op-log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(io_error("start the log's writer"))?;
        Ok(Self {
            id,
            shared,
            disk_reads: Arc::new(Semaphore::new(EMBEDDED_LOG_DISK_READS_MAX)),
            open: Mutex::new(Some(Open {
                writer,
                _lock: lock,
            })),
        })
    }

    /// Takes nothing more in, writes what is enqueued, and gives the directory back. Reads that wait,
    /// and everything that comes later, get `Closed`. Blocks until the writer has ended, which takes a
    /// few syncs.
    pub fn close(&self) {
        self.shared.queue.close();
        let open = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(open) = open
            && open.writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
        self.shared.close();
    }

    /// The readable part of `partition`, unless the log is closed.
    fn range(&self, partition: LogPartition) -> Result<PartitionRange, ReadError> {
        check_partition(partition, self.partition_count())?;
        if matches!(
            *self.shared.progress[partition.0 as usize].borrow(),
            Progress::Closed
        ) {
            return Err(ReadError::Closed);
        }
        Ok(self.shared.index().range(partition))
    }
}

/// Recovers the journal that the directory holds, or begins one.
fn open_journal(
    disk: &dyn Disk,
    partition_count: u32,
    random: &Random,
) -> Result<Recovered, OpenError> {
    remove_unfinished(disk).map_err(io_error("remove an unfinished segment"))?;
    let names = disk.list().map_err(io_error("list the log's directory"))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    let last = match numbers.pop() {
        Some(last) => last,
        None => Journal::create(disk, random.next_u64(), partition_count)
            .map_err(io_error("begin a log"))?,
    };
    recover(disk, &numbers, last, partition_count)
}

#[async_trait]
impl OpLog for EmbeddedOpLog {
    fn id(&self) -> &str {
        &self.id
    }

    fn partition_count(&self) -> u32 {
        u32::try_from(self.shared.progress.len())
            .expect("a log has at most EMBEDDED_LOG_PARTITIONS_MAX partitions")
    }

    fn append(
        &self,
        partition: LogPartition,
        document: &DocumentId,
        record: Bytes,
    ) -> AppendFuture {
        let started = Instant::now();
        let enqueued =
            check_append(partition, self.partition_count(), record.len()).and_then(|()| {
                self.shared
                    .queue
                    .push_append(partition, document.clone(), record)
            });
        async move {
            let result = match enqueued {
                Ok(result) => result
                    .await
                    .unwrap_or_else(|_| Err(AppendError::Unknown(Arc::new(WriterLost) as Cause))),
                Err(error) => Err(error),
            };
            count_append(started, &result);
            result
        }
        .boxed()
    }

    async fn read(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        check_partition(partition, self.partition_count())?;
        let mut progress = self.shared.progress[partition.0 as usize].subscribe();
        loop {
            // Marked as seen before the index is asked, so that no change in between is missed.
            let seen = progress.borrow_and_update().clone();
            if matches!(seen, Progress::Closed) {
                return Err(ReadError::Closed);
            }
            let plan = self.shared.index().plan(partition, from, limit)?;
            match (plan, seen) {
                (ReadPlan::Recent(entries), _) => {
                    metrics::counter!(metric_names::READS, "from" => "memory").increment(1);
                    return Ok(entries);
                }
                (ReadPlan::Disk(stretches), _) => {
                    metrics::counter!(metric_names::READS, "from" => "disk").increment(1);
                    let permit = Arc::clone(&self.disk_reads).acquire_owned().await;
                    return tokio::task::spawn_blocking(move || {
                        let _permit = permit;
                        read_stretches(partition, from, limit, &stretches)
                    })
                    .await
                    .unwrap_or_else(|lost| Err(ReadError::Unavailable(Arc::new(lost))));
                }
                (ReadPlan::WaitAtTail, Progress::Stopped(cause)) => {
                    return Err(ReadError::Unavailable(cause));
                }
                (ReadPlan::WaitAtTail, _) => {
                    // The sender is in `self.shared`, so it lives as long as this borrow.
                    let _ = progress.changed().await;
                }
            }
        }
    }

    async fn tail(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        Ok(self.range(partition)?.tail)
    }

    async fn trim(&self, partition: LogPartition, end: LogOffset) -> Result<(), TrimError> {
        let range = self.range(partition).map_err(TrimError::from_read)?;
        if end <= range.trim_point {
            return Ok(());
        }
        if end > range.tail {
            return Err(TrimError::BeyondTail { tail: range.tail });
        }
        let result = self.shared.queue.push_trim(partition, end)?;
        result
            .await
            .unwrap_or_else(|_| Err(TrimError::Unavailable(Arc::new(WriterLost) as Cause)))
    }

    async fn trim_point(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        Ok(self.range(partition)?.trim_point)
    }
}

impl Drop for EmbeddedOpLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
