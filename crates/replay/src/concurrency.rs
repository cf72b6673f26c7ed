//! How many updates were written without knowing of one another.

use std::collections::BTreeMap;

use collabedit_sdk::Committed;
use document_types::{OpId, PeerId};

/// How many of `updates` are concurrent with another: neither's author knew of the other when it was
/// made.
pub(crate) fn concurrent_count(updates: &[&Committed]) -> usize {
    let mut by_peer: BTreeMap<PeerId, Vec<&Committed>> = BTreeMap::new();
    for update in updates {
        by_peer.entry(update.span.peer).or_default().push(update);
    }
    for written in by_peer.values_mut() {
        written.sort_unstable_by_key(|update| update.span.start);
    }
    updates
        .iter()
        .filter(|update| {
            by_peer.iter().any(|(peer, written)| {
                *peer != update.span.peer && is_concurrent_with_one(update, written)
            })
        })
        .count()
}

/// Whether `update` is concurrent with one of another peer's updates, which are in order.
///
/// Of those that `update` did not know, the first knew least: if that one knew of `update`, so did
/// all after it.
fn is_concurrent_with_one(update: &Committed, written: &[&Committed]) -> bool {
    let known = |other: &&Committed| {
        update.version.contains(OpId {
            peer: other.span.peer,
            counter: other.span.start,
        })
    };
    let first_unknown = written.partition_point(known);
    let own = OpId {
        peer: update.span.peer,
        counter: update.span.start,
    };
    written
        .get(first_unknown)
        .is_some_and(|other| !other.version.contains(own))
}

#[cfg(test)]
mod tests {
    use collabedit_sdk::{CounterSpan, VersionVector};
    use tokio::time::Instant;

    use super::*;

    fn update(peer: u64, span: std::ops::Range<u32>, version: &[(u64, u32)]) -> Committed {
        let version: VersionVector = version
            .iter()
            .map(|(peer, end)| (PeerId(*peer), *end))
            .collect();
        let now = Instant::now();
        Committed {
            span: CounterSpan {
                peer: PeerId(peer),
                start: span.start,
                end: span.end,
            },
            version,
            updates: Vec::new(),
            edited_at: now,
            committed_at: now,
        }
    }

    #[test]
    fn updates_in_a_line_are_not_concurrent() {
        let line = [
            update(1, 0..2, &[]),
            update(2, 0..1, &[(1, 2)]),
            update(1, 2..3, &[(1, 2), (2, 1)]),
        ];
        assert_eq!(concurrent_count(&line.iter().collect::<Vec<_>>()), 0);
    }

    #[test]
    fn both_of_a_concurrent_pair_count_and_those_around_it_do_not() {
        let updates = [
            update(1, 0..2, &[]),
            update(1, 2..3, &[(1, 2)]),
            update(2, 0..5, &[(1, 2)]),
            update(3, 0..1, &[(1, 3), (2, 5)]),
        ];
        assert_eq!(concurrent_count(&updates.iter().collect::<Vec<_>>()), 2);
    }
}
