use bytes::{Bytes, BytesMut};
use document_types::limits::VERSION_BYTES_MAX;
use document_types::{Counter, CounterSpan, PeerId, VersionVector};

use crate::decode::{DecodeError, Reader};
use crate::encode::put_number;

/// The smallest entry: one byte of peer id and one of counter.
const ENTRY_BYTES_MIN: u64 = 2;

/// Why bytes are not an encoded version vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// More bytes than a version vector may have.
    #[error("a version vector has {bytes} bytes, and {VERSION_BYTES_MAX} is the most it may have")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// The bytes end early, go on too long, or hold a number that is too large.
    #[error("the version vector is malformed")]
    Malformed(#[source] DecodeError),
    /// More entries are declared than the bytes can hold.
    #[error("the version vector declares {count} entries, which its bytes can't hold")]
    Count {
        /// The declared count.
        count: u64,
    },
    /// A counter is negative or has more than 31 bits.
    #[error("peer {peer} has a counter outside of 31 bits")]
    Counter {
        /// Whose.
        peer: PeerId,
    },
}

/// Reads a version vector as the engine encodes it on the wire: a count, then a peer id and a
/// zigzag counter for each peer, all LEB128 (the `postcard` format). No bytes at all are the vector
/// that knows nothing, which is what a stock client sends after `version_unknown`.
///
/// # Errors
/// [`VersionError`] says what is wrong with the bytes.
pub fn decode_version(bytes: &Bytes) -> Result<VersionVector, VersionError> {
    if bytes.is_empty() {
        return Ok(VersionVector::new());
    }
    if bytes.len() > VERSION_BYTES_MAX {
        return Err(VersionError::TooLarge { bytes: bytes.len() });
    }
    let mut reader = Reader::new(bytes.clone());
    let count = reader
        .number("entry count")
        .map_err(VersionError::Malformed)?;
    if count > reader.remaining() as u64 / ENTRY_BYTES_MIN {
        return Err(VersionError::Count { count });
    }
    let mut version = VersionVector::new();
    for _ in 0..count {
        let peer = PeerId(reader.number("peer id").map_err(VersionError::Malformed)?);
        let zigzag = reader.number("counter").map_err(VersionError::Malformed)?;
        let end = counter_from_zigzag(zigzag).ok_or(VersionError::Counter { peer })?;
        version.include(CounterSpan {
            peer,
            start: 0,
            end,
        });
    }
    reader.finish().map_err(VersionError::Malformed)?;
    Ok(version)
}

/// Writes a version vector in the same encoding, at least one byte, in the order of the peer ids.
/// The engine counts in 31 bits; a larger end is written as the largest.
pub fn encode_version(version: &VersionVector) -> Bytes {
    let mut out = BytesMut::new();
    put_number(&mut out, version.len() as u64);
    for (peer, end) in version.iter() {
        put_number(&mut out, peer.0);
        put_number(&mut out, u64::from(end.min(i32::MAX as u32)) << 1);
    }
    out.freeze()
}

fn counter_from_zigzag(zigzag: u64) -> Option<Counter> {
    let negative = zigzag & 1 == 1;
    i32::try_from(zigzag >> 1)
        .ok()
        .filter(|_| !negative)
        .and_then(|counter| Counter::try_from(counter).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_declared_count_reserves_nothing() {
        let huge = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]);
        assert_eq!(
            decode_version(&huge),
            Err(VersionError::Count {
                count: u64::from(u32::MAX)
            })
        );
    }

    #[test]
    fn a_negative_counter_is_refused() {
        let negative = Bytes::from_static(&[1, 7, 1]);
        assert_eq!(
            decode_version(&negative),
            Err(VersionError::Counter { peer: PeerId(7) })
        );
    }

    #[test]
    fn no_bytes_know_nothing_and_nothing_is_one_byte() {
        assert_eq!(decode_version(&Bytes::new()), Ok(VersionVector::new()));
        assert_eq!(
            encode_version(&VersionVector::new()),
            Bytes::from_static(&[0])
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_version(&Bytes::from(bytes));
        }

        #[test]
        fn the_engine_reads_what_we_write_and_we_read_what_it_writes(
            ends in prop::collection::btree_map(any::<u64>(), 1..=i32::MAX, 0..40)
        ) {
            let engine: loro::VersionVector = ends.iter().map(|(peer, end)| (*peer, *end)).collect();
            let ours: VersionVector = ends
                .iter()
                .map(|(peer, end)| (PeerId(*peer), Counter::try_from(*end).expect("positive")))
                .collect();
            prop_assert_eq!(&decode_version(&Bytes::from(engine.encode())).unwrap(), &ours);
            prop_assert_eq!(loro::VersionVector::decode(&encode_version(&ours)).unwrap(), engine);
        }
    }
}
