//! Reads the tails of the logs' partitions, each once for all rooms of this node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use document_types::limits::{LOG_READ_BYTES_MAX, LOG_READ_ENTRIES_MAX, ROOM_LOG_QUEUE_COUNT_MAX};
use document_types::record::{OpRecord, RecordError};
use document_types::{DocumentId, LogOffset, LogPartition, LogSource};
use op_log::{LogEntry, OpLog, ReadError, ReadLimit};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One record at its place in a partition.
#[derive(Debug)]
pub(crate) struct TailRecord {
    pub(crate) offset: LogOffset,
    pub(crate) record: OpRecord,
}

/// What a room hears of its document from one source.
pub(crate) struct TailSubscription {
    /// The first offset that `records` may bring; the room reads what is before it by itself.
    pub(crate) from: LogOffset,
    /// The document's records, in log order. Its end means that the partition can't be read on.
    pub(crate) records: mpsc::Receiver<Arc<TailRecord>>,
}

/// A record of the log can't be read, so nothing after it may be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    #[error("the log can't be read")]
    Read(#[from] ReadError),
    #[error("the record at offset {offset} can't be read")]
    Record {
        offset: LogOffset,
        #[source]
        source: RecordError,
    },
    #[error("what the log says can't be judged")]
    Look(#[from] crate::node::LookError),
    #[error("the node is shutting down")]
    Stopped,
}

/// Subscriptions to the partitions' tails.
pub(crate) struct PartitionTails {
    tasks: TaskTracker,
    stop: CancellationToken,
    readers: Mutex<BTreeMap<LogSource, mpsc::Sender<Subscribe>>>,
}

struct Subscribe {
    document: DocumentId,
    reply: oneshot::Sender<TailSubscription>,
}

impl PartitionTails {
    pub(crate) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            tasks,
            stop,
            readers: Mutex::default(),
        }
    }

    /// Subscribes a document's only room to the document's records that come from `source`, which is
    /// in `log`.
    pub(crate) async fn subscribe(
        &self,
        source: &LogSource,
        log: &Arc<dyn OpLog>,
        document: &DocumentId,
    ) -> Result<TailSubscription, TailError> {
        let (reply, subscription) = oneshot::channel();
        let request = Subscribe {
            document: document.clone(),
            reply,
        };
        let reader = self.reader(source, log).await?;
        reader.send(request).await.map_err(|_| TailError::Stopped)?;
        subscription.await.map_err(|_| TailError::Stopped)
    }

    /// The source's running reader, started at the tail if there is none.
    async fn reader(
        &self,
        source: &LogSource,
        log: &Arc<dyn OpLog>,
    ) -> Result<mpsc::Sender<Subscribe>, TailError> {
        if let Some(running) = self.running(source) {
            return Ok(running);
        }
        let position = log.tail(source.partition).await?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = readers.get(source).filter(|reader| !reader.is_closed()) {
            return Ok(running.clone());
        }
        let (sender, requests) = mpsc::channel(ROOM_LOG_QUEUE_COUNT_MAX);
        let reader = PartitionReader {
            log: log.clone(),
            source: source.clone(),
            position,
            rooms: BTreeMap::new(),
            requests,
            stop: self.stop.clone(),
        };
        self.tasks.spawn(reader.run());
        readers.insert(source.clone(), sender.clone());
        Ok(sender)
    }

    fn running(&self, source: &LogSource) -> Option<mpsc::Sender<Subscribe>> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers
            .get(source)
            .filter(|reader| !reader.is_closed())
            .cloned()
    }
}

struct PartitionReader {
    log: Arc<dyn OpLog>,
    source: LogSource,
    position: LogOffset,
    rooms: BTreeMap<DocumentId, mpsc::Sender<Arc<TailRecord>>>,
    requests: mpsc::Receiver<Subscribe>,
    stop: CancellationToken,
}

impl PartitionReader {
    async fn run(mut self) {
        let limit = ReadLimit {
            entries_max: LOG_READ_ENTRIES_MAX,
            bytes_max: LOG_READ_BYTES_MAX,
        };
        loop {
            let read = self.log.read(self.source.partition, self.position, limit);
            let entries = tokio::select! {
                biased;
                request = self.requests.recv() => {
                    let Some(request) = request else { return };
                    self.add(request);
                    continue;
                }
                () = no_more_needed(&self.stop, &self.rooms) => return,
                entries = read => entries,
            };
            if let Err(error) = self.deliver(entries).await {
                // Dropping the senders closes the partition's rooms, whose sessions join again, and
                // the next join starts a reader anew.
                tracing::error!(
                    source = %self.source,
                    error = &error as &dyn std::error::Error,
                    "the partition can't be read on"
                );
                return;
            }
        }
    }

    fn add(&mut self, request: Subscribe) {
        let (sender, records) = mpsc::channel(ROOM_LOG_QUEUE_COUNT_MAX);
        self.rooms.insert(request.document, sender);
        // A room that gave up waiting is noticed at the document's next record.
        let _ = request.reply.send(TailSubscription {
            from: self.position,
            records,
        });
    }

    async fn deliver(
        &mut self,
        entries: Result<Vec<LogEntry>, ReadError>,
    ) -> Result<(), TailError> {
        for entry in entries? {
            self.position = entry.offset.next();
            let Some(room) = self.rooms.get(&entry.document) else {
                continue;
            };
            let record = decode(&entry)?;
            if room
                .send(Arc::new(TailRecord {
                    offset: entry.offset,
                    record,
                }))
                .await
                .is_err()
            {
                self.rooms.remove(&entry.document);
            }
        }
        Ok(())
    }
}

/// Waits until the node stops and all rooms are closed: they need the tail to answer what was
/// offered to them.
async fn no_more_needed(
    stop: &CancellationToken,
    rooms: &BTreeMap<DocumentId, mpsc::Sender<Arc<TailRecord>>>,
) {
    stop.cancelled().await;
    for room in rooms.values() {
        room.closed().await;
    }
}

/// Reads `document`'s records in a partition of `log` from `from` up to `end`, exclusive.
pub(crate) async fn read_range(
    log: &dyn OpLog,
    partition: LogPartition,
    document: &DocumentId,
    mut from: LogOffset,
    end: LogOffset,
) -> Result<Vec<TailRecord>, TailError> {
    let limit = ReadLimit {
        entries_max: LOG_READ_ENTRIES_MAX,
        bytes_max: LOG_READ_BYTES_MAX,
    };
    let mut records = Vec::new();
    while from < end {
        for entry in log.read(partition, from, limit).await? {
            from = entry.offset.next();
            if entry.offset < end && entry.document == *document {
                records.push(TailRecord {
                    offset: entry.offset,
                    record: decode(&entry)?,
                });
            }
        }
    }
    Ok(records)
}

fn decode(entry: &LogEntry) -> Result<OpRecord, TailError> {
    OpRecord::decode(entry.record.clone()).map_err(|source| TailError::Record {
        offset: entry.offset,
        source,
    })
}
