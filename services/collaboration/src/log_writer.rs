//! Numbers this node's records and appends them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clock::HybridLogicalClock;
use document_types::limits::{APPEND_ATTEMPTS_MAX, APPEND_RETRY_PAUSE, APPEND_RETRY_PAUSE_MAX};
use document_types::record::{Body, NodePosition, OpRecord};
use document_types::{DocumentId, LogPartition, NodeEpoch, NodeId, RegionId};
use op_log::{AppendError, AppendFuture, OpLog};
use tokio::sync::{oneshot, watch};

/// Who appends: a node in one of its lives.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// The node's region.
    pub region: RegionId,
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub epoch: NodeEpoch,
}

/// Appends records under this node's sequence numbers.
///
/// A number is given under its partition's lock, in the same breath in which the record is enqueued,
/// so that the numbers stand in the log in their order. A record whose result is not known is
/// appended again with the same bytes, and so under the same number: readers count it once. A number
/// whose record was definitely not written and is given up is filled by an empty record, so that
/// readers don't take it for a loss.
pub(crate) struct LogWriter {
    log: Arc<dyn OpLog>,
    identity: NodeIdentity,
    stamps: Arc<HybridLogicalClock>,
    /// The last number given, a partition each.
    sequences: Vec<Mutex<u64>>,
    /// How many records of each document have a number that is not used yet.
    open: watch::Sender<OpenRecords>,
}

type OpenRecords = BTreeMap<DocumentId, usize>;

/// What became of an append.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is in the log. The tail will bring it.
    Written,
    /// It is not, and will not be.
    Not(AppendError),
    /// It may be. An empty record stands under the same number, behind it if it is there: the first
    /// of the two in the log says what became of ours.
    Unknown,
    /// It may be, and the log takes nothing that would say so.
    Unsettled,
}

/// A record that was numbered and enqueued.
pub(crate) struct Enqueued {
    partition: LogPartition,
    document: DocumentId,
    sequence: u64,
    bytes: Bytes,
    result: AppendFuture,
    open: OpenRecord,
}

/// Counts a record as open until its number is used.
struct OpenRecord {
    document: DocumentId,
    open: watch::Sender<OpenRecords>,
}

impl OpenRecord {
    fn of(document: &DocumentId, open: &watch::Sender<OpenRecords>) -> Self {
        open.send_modify(|open| *open.entry(document.clone()).or_default() += 1);
        Self {
            document: document.clone(),
            open: open.clone(),
        }
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        self.open.send_modify(|open| {
            if let Some(count) = open.get_mut(&self.document) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&self.document);
                }
            }
        });
    }
}

impl Enqueued {
    /// The record's number.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl LogWriter {
    pub(crate) fn new(
        log: Arc<dyn OpLog>,
        identity: NodeIdentity,
        stamps: Arc<HybridLogicalClock>,
    ) -> Self {
        let sequences = (0..log.partition_count()).map(|_| Mutex::new(0)).collect();
        Self {
            log,
            identity,
            stamps,
            sequences,
            open: watch::Sender::default(),
        }
    }

    /// Waits until no record of `document` is on its way any more; `None` if none is. A room that ended
    /// may have left one behind, and the next room's records have to come after it.
    pub(crate) fn settled(
        &self,
        document: &DocumentId,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut open = self.open.subscribe();
        let document = document.clone();
        let is_open = open.borrow().contains_key(&document);
        is_open.then_some(async move {
            // The writer lives as long as whoever waits here, so the wait ends with the record's.
            let _ = open.wait_for(|open| !open.contains_key(&document)).await;
        })
    }

    /// Gives a record its number and enqueues it. `beat` is what its room needs.
    pub(crate) fn enqueue(
        &self,
        partition: LogPartition,
        document: &DocumentId,
        body: Body,
        beat: Duration,
    ) -> Enqueued {
        let mut last = self.sequences[partition.0 as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let record = OpRecord {
            position: self.position(*last),
            traceparent: String::new(),
            body,
            beat,
        };
        let bytes = record.encode();
        let result = self.log.append(partition, document, bytes.clone());
        Enqueued {
            partition,
            document: document.clone(),
            sequence: *last,
            bytes,
            result,
            open: OpenRecord::of(document, &self.open),
        }
    }

    /// Waits for the result, trying again with the same bytes while it is not a definite one, and
    /// tells `outcome` of it. It returns when the record's number is used, or the log is closed: don't
    /// drop it before, or readers miss the number.
    pub(crate) async fn settle(&self, record: Enqueued, outcome: oneshot::Sender<Appended>) {
        let Enqueued {
            partition,
            document,
            sequence,
            bytes,
            mut result,
            open: _open,
        } = record;
        let mut pause = APPEND_RETRY_PAUSE;
        let mut ever_unknown = false;
        let mut attempt = 1;
        let error = loop {
            match result.await {
                Ok(_) => {
                    // Whoever asked may have seen the record already.
                    let _ = outcome.send(Appended::Written);
                    return;
                }
                Err(error) => {
                    ever_unknown |= error.may_be_written();
                    if attempt >= APPEND_ATTEMPTS_MAX || !error.is_retryable() {
                        break error;
                    }
                }
            }
            metrics::counter!(crate::metrics::APPEND_RETRIES).increment(1);
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
            result = self.log.append(partition, &document, bytes.clone());
        };
        let mut filling = pin!(self.fill(partition, &document, sequence));
        let appended = if ever_unknown {
            match tokio::time::timeout(APPEND_RETRY_PAUSE_MAX, &mut filling).await {
                Ok(()) => Appended::Unknown,
                Err(_) => Appended::Unsettled,
            }
        } else {
            Appended::Not(error)
        };
        let is_filled = matches!(appended, Appended::Unknown);
        let _ = outcome.send(appended);
        if !is_filled {
            filling.await;
        }
    }

    /// Puts an empty record under a number whose record is given up, as soon as the log takes it.
    async fn fill(&self, partition: LogPartition, document: &DocumentId, sequence: u64) {
        let mut pause = APPEND_RETRY_PAUSE;
        loop {
            if let Ok(stamp) = self.stamps.stamp().await {
                let filler = OpRecord {
                    position: self.position(sequence),
                    traceparent: String::new(),
                    body: Body::Heartbeat(stamp),
                    beat: Duration::ZERO,
                };
                match self.log.append(partition, document, filler.encode()).await {
                    Ok(_) => return,
                    Err(AppendError::Closed) => return,
                    Err(error) => tracing::error!(
                        partition = partition.0,
                        sequence,
                        error = &error as &dyn std::error::Error,
                        "a record's number could not be filled yet"
                    ),
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(APPEND_RETRY_PAUSE_MAX);
        }
    }

    fn position(&self, sequence: u64) -> NodePosition {
        NodePosition {
            region: self.identity.region.clone(),
            node: self.identity.node,
            epoch: self.identity.epoch,
            sequence,
        }
    }

    pub(crate) fn identity(&self) -> &NodeIdentity {
        &self.identity
    }
}
