use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::{Clock, Random};
use document_types::limits::{SPANS_WAITING_MAX, TRACED_BATCHES_PER_SECOND_MAX};
use document_types::{SpanId, TraceContext, TraceRatio};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::exporter::Exporter;
use crate::span::{Span, count};
use crate::wire::{Finished, NodeName};
use crate::{CollectorAddress, Stage, Value, metrics};

/// What tracing works with.
pub struct TraceParts {
    /// Where spans go.
    pub collector: CollectorAddress,
    /// Which part of what clients send they are asked to have traced.
    pub ratio: TraceRatio,
    /// Who exports them.
    pub node: NodeName,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Where spans get their ids from.
    pub random: Random,
}

/// Makes spans, or nothing where tracing is off.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Shared>>);

struct Shared {
    queue: mpsc::Sender<Finished>,
    ratio: TraceRatio,
    clock: Arc<dyn Clock>,
    random: Random,
    /// The second that runs, by when it began, and how many batches it has let be traced.
    admitted: Mutex<(Instant, u32)>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "on" } else { "off" })
    }
}

impl Traces {
    /// Nothing is traced here.
    pub fn off() -> Self {
        Self(None)
    }

    /// Traces, whose spans go where the exporter brings them: run it.
    pub fn new(parts: TraceParts) -> (Self, Exporter) {
        let (queue, finished) = mpsc::channel(SPANS_WAITING_MAX);
        let exporter = Exporter::new(finished, &parts.collector, &parts.node);
        let shared = Shared {
            queue,
            ratio: parts.ratio,
            clock: parts.clock,
            random: parts.random,
            admitted: Mutex::new((Instant::now(), 0)),
        };
        (Self(Some(Arc::new(shared))), exporter)
    }

    /// Which part of what they send clients are asked to have traced; nothing where tracing is off.
    pub fn ratio(&self) -> Option<TraceRatio> {
        self.0.as_ref().map(|shared| shared.ratio)
    }

    /// Decides whether a batch is traced that a client wants traced. What is declined here is traced
    /// nowhere, so that each trace is whole.
    pub fn admit(&self, wanted: Option<TraceContext>) -> Option<TraceContext> {
        let (shared, wanted) = (self.0.as_ref()?, wanted?);
        let mut admitted = shared
            .admitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (second, count) = &mut *admitted;
        if second.elapsed() >= Duration::from_secs(1) {
            (*second, *count) = (Instant::now(), 0);
        }
        if *count >= TRACED_BATCHES_PER_SECOND_MAX {
            ::metrics::counter!(metrics::BATCHES_DECLINED).increment(1);
            return None;
        }
        *count += 1;
        Some(wanted)
    }

    /// A stage that begins now, as a part of `parent`.
    pub fn span(&self, stage: Stage, parent: Option<TraceContext>) -> Span {
        self.span_since(stage, parent, Instant::now())
    }

    /// A stage that began at `started`.
    pub fn span_since(&self, stage: Stage, parent: Option<TraceContext>, started: Instant) -> Span {
        let (Some(shared), Some(parent)) = (&self.0, parent) else {
            return Span::passing(parent);
        };
        Span::open(self.clone(), stage, parent, shared.new_id(), started)
    }

    /// Exports the first span of a trace, which a client has begun and given its id.
    pub fn first(
        &self,
        stage: Stage,
        context: TraceContext,
        (started, ended): (Instant, Instant),
        attributes: Vec<(&'static str, Value)>,
    ) {
        self.export(Finished {
            stage,
            context,
            parent: None,
            times_us: self.times_of(started, ended),
            attributes,
            failure: None,
        });
    }

    pub(crate) fn export(&self, span: Finished) {
        let Some(shared) = &self.0 else { return };
        if shared.queue.try_send(span).is_err() {
            count("overflowed", 1);
        }
    }

    /// The wall-clock times of two moments, in microseconds. What lies between them is what the
    /// monotonic clock says.
    pub(crate) fn times_of(&self, started: Instant, ended: Instant) -> (u64, u64) {
        let Some(shared) = &self.0 else { return (0, 0) };
        let microseconds =
            |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let since_end = microseconds(ended.elapsed());
        let end = shared.clock.now_us().saturating_sub(since_end);
        let length = microseconds(ended.saturating_duration_since(started));
        (end.saturating_sub(length), end)
    }
}

impl Shared {
    fn new_id(&self) -> SpanId {
        loop {
            if let Some(id) = SpanId::new(self.random.next_u64().to_be_bytes()) {
                return id;
            }
        }
    }
}
