//! Whether records of a partition are missing: nodes number theirs without gaps.

use std::collections::VecDeque;

use document_types::limits::{LATE_RECORDS_COUNT_MAX, LATE_RECORDS_TIME_MAX, SEQUENCES_COUNT_MAX};
use document_types::record::NodePosition;
use document_types::{NodeEpoch, NodeId, RegionId};
use lru::LruCache;
use tokio::time::Instant;

/// A node in one of its lives.
type Life = (RegionId, NodeId, NodeEpoch);

/// The last number that was read of each life of a node, and those before it that were not.
pub(crate) struct Sequences {
    last: LruCache<Life, u64>,
    /// Records that may come yet, the longest missed first: a node whose append failed goes on with
    /// other documents' records before it fills the number.
    late: VecDeque<Late>,
}

struct Late {
    life: Life,
    sequence: u64,
    since: Instant,
}

impl Default for Sequences {
    fn default() -> Self {
        Self {
            last: LruCache::new(SEQUENCES_COUNT_MAX),
            late: VecDeque::new(),
        }
    }
}

impl Sequences {
    /// Notes a record, and says how many records are given up that should have come long before.
    /// Of a life that is new here nothing is missed, since reading begins anywhere.
    pub(crate) fn note(&mut self, position: &NodePosition, now: Instant) -> u64 {
        let sequence = position.sequence;
        let life = (position.region.clone(), position.node, position.epoch);
        let last = *self.last.get_or_insert(life.clone(), || sequence);
        if sequence <= last {
            self.late
                .retain(|late| (&late.life, late.sequence) != (&life, sequence));
        }
        let expected = last.saturating_add(1);
        let waited_for = expected.max(sequence.saturating_sub(LATE_RECORDS_COUNT_MAX as u64));
        self.late
            .extend((waited_for..sequence).map(|sequence| Late {
                life: life.clone(),
                sequence,
                since: now,
            }));
        self.last.put(life, last.max(sequence));
        // Of a wide gap only the end is waited for.
        let mut missing = waited_for - expected;
        while let Some(late) = self.late.front()
            && (late.since + LATE_RECORDS_TIME_MAX <= now
                || self.late.len() > LATE_RECORDS_COUNT_MAX)
        {
            self.late.pop_front();
            missing += 1;
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(node: u32, epoch: u64, sequence: u64) -> NodePosition {
        NodePosition {
            region: RegionId::parse("eu").unwrap(),
            node: NodeId(node),
            epoch: NodeEpoch(epoch),
            sequence,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_told_once_it_will_not_be_filled() {
        let mut sequences = Sequences::default();
        let now = Instant::now();
        let later = now + LATE_RECORDS_TIME_MAX;
        let told = [
            (7, now),
            (8, now),
            (12, now),
            (10, now),
            (13, later),
            (14, later),
        ]
        .map(|(sequence, at)| sequences.note(&position(1, 1, sequence), at));
        // 9 and 11 never came, and 10 did.
        assert_eq!(told, [0, 0, 0, 0, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_and_their_lives_count_apart_and_repetitions_do_not_count() {
        let mut sequences = Sequences::default();
        let now = Instant::now();
        for (node, epoch, sequence) in [(1, 1, 5), (2, 1, 1), (1, 2, 1), (1, 1, 5), (2, 1, 2)] {
            assert_eq!(sequences.note(&position(node, epoch, sequence), now), 0);
        }
        let later = now + LATE_RECORDS_TIME_MAX;
        assert_eq!(sequences.note(&position(1, 1, 6), later), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_of_any_size_is_bounded() {
        let mut sequences = Sequences::default();
        let now = Instant::now();
        sequences.note(&position(1, 1, 1), now);
        let gap = 3 * LATE_RECORDS_COUNT_MAX as u64;
        let told = sequences.note(&position(1, 1, 2 + gap), now);
        assert_eq!(told, gap - LATE_RECORDS_COUNT_MAX as u64);
    }
}
