//! Folds the tails of documents that are due into snapshots, one document at a time.

use std::sync::Arc;

use bytes::Bytes;
use clock::Interrupted;
use crdt_document::{CrdtDocument, CrdtError};
use document_store::{FoldInput, FoldOutcome, FoldedSnapshot, SnapshotId, StoreError};
use document_types::limits::FOLD_AGE_CHECK_INTERVAL;
use document_types::record::Payload;
use document_types::{DocumentId, PeerId};
use tokio::time::Instant;

use crate::MergerParts;
use crate::fold_queue::FoldQueue;
use crate::metrics;

/// The author that a folding replica never writes as.
const NOBODY: PeerId = PeerId(0);

/// Why a document was not folded.
#[derive(Debug, thiserror::Error)]
enum FoldError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the engine can't fold the document")]
    Engine(#[from] CrdtError),
    #[error("the fold was interrupted")]
    Interrupted(#[from] Interrupted),
}

/// Folds until the merger stops.
pub(crate) async fn run(parts: Arc<MergerParts>, queue: Arc<FoldQueue>) {
    loop {
        let document = tokio::select! {
            biased;
            () = parts.stop.cancelled() => return,
            document = queue.next() => document,
            () = tokio::time::sleep(FOLD_AGE_CHECK_INTERVAL) => {
                queue.offer_aged(parts.clock.now_ms());
                continue;
            }
        };
        if let Err(error) = fold(&parts, &document).await {
            tracing::error!(
                %document,
                error = &error as &dyn std::error::Error,
                "a document can't be folded"
            );
            if let FoldError::Engine(error) = error {
                mark_degraded(&parts, &document, &error).await;
            }
        }
    }
}

async fn fold(parts: &MergerParts, document: &DocumentId) -> Result<(), FoldError> {
    let started = Instant::now();
    let Some(input) = parts.store.begin_fold(document).await? else {
        return Ok(());
    };
    let input = Arc::new(input);
    let work = input.clone();
    let snapshot = parts.offload.run(move || materialise(&work)).await??;
    let id = SnapshotId(parts.ids.uuid());
    let now_ms = parts.clock.now_ms();
    parts
        .store
        .write_snapshot(document, id, &snapshot, &input.version, now_ms)
        .await?;
    let folded = FoldedSnapshot::new(id, &snapshot);
    match parts.store.finish_fold(document, &input, folded).await? {
        FoldOutcome::Done => ::metrics::counter!(metrics::FOLDS).increment(1),
        FoldOutcome::Superseded => ::metrics::counter!(metrics::FOLDS_SUPERSEDED).increment(1),
    }
    parts.store.sweep_snapshots(document, now_ms).await?;
    ::metrics::histogram!(metrics::FOLD_MS).record(started.elapsed().as_secs_f64() * 1_000.0);
    Ok(())
}

/// Imports the tail on top of the snapshot.
fn materialise(input: &FoldInput) -> Result<Bytes, CrdtError> {
    let replica = match &input.snapshot {
        Some(snapshot) => CrdtDocument::from_snapshot(snapshot, NOBODY)?,
        None => CrdtDocument::new(NOBODY)?,
    };
    let tail = input
        .tail
        .iter()
        .filter_map(|update| match &update.payload {
            Payload::Inline(bytes) => Some(bytes),
            _ => None,
        });
    replica.import_log(&tail.collect::<Vec<_>>())?;
    replica.export_snapshot()
}

async fn mark_degraded(parts: &MergerParts, document: &DocumentId, error: &CrdtError) {
    ::metrics::counter!(metrics::DOCUMENTS_DEGRADED).increment(1);
    let now_ms = parts.clock.now_ms();
    if let Err(error) = parts
        .store
        .mark_degraded(document, &error.to_string(), now_ms)
        .await
    {
        tracing::error!(
            %document,
            error = &error as &dyn std::error::Error,
            "a document can't be marked as degraded"
        );
    }
}
