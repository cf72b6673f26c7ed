use document_types::{SpanId, TraceContext};
use tokio::time::Instant;

use crate::traces::Traces;
use crate::wire::Finished;
use crate::{Stage, metrics};

/// A stage of a traced edit, under way. It ends when it is dropped, and is exported then.
///
/// Of an edit that is not traced it is nothing. Where this process exports nothing it hands the context
/// on, for those that do.
#[derive(Debug, Default)]
pub struct Span {
    context: Option<TraceContext>,
    /// In a box, since nearly no span has any.
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    traces: Traces,
    stage: Stage,
    context: TraceContext,
    parent: SpanId,
    started: Instant,
    attributes: Vec<(&'static str, Value)>,
    failure: Option<String>,
}

/// What a span says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word.
    Text(String),
    /// A number.
    Number(u64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl Span {
    /// A span of this process.
    pub(crate) fn open(
        traces: Traces,
        stage: Stage,
        parent: TraceContext,
        id: SpanId,
        started: Instant,
    ) -> Self {
        let context = TraceContext {
            trace: parent.trace,
            span: id,
        };
        let open = Open {
            traces,
            stage,
            context,
            parent: parent.span,
            started,
            attributes: Vec::new(),
            failure: None,
        };
        Self {
            context: Some(context),
            open: Some(Box::new(open)),
        }
    }

    /// None of this process's, for what follows from `context` elsewhere.
    pub(crate) fn passing(context: Option<TraceContext>) -> Self {
        Self {
            context,
            open: None,
        }
    }

    /// What the stages after this one are a part of, if the edit is traced.
    pub fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// Whether it will be exported, so that it is worth telling it anything.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A part of this one that begins now.
    #[must_use]
    pub fn child(&self, stage: Stage) -> Self {
        self.child_since(stage, Instant::now())
    }

    /// A part of this one that began at `started`.
    #[must_use]
    pub fn child_since(&self, stage: Stage, started: Instant) -> Self {
        match &self.open {
            Some(open) => open.traces.span_since(stage, self.context, started),
            None => Self::passing(self.context),
        }
    }

    /// Says something of it. Neither text nor names of people: whoever reads traces may not read
    /// documents.
    pub fn set(&mut self, attribute: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.open {
            open.attributes.push((attribute, value.into()));
        }
    }

    /// It came to nothing, for this reason.
    pub fn fail(&mut self, reason: &str) {
        if let Some(open) = &mut self.open {
            open.failure = Some(reason.to_owned());
        }
    }

    /// It is over.
    pub fn end(self) {}
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Open {
            traces,
            stage,
            context,
            parent,
            started,
            attributes,
            failure,
        } = *open;
        traces.export(Finished {
            stage,
            context,
            parent: Some(parent),
            times_us: traces.times_of(started, Instant::now()),
            attributes,
            failure,
        });
    }
}

/// Counts what became of spans.
pub(crate) fn count(outcome: &'static str, spans: usize) {
    ::metrics::counter!(metrics::SPANS, "outcome" => outcome).increment(spans as u64);
}
