//! The envelope of an exported blob: magic, checksum, mode, body.

use document_types::limits::UPDATE_BYTES_MAX;

use super::InspectError;
use super::reader::Reader;

const MAGIC: [u8; 4] = *b"loro";
const CHECKSUM_SEED: u32 = u32::from_le_bytes(*b"LORO");
/// Where the bytes begin that the checksum covers: the mode and the body.
const CHECKED_FROM: usize = 20;
const MODE_SNAPSHOT: u16 = 3;
const MODE_UPDATES: u16 = 4;

/// Several updates as one: their blocks, one after the other. The engine sorts what one import brings,
/// so what would wait for one another as several imports does not as one.
pub(crate) fn join(updates: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    joined.extend(MAGIC);
    joined.extend([0; CHECKED_FROM - MAGIC.len()]);
    joined.extend(MODE_UPDATES.to_be_bytes());
    let body_from = joined.len();
    for update in updates {
        joined.extend_from_slice(update.get(body_from..).unwrap_or_default());
    }
    let checksum = xxhash_rust::xxh32::xxh32(&joined[CHECKED_FROM..], CHECKSUM_SEED);
    joined[CHECKED_FROM - 4..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
    joined
}

/// The body of an update: its blocks, each with its length before it.
pub(super) fn open(update: &[u8]) -> Result<Reader<'_>, InspectError> {
    if update.len() > UPDATE_BYTES_MAX {
        return Err(InspectError::TooMany {
            what: "bytes",
            count: update.len() as u64,
            count_max: UPDATE_BYTES_MAX as u64,
        });
    }
    let mut reader = Reader::new(update);
    if reader.array() != Ok(MAGIC) {
        return Err(InspectError::NotAnUpdate);
    }
    // Sixteen bytes for a checksum, of which this mode uses the last four.
    let unused: [u8; 12] = reader.array()?;
    let expected = u32::from_le_bytes(reader.array()?);
    match u16::from_be_bytes(reader.array()?) {
        MODE_UPDATES => {}
        MODE_SNAPSHOT => return Err(InspectError::Snapshot),
        _ => return Err(InspectError::NotAnUpdate),
    }
    let checked = update.get(CHECKED_FROM..).unwrap_or_default();
    if xxhash_rust::xxh32::xxh32(checked, CHECKSUM_SEED) != expected || unused != [0; 12] {
        return Err(InspectError::Checksum);
    }
    Ok(reader)
}
