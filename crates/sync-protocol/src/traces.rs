//! What clients say of their traces: which batch belongs to which, and how long it took them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use document_types::limits::TRACES_WAITING_MAX;
use document_types::{BatchId, DocumentId, TraceContext};

use crate::text::ClientText;

/// How long a traced batch has taken, as its client saw it. Durations say it whatever the client's clock
/// shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceReport {
    /// The batch.
    pub batch: BatchId,
    /// From the key press that it begins with until it was sent, if it begins with one.
    pub waited: Option<Duration>,
    /// From there until the client had read the answer.
    pub answered: Duration,
}

/// What a text says of a document's traces.
pub(crate) enum Heard {
    /// The batch of this name is to come, and is to be traced.
    Trace(BatchId, TraceContext),
    /// A batch has been answered.
    Report(TraceReport),
}

/// What `text` says, and of which document; `None` if nothing follows from it.
pub(crate) fn hear(text: ClientText) -> Option<(DocumentId, Heard)> {
    match text {
        ClientText::Trace {
            document,
            batch,
            traceparent,
        } => {
            let context = TraceContext::parse(&traceparent)?;
            Some((document, Heard::Trace(batch, context)))
        }
        ClientText::Traced {
            document,
            batch,
            waited_us,
            answered_us,
        } => {
            let duration = |us: u32| Duration::from_micros(us.into());
            let report = TraceReport {
                batch,
                waited: waited_us.map(duration),
                answered: duration(answered_us),
            };
            Some((document, Heard::Report(report)))
        }
        ClientText::Unknown => None,
    }
}

/// Trace contexts that wait for their batch, the oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    waiting: BTreeMap<(DocumentId, BatchId), TraceContext>,
    order: VecDeque<(DocumentId, BatchId)>,
}

impl Traces {
    pub(crate) fn remember(&mut self, document: DocumentId, batch: BatchId, context: TraceContext) {
        let key = (document, batch);
        if self.waiting.insert(key.clone(), context).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > TRACES_WAITING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.waiting.remove(&oldest);
        }
    }

    pub(crate) fn take(&mut self, document: &DocumentId, batch: BatchId) -> Option<TraceContext> {
        if self.waiting.is_empty() {
            return None;
        }
        let key = (document.clone(), batch);
        let context = self.waiting.remove(&key)?;
        self.order.retain(|waiting| *waiting != key);
        Some(context)
    }

    pub(crate) fn forget(&mut self, document: &DocumentId) {
        self.waiting.retain(|(of, _), _| of != document);
        self.order.retain(|(of, _)| of != document);
    }
}
