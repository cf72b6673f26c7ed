//! Version vectors and frontiers as stock clients send them: postcard, a count and then peer and
//! counter in turn. Decoded here and not by the engine, so that hostile bytes cost what they weigh.

use document_types::limits::VERSION_BYTES_MAX;
use document_types::{Frontiers, OpId, PeerId, VersionVector};

use crate::engine::to_engine_counter;
use crate::inspect::reader::{Malformed, Reader};

/// Why bytes are not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionDecodeError {
    /// More bytes than a version may have.
    #[error("a version has {bytes} bytes, and {bytes_max} is the most it may have")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// The most there may be.
        bytes_max: usize,
    },
    /// The bytes break the format.
    #[error("the bytes are not a version: {reason}")]
    Malformed {
        /// The rule that is broken.
        reason: &'static str,
    },
}

impl From<Malformed> for VersionDecodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed {
            reason: malformed.0,
        }
    }
}

/// Reads a version vector, which may be empty: no bytes at all count as one that knows nothing, as
/// a client that never synced sends it.
///
/// # Errors
/// [`VersionDecodeError`]; negative counters and peers that come twice are refused.
pub fn decode_version_vector(bytes: &[u8]) -> Result<VersionVector, VersionDecodeError> {
    let mut vector = VersionVector::new();
    for id in decode_ids(bytes)? {
        if vector.end(id.peer) != 0 {
            return Err(Malformed("a peer comes twice").into());
        }
        vector.set_end(id.peer, id.counter);
    }
    Ok(vector)
}

/// A version vector as the engine's clients decode it, at least one byte long: clients take an empty
/// version for a server without the document, and send a snapshot.
pub fn encode_version_vector(vector: &VersionVector) -> Vec<u8> {
    encode_ids(
        vector.iter().map(|(peer, end)| OpId { peer, counter: end }),
        vector.len(),
    )
}

/// Reads frontiers.
///
/// # Errors
/// [`VersionDecodeError`]; negative counters are refused.
pub fn decode_frontiers(bytes: &[u8]) -> Result<Frontiers, VersionDecodeError> {
    decode_ids(bytes)
}

/// Frontiers as the engine's clients decode them.
pub fn encode_frontiers(frontiers: &[OpId]) -> Vec<u8> {
    encode_ids(frontiers.iter().copied(), frontiers.len())
}

fn decode_ids(bytes: &[u8]) -> Result<Vec<OpId>, VersionDecodeError> {
    if bytes.len() > VERSION_BYTES_MAX {
        return Err(VersionDecodeError::TooLong {
            bytes: bytes.len(),
            bytes_max: VERSION_BYTES_MAX,
        });
    }
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader::new(bytes);
    let count = reader.length()?;
    // Each entry has at least a byte for the peer and one for the counter.
    if count > reader.remaining() / 2 {
        return Err(Malformed("it announces more entries than it has bytes for").into());
    }
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let peer = PeerId(reader.unsigned()?);
        let counter = reader.zigzag()?;
        let counter = u32::try_from(counter)
            .ok()
            .filter(|counter| *counter <= i32::MAX.unsigned_abs())
            .ok_or(Malformed("a counter is out of range"))?;
        ids.push(OpId { peer, counter });
    }
    if reader.remaining() > 0 {
        return Err(Malformed("bytes follow its end").into());
    }
    Ok(ids)
}

fn encode_ids(ids: impl Iterator<Item = OpId>, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + count * 12);
    write_unsigned(&mut bytes, count as u64);
    for id in ids {
        write_unsigned(&mut bytes, id.peer.0);
        // Zigzag of a number that is never negative.
        write_unsigned(
            &mut bytes,
            u64::from(to_engine_counter(id.counter).unsigned_abs()) << 1,
        );
    }
    bytes
}

pub(crate) fn write_unsigned(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_version_vector_has_a_byte() {
        let bytes = encode_version_vector(&VersionVector::new());
        assert_eq!(bytes, [0]);
        assert!(loro::VersionVector::decode(&bytes).unwrap().is_empty());
        assert!(decode_version_vector(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_count_without_entries_is_refused_before_anything_is_allocated() {
        let mut bytes = vec![0xff; 9];
        bytes.push(0x01);
        assert!(matches!(
            decode_version_vector(&bytes),
            Err(VersionDecodeError::Malformed { .. })
        ));
    }

    proptest! {
        #[test]
        fn the_engine_reads_what_we_write_and_we_read_what_it_writes(
            ends in prop::collection::btree_map(any::<u64>(), 1..i32::MAX.unsigned_abs(), 0..40)
        ) {
            let ours: VersionVector =
                ends.iter().map(|(peer, end)| (PeerId(*peer), *end)).collect();
            let theirs = crate::engine::to_engine_vector(&ours);
            prop_assert_eq!(
                &loro::VersionVector::decode(&encode_version_vector(&ours)).unwrap(), &theirs
            );
            prop_assert_eq!(decode_version_vector(&theirs.encode()).unwrap(), ours);
        }

        #[test]
        fn the_engine_reads_our_frontiers(
            ids in prop::collection::btree_map(any::<u64>(), 0..i32::MAX.unsigned_abs(), 0..10)
        ) {
            let ours: Frontiers = ids
                .iter()
                .map(|(peer, counter)| OpId { peer: PeerId(*peer), counter: *counter })
                .collect();
            let theirs = crate::engine::to_engine_frontiers(&ours);
            prop_assert_eq!(&loro::Frontiers::decode(&encode_frontiers(&ours)).unwrap(), &theirs);
            let mut decoded = decode_frontiers(&theirs.encode()).unwrap();
            decoded.sort_unstable();
            prop_assert_eq!(decoded, ours);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_version_vector(&bytes);
            let _ = decode_frontiers(&bytes);
        }
    }
}
