//! Traced batches at the gateway: their spans, and those that their clients report.

use std::collections::VecDeque;
use std::time::Duration;

use document_types::limits::TRACED_BATCHES_PER_SEAT_MAX;
use document_types::{BatchId, ErrorCode, SessionId, TraceContext};
use service_api::SessionEvent;
use sync_protocol::{Batch, Subscription, TraceReport};
use tokio::time::Instant;
use traces::{Span, Stage, Traces};

/// A traced batch on its way into the log.
#[derive(Debug)]
pub(crate) struct FollowedBatch {
    batch: BatchId,
    /// The client's span, of which the gateway's is a part.
    client: TraceContext,
    arrived: Instant,
    span: Span,
}

impl FollowedBatch {
    /// Decides whether a batch that has just arrived is traced, and what `batch` carries on from here:
    /// a context of the gateway's, or none.
    pub(crate) fn begin(
        traces: &Traces,
        session: &SessionId,
        subscription: &Subscription,
        batch: &mut Batch,
    ) -> Option<Box<Self>> {
        let client = traces.admit(batch.trace.take())?;
        let arrived = Instant::now();
        let mut span = traces.span_since(Stage::Batch, Some(client), arrived);
        let update_bytes: usize = batch.updates.iter().map(bytes::Bytes::len).sum();
        span.set("collabedit.document", subscription.document.to_string());
        let correlation_id = format!("{session}/{}", batch.id);
        span.set("collabedit.correlation_id", correlation_id);
        span.set("collabedit.update_count", batch.updates.len());
        span.set("collabedit.update_bytes", update_bytes);
        batch.trace = span.context();
        Some(Box::new(Self {
            batch: batch.id,
            client,
            arrived,
            span,
        }))
    }

    /// The gateway itself refuses it.
    pub(crate) fn refused(mut self, code: ErrorCode) {
        self.span.fail(code.as_str());
    }
}

/// What becomes of the traced batches of one seat. It holds nothing as long as nothing is traced.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    open: VecDeque<FollowedBatch>,
    /// Those that are answered, until their client has said how long that took it.
    answered: VecDeque<AnsweredBatch>,
}

#[derive(Debug)]
struct AnsweredBatch {
    batch: BatchId,
    client: TraceContext,
    arrived: Instant,
    /// How long the answer took the server.
    after: Duration,
}

/// Which batch an event answers, and what it is refused with if it is.
pub(crate) fn answer_in(event: &SessionEvent) -> Option<(BatchId, Option<ErrorCode>)> {
    match event {
        SessionEvent::Ack { batch, .. } => Some((*batch, None)),
        SessionEvent::Nack { batch, code, .. } => Some((*batch, Some(*code))),
        _ => None,
    }
}

impl Followed {
    /// The batch is passed to the room, if it is traced.
    pub(crate) fn follow(&mut self, batch: Option<Box<FollowedBatch>>) {
        if let Some(batch) = batch {
            push(&mut self.open, *batch);
        }
    }

    /// The client has been given the answer to a batch.
    pub(crate) fn answered(&mut self, (batch, refused): (BatchId, Option<ErrorCode>)) {
        let Some(place) = self.open.iter().position(|open| open.batch == batch) else {
            return;
        };
        let Some(mut open) = self.open.remove(place) else {
            return;
        };
        if let Some(code) = refused {
            open.span.fail(code.as_str());
        }
        let answered = AnsweredBatch {
            batch,
            client: open.client,
            arrived: open.arrived,
            after: open.arrived.elapsed(),
        };
        push(&mut self.answered, answered);
    }

    /// The client says how long a batch has taken it. Believed is what it says of a batch that this
    /// seat has followed and answered, once.
    ///
    /// The client's clock may show anything, so its span is put around ours: what it waited longer than
    /// we took went to the network, half of it on each way.
    pub(crate) fn reported(&mut self, traces: &Traces, report: TraceReport) {
        let is_it = |answered: &AnsweredBatch| answered.batch == report.batch;
        let Some(place) = self.answered.iter().position(is_it) else {
            return;
        };
        let Some(answered) = self.answered.remove(place) else {
            return;
        };
        let on_the_way = report.answered.saturating_sub(answered.after) / 2;
        let waited = report.waited.unwrap_or_default();
        let before = |moment: Instant, time| moment.checked_sub(time).unwrap_or(moment);
        let sent = before(answered.arrived, on_the_way);
        let stage = match report.waited {
            Some(_) => Stage::KeyPress,
            None => Stage::Edit,
        };
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        traces.first(
            stage,
            answered.client,
            (before(sent, waited), sent + report.answered),
            vec![("collabedit.waited_us", waited_us.into())],
        );
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= TRACED_BATCHES_PER_SEAT_MAX {
        queue.pop_front();
    }
    queue.push_back(item);
}
