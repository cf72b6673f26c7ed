//! What is told of records that are in the store.

use document_store::RecordOutcome;
use document_types::record::{Body, OpRecord};
use document_types::{DocumentId, LogOffset, LogSource, TraceContext};
use tokio::time::Instant;
use traces::Stage;

use crate::MergerParts;
use crate::metrics;

/// Some records of one document on their way into the store.
pub(crate) struct Committing<'a> {
    parts: &'a MergerParts,
    source: &'a LogSource,
    document: &'a DocumentId,
    /// When merging began,
    started: Instant,
    /// and when the transaction did.
    committing: Instant,
}

impl<'a> Committing<'a> {
    /// The transaction begins now.
    pub(crate) fn begin(
        parts: &'a MergerParts,
        source: &'a LogSource,
        document: &'a DocumentId,
        started: Instant,
    ) -> Self {
        Self {
            parts,
            source,
            document,
            started,
            committing: Instant::now(),
        }
    }

    /// It has committed `outcomes`: the last of `records`, from the first one on that the store did not
    /// have.
    pub(crate) fn committed(self, records: &[(LogOffset, OpRecord)], outcomes: &[RecordOutcome]) {
        let now_ms = self.parts.clock.now_ms();
        let first = outcomes.first().map(|outcome| outcome.offset);
        let is_new = |offset: LogOffset| first.is_some_and(|first| offset >= first);
        for (offset, record) in records.iter().filter(|(offset, _)| is_new(*offset)) {
            let Body::Updates(batch) = &record.body else {
                continue;
            };
            let mut told = None;
            for update in &batch.content {
                let latency_ms = now_ms.saturating_sub(update.stamp.hlc.millis());
                #[allow(clippy::cast_precision_loss)] // Of what a float can't hold nobody waits.
                ::metrics::histogram!(metrics::COMMIT_LATENCY_MS).record(latency_ms as f64);
                // The updates of one batch are one part of its trace.
                if update.stamp.trace.is_some() && update.stamp.trace != told {
                    told = update.stamp.trace;
                    self.tell(told, *offset);
                }
            }
        }
    }

    fn tell(&self, append: Option<TraceContext>, offset: LogOffset) {
        let mut merge = self
            .parts
            .traces
            .span_since(Stage::Merge, append, self.started);
        merge.set("collabedit.document", self.document.to_string());
        merge.set("collabedit.source", self.source.to_string());
        merge.set("collabedit.offset", offset.0);
        merge.child_since(Stage::Commit, self.committing).end();
    }
}
