//! One partition of one log: reads it in order, and merges the documents whose records it finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use document_store::{AppendError, AppendOutcome};
use document_types::limits::{
    LOG_READ_BYTES_MAX, LOG_READ_ENTRIES_MAX, MERGE_ATTEMPTS_MAX, MERGE_CONCURRENT_DOCUMENTS,
    MERGE_RETRY_PAUSE, MERGE_RETRY_PAUSE_MAX, MERGE_STATES_COUNT_MAX,
};
use document_types::record::OpRecord;
use document_types::{DocumentId, LogOffset, LogSource};
use futures::StreamExt;
use lru::LruCache;
use op_log::{LogEntry, OpLog, ReadError, ReadLimit};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::MergerParts;
use crate::fold_queue::FoldQueue;
use crate::judge::DocumentState;
use crate::metrics;
use crate::sequences::Sequences;
use crate::told::Committing;

/// How far a partition is merged.
#[derive(Clone, Debug)]
pub struct MergeProgress {
    merged_end: watch::Receiver<LogOffset>,
}

impl MergeProgress {
    /// The offset after the last record that is in its document's state or pending.
    pub fn merged_end(&self) -> LogOffset {
        *self.merged_end.borrow()
    }

    /// Waits until everything below `end` is merged, or merging has stopped.
    pub async fn wait_for(&self, end: LogOffset) {
        // An error means that the merger has stopped, and nothing more will be merged.
        let _ = self
            .merged_end
            .clone()
            .wait_for(|merged_end| *merged_end >= end)
            .await;
    }
}

/// Starts merging one partition, until `stop`.
pub(crate) fn start(
    parts: Arc<MergerParts>,
    folds: Arc<FoldQueue>,
    (source, log): (LogSource, Arc<dyn OpLog>),
    stop: CancellationToken,
) -> MergeProgress {
    let (progress, merged_end) = watch::channel(LogOffset(0));
    let merging = PartitionMerger {
        states: LruCache::new(MERGE_STATES_COUNT_MAX),
        sequences: Sequences::default(),
        parts: parts.clone(),
        folds,
        source,
        log,
        progress,
        stop,
    };
    parts.tasks.spawn(merging.run());
    MergeProgress { merged_end }
}

struct PartitionMerger {
    parts: Arc<MergerParts>,
    folds: Arc<FoldQueue>,
    source: LogSource,
    log: Arc<dyn OpLog>,
    progress: watch::Sender<LogOffset>,
    stop: CancellationToken,
    /// The fold's state of documents that were merged lately. It is a cache: a transaction states
    /// the position it goes on from, and a state that is behind is loaded anew.
    states: LruCache<DocumentId, DocumentState>,
    sequences: Sequences,
}

/// Why a partition can't be merged on for now.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error("the store failed")]
    Store(#[from] document_store::StoreError),
    #[error("the merged records could not be stored")]
    Append(#[from] AppendError),
    #[error("the log can't be read")]
    Log(#[from] ReadError),
    #[error("the record at offset {offset} can't be read")]
    Record {
        offset: LogOffset,
        #[source]
        source: document_types::record::RecordError,
    },
    #[error("the document's state keeps moving under this merger")]
    KeepsMoving,
}

impl PartitionMerger {
    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut pause = MERGE_RETRY_PAUSE;
        loop {
            let merging = self.merge_on(&mut pause);
            let stopped = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Err(error) = merging => error,
            };
            // Everything here can be done again: nothing is merged twice, and the position that is
            // remembered is behind, never ahead.
            self.states.clear();
            ::metrics::counter!(metrics::BATCHES_RETRIED).increment(1);
            tracing::error!(
                source = %self.source,
                error = &stopped as &dyn std::error::Error,
                "merging stopped, and will go on after a pause"
            );
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(MERGE_RETRY_PAUSE_MAX);
        }
    }

    /// Merges from the remembered position on, until something fails.
    async fn merge_on(
        &mut self,
        pause: &mut std::time::Duration,
    ) -> Result<std::convert::Infallible, MergeError> {
        let limit = ReadLimit {
            entries_max: LOG_READ_ENTRIES_MAX,
            bytes_max: LOG_READ_BYTES_MAX,
        };
        let partition = self.source.partition;
        let remembered = self.parts.store.merged(&self.source).await?;
        let mut position = match remembered {
            Some(last) => last.next(),
            None => self.log.trim_point(partition).await?,
        };
        self.progress.send_replace(position);
        loop {
            let entries = self.log.read(partition, position, limit).await?;
            let Some(last) = entries.last().map(|entry| entry.offset) else {
                continue;
            };
            self.merge(&entries).await?;
            self.parts.store.set_merged(&self.source, last).await?;
            position = last.next();
            self.progress.send_replace(position);
            *pause = MERGE_RETRY_PAUSE;
        }
    }

    /// What is missing is for other regions to offer again; here it is only said.
    fn look_for_gaps(&mut self, offset: LogOffset, record: &OpRecord) {
        let missing = self
            .sequences
            .note(&record.position, tokio::time::Instant::now());
        if missing > 0 {
            let region = self.source.region.to_string();
            ::metrics::counter!(metrics::RECORDS_MISSING, "region" => region).increment(missing);
            tracing::error!(
                source = %self.source,
                %offset,
                node = record.position.node.0,
                epoch = record.position.epoch.0,
                sequence = record.position.sequence,
                record_count = missing,
                "records that should have come long before this one are missing"
            );
        }
    }

    /// Merges entries, each document's in their order and different documents side by side.
    async fn merge(&mut self, entries: &[LogEntry]) -> Result<(), MergeError> {
        let mut documents: BTreeMap<DocumentId, Vec<(LogOffset, OpRecord)>> = BTreeMap::new();
        for entry in entries {
            let record =
                OpRecord::decode(entry.record.clone()).map_err(|source| MergeError::Record {
                    offset: entry.offset,
                    source,
                })?;
            self.look_for_gaps(entry.offset, &record);
            // Heartbeats and fillers belong to no document's state.
            if let Some(document) = record.document().cloned() {
                documents
                    .entry(document)
                    .or_default()
                    .push((entry.offset, record));
            }
        }
        let merging = documents.into_iter().map(|(document, records)| {
            let state = self.states.pop(&document);
            merge_document(
                &self.parts,
                &self.folds,
                &self.source,
                document,
                records,
                state,
            )
        });
        let merged: Vec<_> = futures::stream::iter(merging.collect::<Vec<_>>())
            .buffered(MERGE_CONCURRENT_DOCUMENTS)
            .collect()
            .await;
        for merged in merged {
            let (document, state) = merged?;
            self.states.put(document, state);
        }
        Ok(())
    }
}

/// Merges one document's records, judging them again if the state turns out to have moved.
async fn merge_document(
    parts: &MergerParts,
    folds: &FoldQueue,
    source: &LogSource,
    document: DocumentId,
    records: Vec<(LogOffset, OpRecord)>,
    mut cached: Option<DocumentState>,
) -> Result<(DocumentId, DocumentState), MergeError> {
    let started = tokio::time::Instant::now();
    for _ in 0..MERGE_ATTEMPTS_MAX {
        let mut state = match cached.take() {
            Some(state) => state,
            None => DocumentState::load(&parts.store, &document, source, parts.offload).await?,
        };
        let outcomes = state
            .judge(&parts.store, &document, source, &records)
            .await?;
        if outcomes.is_empty() {
            return Ok((document, state));
        }
        let count: usize = outcomes.iter().map(|outcome| outcome.admitted.len()).sum();
        let committing = Committing::begin(parts, source, &document, started);
        match parts
            .store
            .append(&document, source, state.position(), &outcomes)
            .await?
        {
            AppendOutcome::Appended { position, head } => {
                committing.committed(&records, &outcomes);
                state.appended(position);
                folds.offer(&document, &head);
                ::metrics::counter!(metrics::UPDATES_MERGED).increment(count as u64);
                ::metrics::histogram!(metrics::MERGE_MS)
                    .record(started.elapsed().as_secs_f64() * 1_000.0);
                return Ok((document, state));
            }
            AppendOutcome::PositionMoved => {
                ::metrics::counter!(metrics::POSITION_MOVED).increment(1);
            }
        }
    }
    Err(MergeError::KeepsMoving)
}
