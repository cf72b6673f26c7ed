//! Between our vocabulary and the engine's.

use document_types::{Counter, CounterSpan, Frontiers, OpId, PeerId, VersionVector};

/// What the engine said when it refused a call.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(String);

impl From<loro::LoroError> for EngineError {
    fn from(error: loro::LoroError) -> Self {
        Self(error.to_string())
    }
}

impl From<loro::LoroEncodeError> for EngineError {
    fn from(error: loro::LoroEncodeError) -> Self {
        Self(error.to_string())
    }
}

/// The engine counts in 31 bits, so a larger counter names no operation of its.
pub(crate) fn to_engine_counter(counter: Counter) -> i32 {
    i32::try_from(counter).unwrap_or(i32::MAX)
}

/// A counter below 0 names no operation.
pub(crate) fn from_engine_counter(counter: i32) -> Counter {
    u32::try_from(counter).unwrap_or(0)
}

pub(crate) fn to_engine_span(span: CounterSpan) -> loro::IdSpan {
    loro::IdSpan::new(
        span.peer.0,
        to_engine_counter(span.start),
        to_engine_counter(span.end),
    )
}

pub(crate) fn to_engine_vector(vector: &VersionVector) -> loro::VersionVector {
    vector
        .iter()
        .map(|(peer, end)| (peer.0, to_engine_counter(end)))
        .collect()
}

pub(crate) fn from_engine_vector(vector: &loro::VersionVector) -> VersionVector {
    vector
        .iter()
        .map(|(peer, end)| (PeerId(*peer), from_engine_counter(*end)))
        .collect()
}

pub(crate) fn to_engine_frontiers(frontiers: &[OpId]) -> loro::Frontiers {
    frontiers
        .iter()
        .map(|id| loro::ID::new(id.peer.0, to_engine_counter(id.counter)))
        .collect()
}

pub(crate) fn from_engine_id(id: loro::ID) -> OpId {
    OpId {
        peer: PeerId(id.peer),
        counter: from_engine_counter(id.counter),
    }
}

/// Sorted, so that equal frontiers are equal values.
pub(crate) fn from_engine_frontiers(frontiers: &loro::Frontiers) -> Frontiers {
    let mut ids: Frontiers = frontiers.iter().map(from_engine_id).collect();
    ids.sort_unstable();
    ids
}

/// Sorted by peer, without empty spans.
pub(crate) fn from_engine_range(range: &loro::VersionRange) -> Vec<CounterSpan> {
    let mut spans: Vec<CounterSpan> = range
        .iter()
        .map(|(peer, (start, end))| CounterSpan {
            peer: PeerId(*peer),
            start: from_engine_counter(*start),
            end: from_engine_counter(*end),
        })
        .filter(|span| !span.is_empty())
        .collect();
    spans.sort_unstable();
    spans
}
