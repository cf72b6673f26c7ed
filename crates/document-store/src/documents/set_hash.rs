//! One hash for everything that was let into a document, whatever its order.
//!
//! Each span that was let in has a hash, BLAKE3 of its peer, bounds and digest, and the set's hash is
//! their sum modulo 2^256. So it can be moved forward by an append alone, and two regions that let
//! the same updates in have the same hash, in whatever order they came.
//!
//! It compares updates, where one would like to compare operations: the store does not open an
//! update, so when an honest client sent the same operations to two regions in different updates,
//! the hashes differ although the documents are the same. Hence equal hashes say that the documents
//! are equal, and different ones that a state hash has to be compared. A sum is also no defence
//! against someone who may choose many updates; it finds faults, not forgeries.

use bytes::Bytes;
use document_types::{CounterSpan, Digest};

const HASH_BYTES: usize = 32;

/// The hash of a set to which one span is added. An empty `set_hash` is the empty set's.
pub(super) fn add(set_hash: &[u8], span: CounterSpan, digest: Digest) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&span.peer.0.to_le_bytes());
    hasher.update(&span.start.to_le_bytes());
    hasher.update(&span.end.to_le_bytes());
    hasher.update(&digest.0);

    let mut sum = [0; HASH_BYTES];
    let mut carry = 0;
    for (index, added) in hasher.finalize().as_bytes().iter().enumerate() {
        let byte_sum =
            u16::from(set_hash.get(index).copied().unwrap_or(0)) + u16::from(*added) + carry;
        let [low, high] = byte_sum.to_le_bytes();
        sum[index] = low;
        carry = u16::from(high);
    }
    Bytes::copy_from_slice(&sum)
}

#[cfg(test)]
mod tests {
    use document_types::PeerId;
    use proptest::prelude::*;

    use super::*;

    fn hash(spans: &[(u64, u32)]) -> Bytes {
        spans.iter().fold(Bytes::new(), |set_hash, (peer, start)| {
            let span = CounterSpan {
                peer: PeerId(*peer),
                start: *start,
                end: start + 1,
            };
            add(&set_hash, span, Digest::of(&peer.to_le_bytes()))
        })
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_the_set_does(
            spans in prop::collection::btree_set((any::<u64>(), 0_u32..1_000), 1..20),
        ) {
            let forwards: Vec<_> = spans.into_iter().collect();
            let backwards: Vec<_> = forwards.iter().rev().copied().collect();
            prop_assert_eq!(hash(&forwards), hash(&backwards));
            prop_assert_ne!(hash(&forwards), hash(&forwards[1..]));
            let twice = [&forwards[..], &forwards[..1]].concat();
            prop_assert_ne!(hash(&forwards), hash(&twice));
        }
    }
}
