//! A log with bugs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use document_types::record::OpRecord;
use document_types::{DocumentId, LogOffset, LogPartition, NodeId};
use futures::FutureExt;
use op_log::{
    AppendError, AppendFuture, LogEntry, OpLog, ReadError, ReadLimit, SimulatedOpLog, TrimError,
};

use super::Bug;

/// How late a record comes that was said to have failed.
const LATENESS: Duration = Duration::from_millis(700);
/// How often a log that shows too much looks whether that is true by now.
const LOOK: Duration = Duration::from_millis(1);

/// A log with one of the bugs that concern it.
pub struct BuggyLog {
    inner: Arc<SimulatedOpLog>,
    bug: Bug,
    /// Whose log it is, if it is a node's.
    node: Option<NodeId>,
    on_the_way: Arc<Mutex<VecDeque<OnTheWay>>>,
}

/// A record whose append has no result yet.
#[derive(Clone)]
struct OnTheWay {
    partition: LogPartition,
    document: DocumentId,
    record: Bytes,
}

impl BuggyLog {
    /// Around `inner`.
    pub fn new(inner: Arc<SimulatedOpLog>, bug: Bug, node: Option<NodeId>) -> Self {
        Self {
            inner,
            bug,
            node,
            on_the_way: Arc::default(),
        }
    }

    async fn read_early(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        loop {
            let tail = self.inner.tail(partition).await?;
            if from < tail {
                return self.inner.read(partition, from, limit).await;
            }
            let early = lock(&self.on_the_way)
                .iter()
                .find(|early| early.partition == partition)
                .cloned();
            if let Some(early) = early.filter(|_| from == tail) {
                return Ok(vec![LogEntry {
                    offset: from,
                    document: early.document,
                    record: early.record,
                }]);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_own(&self, entry: &LogEntry) -> bool {
        OpRecord::decode(entry.record.clone())
            .is_ok_and(|record| Some(record.position.node) == self.node)
    }

    fn own_first(&self, entries: &mut [LogEntry]) {
        for second in 1..entries.len() {
            let same = entries[second - 1].document == entries[second].document;
            if same && self.is_own(&entries[second]) && !self.is_own(&entries[second - 1]) {
                exchange(entries, second - 1, second);
            }
        }
    }
}

#[async_trait]
impl OpLog for BuggyLog {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn partition_count(&self) -> u32 {
        self.inner.partition_count()
    }

    fn append(
        &self,
        partition: LogPartition,
        document: &DocumentId,
        record: Bytes,
    ) -> AppendFuture {
        let (log, bug, document) = (self.inner.clone(), self.bug, document.clone());
        let on_the_way = self.on_the_way.clone();
        lock(&on_the_way).push_back(OnTheWay {
            partition,
            document: document.clone(),
            record: record.clone(),
        });
        let appending = log.append(partition, &document, record.clone());
        async move {
            let result = appending.await;
            lock(&on_the_way).retain(|other| other.record != record);
            match (bug, &result) {
                (Bug::UnknownAppendIsWritten, Err(AppendError::Unknown(_))) => Ok(LogOffset(0)),
                (Bug::FailedAppendComesLate, Err(AppendError::Failed(_))) => {
                    #[allow(clippy::disallowed_methods)] // Nobody waits for a bug.
                    tokio::spawn(async move {
                        tokio::time::sleep(LATENESS).await;
                        log.append(partition, &document, record).await
                    });
                    result
                }
                _ => result,
            }
        }
        .boxed()
    }

    async fn read(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        if self.bug == Bug::ReadsWhatIsNotDurable {
            return self.read_early(partition, from, limit).await;
        }
        let mut entries = self.inner.read(partition, from, limit).await?;
        match self.bug {
            Bug::OwnRecordsFirst => self.own_first(&mut entries),
            Bug::HalvesOutOfOrder => {
                let half = entries.len() / 2;
                (0..half).for_each(|first| exchange(&mut entries, first, half + first));
            }
            _ => {}
        }
        Ok(entries)
    }

    async fn tail(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        self.inner.tail(partition).await
    }

    async fn trim(&self, partition: LogPartition, end: LogOffset) -> Result<(), TrimError> {
        self.inner.trim(partition, end).await
    }

    async fn trim_point(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        self.inner.trim_point(partition).await
    }
}

/// Exchanges what stands at two offsets.
fn exchange(entries: &mut [LogEntry], one: usize, other: usize) {
    entries.swap(one, other);
    let offset = entries[one].offset;
    entries[one].offset = entries[other].offset;
    entries[other].offset = offset;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
