use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use clock::Random;
use document_types::{DocumentId, LogOffset, LogPartition};
use op_log::{AppendFuture, LogEntry, OpLog, ReadError, ReadLimit, TrimError};
use tokio::sync::Mutex;

/// How often a record is delivered at most.
const DELIVERIES_MAX: u64 = 5;
/// Records of one delivery at most, so that there are many deliveries.
const ENTRIES_MAX: usize = 40;

/// A log of which a reader gets each record one to five times, as from a consumer that begins again at
/// a place that it has passed.
pub struct RedeliveringLog {
    log: Arc<dyn OpLog>,
    random: Random,
    /// What of each partition was delivered last.
    last: Mutex<BTreeMap<LogPartition, Delivered>>,
    delivered_count: AtomicU64,
}

/// Entries that were delivered, and may be again.
struct Delivered {
    entries: Vec<LogEntry>,
    left: u64,
}

impl RedeliveringLog {
    pub fn new(log: Arc<dyn OpLog>, seed: u64) -> Self {
        Self {
            log,
            random: Random::from_seed(seed),
            last: Mutex::default(),
            delivered_count: AtomicU64::new(0),
        }
    }

    /// Records that were delivered, each as often as it was.
    pub fn delivered_count(&self) -> u64 {
        self.delivered_count.load(Ordering::Relaxed)
    }

    /// A number below this one.
    fn below(&self, bound: usize) -> usize {
        let drawn = self.random.below(bound as u64);
        usize::try_from(drawn).expect("it is below a usize")
    }

    fn count(&self, entries: &[LogEntry]) {
        self.delivered_count
            .fetch_add(entries.len() as u64, Ordering::Relaxed);
    }
}

#[async_trait]
impl OpLog for RedeliveringLog {
    fn id(&self) -> &str {
        self.log.id()
    }

    fn partition_count(&self) -> u32 {
        self.log.partition_count()
    }

    fn append(
        &self,
        partition: LogPartition,
        document: &DocumentId,
        record: Bytes,
    ) -> AppendFuture {
        self.log.append(partition, document, record)
    }

    async fn read(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        if let Some(last) = self.last.lock().await.get_mut(&partition)
            && last.left > 0
        {
            last.left -= 1;
            let first = self.below(last.entries.len());
            let again = last.entries[first..].to_vec();
            self.count(&again);
            return Ok(again);
        }
        let limit = ReadLimit {
            entries_max: 1 + self.below(ENTRIES_MAX),
            ..limit
        };
        let entries = self.log.read(partition, from, limit).await?;
        self.count(&entries);
        let delivered = Delivered {
            entries: entries.clone(),
            left: self.random.below(DELIVERIES_MAX),
        };
        self.last.lock().await.insert(partition, delivered);
        Ok(entries)
    }

    async fn tail(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        self.log.tail(partition).await
    }

    async fn trim(&self, partition: LogPartition, end: LogOffset) -> Result<(), TrimError> {
        self.log.trim(partition, end).await
    }

    async fn trim_point(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        self.log.trim_point(partition).await
    }
}
