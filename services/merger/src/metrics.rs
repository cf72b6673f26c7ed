//! Names of the merger's metrics. None carries a document id.

/// Counter: updates that were merged.
pub const UPDATES_MERGED: &str = "collabedit_merger_updates_total";
/// Counter, by `reason`: updates that the fold found void.
pub const UPDATES_VOID: &str = "collabedit_merger_updates_void_total";
/// Histogram, milliseconds: one document's batch, from the log into the store.
pub const MERGE_MS: &str = "collabedit_merger_batch_ms";
/// Histogram, milliseconds: from an update's stamp at the gate to its place in the store.
pub const COMMIT_LATENCY_MS: &str = "collabedit_merger_commit_latency_ms";
/// Counter: batches that found the state moved by someone else, and judged again.
pub const POSITION_MOVED: &str = "collabedit_merger_position_moved_total";
/// Counter: batches that failed and went back to their queue.
pub const BATCHES_RETRIED: &str = "collabedit_merger_batches_retried_total";
/// Counter, by `region`: records that a region's nodes have numbered and that its log, or the copy of it,
/// lacks here.
pub const RECORDS_MISSING: &str = "collabedit_merger_records_missing_total";
/// Counter: folds that set a new snapshot.
pub const FOLDS: &str = "collabedit_merger_folds_total";
/// Counter: folds that somebody else was faster with.
pub const FOLDS_SUPERSEDED: &str = "collabedit_merger_folds_superseded_total";
/// Histogram, milliseconds: one fold.
pub const FOLD_MS: &str = "collabedit_merger_fold_ms";
/// Counter: documents that the engine could not fold. They are served as snapshot and tail.
pub const DOCUMENTS_DEGRADED: &str = "collabedit_merger_documents_degraded_total";
