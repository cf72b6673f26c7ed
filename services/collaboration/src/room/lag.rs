//! How far behind the document its writers were when they wrote.

use std::collections::{BTreeMap, VecDeque};

use document_types::limits::{LAG_FRESH_COUNT_MAX, LAG_WINDOW_COUNT};
use document_types::{CounterSpan, Frontiers, OpId, PeerId};

/// Whether a writer who was so far behind had read what landed lately.
pub(super) fn is_fresh(lag: u64) -> bool {
    lag <= LAG_FRESH_COUNT_MAX
}

/// The updates that landed last, and what each writer had seen. Positions count all updates that ever
/// landed.
#[derive(Debug, Default)]
pub(super) struct Lags {
    landed: VecDeque<Landed>,
    start: u64,
}

#[derive(Debug)]
struct Landed {
    span: CounterSpan,
    /// The position up to which its writer had seen what landed.
    seen: u64,
}

impl Lags {
    /// An update has landed.
    pub(super) fn landed(&mut self, span: CounterSpan, dependencies: &[OpId]) {
        let seen = self.seen(span, dependencies);
        self.landed.push_back(Landed { span, seen });
        if self.landed.len() > LAG_WINDOW_COUNT {
            self.landed.pop_front();
            self.start += 1;
        }
    }

    /// For each of some updates, in their order, how many had landed that its writer had not seen; no more
    /// than are kept. Whoever goes on with his own has seen what he had seen before.
    pub(super) fn of_all(
        &self,
        updates: impl Iterator<Item = (CounterSpan, Frontiers)>,
    ) -> Vec<u64> {
        let mut least: BTreeMap<PeerId, u64> = BTreeMap::new();
        updates
            .map(|(span, dependencies)| {
                let lag = self.of(span, &dependencies);
                let least = least.entry(span.peer).or_insert(lag);
                *least = lag.min(*least);
                *least
            })
            .collect()
    }

    fn of(&self, span: CounterSpan, dependencies: &[OpId]) -> u64 {
        let end = self.start + self.landed.len() as u64;
        end - self.seen(span, dependencies)
    }

    /// Whoever names an operation has seen what landed before it, since updates come in this order.
    fn seen(&self, span: CounterSpan, dependencies: &[OpId]) -> u64 {
        let mut seen = self.start;
        for (position, landed) in (self.start..).zip(&self.landed) {
            let is_named = dependencies.iter().any(|named| {
                named.peer == landed.span.peer
                    && (landed.span.start..landed.span.end).contains(&named.counter)
            });
            if landed.span.peer == span.peer {
                // His own is nothing unseen, unless something was before it.
                seen = seen.max(if landed.seen == position {
                    position + 1
                } else {
                    landed.seen
                });
            } else if is_named {
                seen = seen.max(position + 1);
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(peer: u64, start: u32) -> CounterSpan {
        CounterSpan {
            peer: PeerId(peer),
            start,
            end: start + 1,
        }
    }

    fn op(peer: u64, counter: u32) -> OpId {
        OpId {
            peer: PeerId(peer),
            counter,
        }
    }

    #[test]
    fn those_who_read_are_close_behind_and_those_who_never_do_fall_back() {
        let mut lags = Lags::default();
        assert_eq!(lags.of(span(1, 0), &[]), 0);
        for i in 0..10 {
            // The first two read each other, and the third goes on from the beginning.
            lags.landed(span(1, i), &[op(2, i.saturating_sub(1))]);
            lags.landed(span(2, i), &[op(1, i)]);
            lags.landed(span(3, i), &[]);
        }
        assert_eq!(lags.of(span(1, 10), &[op(2, 9)]), 1);
        // It has read nothing since its last.
        assert_eq!(lags.of(span(2, 10), &[]), 1);
        assert_eq!(lags.of(span(3, 10), &[]), 30);
        let more = [(span(3, 10), vec![op(2, 9)]), (span(3, 11), vec![])];
        assert_eq!(lags.of_all(more.into_iter()), [1, 1]);
    }

    #[test]
    fn what_is_forgotten_counts_as_long_ago() {
        let mut lags = Lags::default();
        let count = u32::try_from(LAG_WINDOW_COUNT).unwrap() + 10;
        (0..count).for_each(|i| lags.landed(span(1, i), &[]));
        assert_eq!(lags.of(span(2, 0), &[op(1, 0)]), LAG_WINDOW_COUNT as u64);
        assert_eq!(lags.of(span(2, 0), &[op(1, count - 1)]), 0);
        assert_eq!(lags.of(span(1, count), &[]), 0);
    }
}
