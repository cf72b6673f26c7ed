use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::ordered_kv::KeyRange;

/// A set of keys, kept as disjoint ranges.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeSet {
    /// Each range's begin, with its end.
    ranges: BTreeMap<Bytes, Bytes>,
}

impl RangeSet {
    /// Adds the keys of `range`, joining it with the ranges that it touches.
    pub fn insert(&mut self, range: &KeyRange) {
        if range.is_empty() {
            return;
        }
        let (mut begin, mut end) = (range.begin.clone(), range.end.clone());
        while let Some((touching_begin, touching_end)) =
            self.ranges.range(..=end.clone()).next_back()
        {
            if *touching_end < begin {
                break;
            }
            let touching_begin = touching_begin.clone();
            begin = begin.min(touching_begin.clone());
            end = end.max(touching_end.clone());
            self.ranges.remove(&touching_begin);
        }
        self.ranges.insert(begin, end);
    }

    /// Whether `key` is in the set.
    pub fn contains(&self, key: &[u8]) -> bool {
        let up_to_key = (Bound::Unbounded, Bound::Included(key));
        self.ranges
            .range::<[u8], _>(up_to_key)
            .next_back()
            .is_some_and(|(_, end)| key < end)
    }

    /// Whether a key is in both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        let (few, many) = if self.ranges.len() <= other.ranges.len() {
            (self, other)
        } else {
            (other, self)
        };
        few.ranges
            .iter()
            .any(|(begin, end)| many.overlaps(begin, end))
    }

    /// The set as ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = KeyRange> + '_ {
        self.ranges
            .iter()
            .map(|(begin, end)| KeyRange::new(begin.clone(), end.clone()))
    }

    /// Bytes of all ranges' keys.
    pub fn key_bytes(&self) -> usize {
        self.ranges
            .iter()
            .map(|(begin, end)| begin.len() + end.len())
            .sum()
    }

    /// Whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn overlaps(&self, begin: &Bytes, end: &Bytes) -> bool {
        // The ranges are disjoint, so the last that begins before `end` also ends last among those.
        self.ranges
            .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(end.as_ref())))
            .next_back()
            .is_some_and(|(_, other_end)| begin < other_end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(begin: u8, end: u8) -> KeyRange {
        KeyRange::new(vec![begin], vec![end])
    }

    fn build(ranges: &[(u8, u8)]) -> (RangeSet, BTreeSet<u8>) {
        let mut set = RangeSet::default();
        let mut model = BTreeSet::new();
        for (begin, end) in ranges {
            set.insert(&range(*begin, *end));
            model.extend(*begin..*end);
        }
        (set, model)
    }

    proptest! {
        #[test]
        fn a_range_set_is_the_set_of_its_keys(
            left in prop::collection::vec((0_u8..40, 0_u8..40), 0..12),
            right in prop::collection::vec((0_u8..40, 0_u8..40), 0..12),
        ) {
            let ((left, left_model), (right, right_model)) = (build(&left), build(&right));
            for key in 0..40 {
                prop_assert_eq!(left.contains(&[key]), left_model.contains(&key));
            }
            prop_assert_eq!(
                left.intersects(&right),
                left_model.intersection(&right_model).next().is_some()
            );
            let ranges: Vec<_> = left.iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].begin));
        }
    }
}
