//! What a room tells of the few batches that are traced.

use std::collections::BTreeMap;

use document_types::limits::TRACED_UPDATES_SHOWN_TOGETHER_MAX;
use document_types::record::StampedUpdate;
use document_types::{DocumentId, LogOffset, LogPartition, TraceContext};
use traces::{Span, Stage, Traces};

use crate::gate::{BatchKey, Offer};

/// The spans of a room. It holds nothing as long as nothing is traced.
pub(super) struct TracedBatches {
    traces: Traces,
    batches: BTreeMap<BatchKey, TracedBatch>,
    /// Of updates that were let in and are not shown yet, each with the append that it is a part of.
    unshown: Vec<(TraceContext, Span)>,
}

/// Where one batch is.
struct TracedBatch {
    parent: TraceContext,
    gate: Option<Span>,
    dry_run: Option<Span>,
    append: Option<Span>,
}

impl TracedBatches {
    pub(super) fn new(traces: Traces) -> Self {
        Self {
            traces,
            batches: BTreeMap::new(),
            unshown: Vec::new(),
        }
    }

    /// A batch has come into the room.
    pub(super) fn arrived(
        &mut self,
        key: BatchKey,
        trace: Option<TraceContext>,
        document: &DocumentId,
        correlation_id: &str,
    ) {
        let Some(parent) = trace else { return };
        let mut gate = self.traces.span(Stage::Gate, trace);
        gate.set("collabedit.document", document.to_string());
        gate.set("collabedit.correlation_id", correlation_id.to_owned());
        let batch = TracedBatch {
            parent,
            gate: Some(gate),
            dry_run: None,
            append: None,
        };
        self.batches.insert(key, batch);
    }

    /// These updates go into the dry run.
    pub(super) fn trying(&mut self, offers: &[Offer]) {
        self.of_each(offers, |batch, _| {
            if let (Some(gate), None) = (&batch.gate, &batch.dry_run) {
                batch.dry_run = Some(gate.child(Stage::DryRun));
            }
        });
    }

    /// The dry run is over.
    pub(super) fn tried(&mut self) {
        for batch in self.batches.values_mut() {
            batch.dry_run = None;
        }
    }

    /// These offers, which `stamped` are made from, are about to be appended: from there on it is the
    /// record that carries their traces.
    pub(super) fn appending(&mut self, offers: &[Offer], stamped: &mut [StampedUpdate]) {
        let traces = self.traces.clone();
        self.of_each(offers, |batch, index| {
            batch.gate = None;
            let parent = batch.parent;
            let append = batch
                .append
                .get_or_insert_with(|| traces.span(Stage::Append, Some(parent)));
            stamped[index].stamp.trace = append.context();
        });
    }

    /// The log has brought back a record with updates of this batch.
    pub(super) fn landed(&mut self, key: BatchKey, partition: LogPartition, offset: LogOffset) {
        let batch = self.batches.get_mut(&key);
        if let Some(mut append) = batch.and_then(|batch| batch.append.take()) {
            append.set("collabedit.partition", u64::from(partition.0));
            append.set("collabedit.offset", offset.0);
        }
    }

    /// The batch is answered.
    pub(super) fn answered(&mut self, key: BatchKey) {
        self.batches.remove(&key);
    }

    /// The batch is refused with this code.
    pub(super) fn refused(&mut self, key: BatchKey, code: &str) {
        let Some(batch) = self.batches.remove(&key) else {
            return;
        };
        for mut span in [batch.gate, batch.append].into_iter().flatten() {
            span.fail(code);
        }
    }

    /// An update was let in, and will be shown.
    pub(super) fn let_in(&mut self, trace: Option<TraceContext>) {
        let Some(append) = trace else { return };
        // The updates of one batch are one part of its trace.
        let is_known = |(known, _): &(TraceContext, Span)| *known == append;
        if self.unshown.len() < TRACED_UPDATES_SHOWN_TOGETHER_MAX
            && !self.unshown.iter().any(is_known)
        {
            let deliver = self.traces.span(Stage::Deliver, trace);
            self.unshown.push((append, deliver));
        }
    }

    /// What was let in has been shown to so many sessions.
    pub(super) fn shown(&mut self, session_count: usize) {
        for (_, mut deliver) in self.unshown.drain(..) {
            deliver.set("collabedit.session_count", session_count);
        }
    }

    /// Does something for each traced batch that one of `offers` belongs to, and tells it which.
    fn of_each(&mut self, offers: &[Offer], mut tell: impl FnMut(&mut TracedBatch, usize)) {
        if self.batches.is_empty() {
            return;
        }
        for (index, offer) in offers.iter().enumerate() {
            if let Some(batch) = self.batches.get_mut(&offer.batch) {
                tell(batch, index);
            }
        }
    }
}
