use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PeerId;

/// A peer's operation count. The engine counts in 31 bits.
pub type Counter = u32;

/// One operation: `counter@peer`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    /// Who wrote it.
    pub peer: PeerId,
    /// Its number among that peer's operations, from 0.
    pub counter: Counter,
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.counter, self.peer)
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Consecutive operations of one peer, `start` inclusive and `end` exclusive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CounterSpan {
    /// Who wrote them.
    pub peer: PeerId,
    /// The first operation's counter.
    pub start: Counter,
    /// The counter after the last operation's.
    pub end: Counter,
}

impl CounterSpan {
    /// How many operations the span holds.
    pub fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the span holds no operation.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

impl fmt::Display for CounterSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}@{}", self.start, self.end, self.peer)
    }
}

impl fmt::Debug for CounterSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A point in history: the operations that nothing known has followed yet.
pub type Frontiers = Vec<OpId>;

/// What a replica knows: for each peer the end (exclusive) of its known operations.
///
/// It is the sync cursor: what a replica misses is computed from it, whatever way its operations
/// came. A peer that is absent has end 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionVector(BTreeMap<PeerId, Counter>);

impl VersionVector {
    /// The vector that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The end of what is known of `peer`, 0 if nothing is.
    pub fn end(&self, peer: PeerId) -> Counter {
        self.0.get(&peer).copied().unwrap_or(0)
    }

    /// Sets the end of what is known of `peer`.
    pub fn set_end(&mut self, peer: PeerId, end: Counter) {
        if end == 0 {
            self.0.remove(&peer);
        } else {
            self.0.insert(peer, end);
        }
    }

    /// Moves `span.peer`'s end to the span's, if that is further.
    pub fn include(&mut self, span: CounterSpan) {
        if span.end > self.end(span.peer) {
            self.set_end(span.peer, span.end);
        }
    }

    /// Takes in all that `other` knows.
    pub fn merge(&mut self, other: &Self) {
        for (peer, end) in other.iter() {
            self.include(CounterSpan {
                peer,
                start: 0,
                end,
            });
        }
    }

    /// Whether `operation` is known.
    pub fn contains(&self, operation: OpId) -> bool {
        operation.counter < self.end(operation.peer)
    }

    /// Whether everything that `other` knows is known.
    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(peer, end)| self.end(peer) >= end)
    }

    /// Peers and ends, in the order of the peer ids.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, Counter)> + '_ {
        self.0.iter().map(|(peer, end)| (*peer, *end))
    }

    /// How many peers are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What this vector knows and `other` does not, a span for each peer.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = CounterSpan> + 'a {
        self.iter().filter_map(|(peer, end)| {
            let start = other.end(peer);
            (end > start).then_some(CounterSpan { peer, start, end })
        })
    }
}

impl FromIterator<(PeerId, Counter)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (PeerId, Counter)>>(ends: I) -> Self {
        Self(ends.into_iter().filter(|(_, end)| *end > 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_vector_knows_beyond_another_is_a_span_a_peer() {
        let ours: VersionVector = [(PeerId(1), 5), (PeerId(2), 3), (PeerId(3), 1)]
            .into_iter()
            .collect();
        let theirs: VersionVector = [(PeerId(1), 2), (PeerId(2), 3)].into_iter().collect();
        let beyond: Vec<_> = ours.beyond(&theirs).collect();
        assert_eq!(
            beyond,
            [
                CounterSpan {
                    peer: PeerId(1),
                    start: 2,
                    end: 5
                },
                CounterSpan {
                    peer: PeerId(3),
                    start: 0,
                    end: 1
                },
            ]
        );
        assert!(ours.includes(&theirs) && !theirs.includes(&ours));
    }
}
