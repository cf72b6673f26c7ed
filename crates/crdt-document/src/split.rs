//! Taking an update apart without the engine.
//!
//! An update's body is a row of blocks, each the changes of one peer and readable on its own (Loro,
//! `docs/encoding.md`). So an update that holds several blocks is the same as one update a block, in
//! any order in which their dependencies come first.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh32::xxh32;

use crate::inspect::OpenStyles;

/// "loro", then 16 bytes of checksum of which the first 12 are 0, then the mode.
const HEADER_BYTES: usize = 22;
const CHECKED_FROM: usize = 20;
const CHECKSUM_SEED: u32 = u32::from_le_bytes(*b"LORO");
const MODE_UPDATES: u16 = 4;

/// The bytes are not an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the update's blocks can't be told apart")]
pub struct SplitError;

/// One update for each block of `update`, in their order. An update of a single block comes back as
/// it is. Blocks between which a style begins and ends stay together: a snapshot that is taken between
/// the two can't be loaded.
///
/// Whoever splits foreign bytes inspects each part: this refuses only what has no outline.
///
/// # Errors
/// [`SplitError`] if the bytes end within a block, or are not in the mode of updates.
pub fn split_update(update: &Bytes) -> Result<Vec<Bytes>, SplitError> {
    let blocks = outline(update)?;
    match blocks.len() {
        0 => Err(SplitError),
        1 => Ok(vec![update.clone()]),
        _ => Ok(join_styles(update, blocks)
            .into_iter()
            .map(|part| enclose(&update[part]))
            .collect()),
    }
}

/// Where the blocks are, each with its length before it.
fn outline(update: &[u8]) -> Result<Vec<Range<usize>>, SplitError> {
    let mode = update.get(CHECKED_FROM..HEADER_BYTES).ok_or(SplitError)?;
    if !update.starts_with(b"loro") || mode != MODE_UPDATES.to_be_bytes() {
        return Err(SplitError);
    }
    let mut blocks = Vec::new();
    let mut at = HEADER_BYTES;
    while at < update.len() {
        let (length, length_bytes) = read_length(&update[at..]).ok_or(SplitError)?;
        let end = at
            .checked_add(length_bytes)
            .and_then(|start| start.checked_add(length))
            .filter(|end| *end <= update.len())
            .ok_or(SplitError)?;
        blocks.push(at..end);
        at = end;
    }
    Ok(blocks)
}

/// Joins each block that ends within a style with those after it.
fn join_styles(update: &[u8], blocks: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut styles = OpenStyles::default();
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut is_open = false;
    for block in blocks {
        match parts.last_mut() {
            Some(part) if is_open => part.end = block.end,
            _ => parts.push(block.clone()),
        }
        is_open = styles.after(&update[block]);
    }
    parts
}

/// Puts a block with its length into an envelope of its own.
fn enclose(block: &[u8]) -> Bytes {
    let mut update = BytesMut::with_capacity(HEADER_BYTES + block.len());
    update.put_slice(b"loro");
    update.put_bytes(0, 16);
    update.put_u16(MODE_UPDATES);
    update.put_slice(block);
    let checksum = xxh32(&update[CHECKED_FROM..], CHECKSUM_SEED);
    update[16..20].copy_from_slice(&checksum.to_le_bytes());
    update.freeze()
}

/// An unsigned LEB128 number and how many bytes it takes.
fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use loro::{ExportMode, LoroDoc};

    #[test]
    fn the_parts_of_an_update_are_the_update() {
        let whole = LoroDoc::new();
        for peer in 1..=5 {
            let writer = LoroDoc::new();
            writer.set_peer_id(peer).unwrap();
            writer
                .import(&whole.export(ExportMode::Snapshot).unwrap())
                .unwrap();
            for word in 0..200 {
                writer
                    .get_text("content")
                    .insert(0, &format!("{peer} wrote {word} "))
                    .unwrap();
                writer.commit();
            }
            whole
                .import(&writer.export(ExportMode::all_updates()).unwrap())
                .unwrap();
        }
        let update = Bytes::from(whole.export(ExportMode::all_updates()).unwrap());
        let parts = split_update(&update).unwrap();
        assert!(parts.len() >= 5, "{} parts", parts.len());
        let other = LoroDoc::new();
        for part in &parts {
            let meta = LoroDoc::decode_import_blob_meta(part, true).unwrap();
            assert_eq!(meta.partial_end_vv.len(), 1);
            other.import(part).unwrap();
        }
        assert_eq!(other.get_deep_value(), whole.get_deep_value());
        assert_eq!(other.oplog_vv(), whole.oplog_vv());
    }

    #[test]
    fn no_part_ends_within_a_style() {
        let mut joined = 0;
        for offset in 0..8 {
            let doc = LoroDoc::new();
            let text = doc.get_text("content");
            text.insert(0, &"x".repeat(2_000)).unwrap();
            // Moves where the blocks end.
            doc.get_map("map")
                .insert("key", "y".repeat(offset))
                .unwrap();
            for start in 0..1_500 {
                text.mark(start..start + 1, "bold", true).unwrap();
            }
            doc.commit();
            let update = Bytes::from(doc.export(ExportMode::all_updates()).unwrap());
            let parts = split_update(&update).unwrap();
            joined += outline(&update).unwrap().len() - parts.len();
            let reader = LoroDoc::new();
            for part in &parts {
                crate::read(part).unwrap();
                reader.import(part).unwrap();
                let snapshot = reader.export(ExportMode::Snapshot).unwrap();
                LoroDoc::from_snapshot(&snapshot)
                    .unwrap()
                    .get_text("content")
                    .to_delta();
            }
            assert_eq!(reader.get_deep_value(), doc.get_deep_value());
        }
        assert!(
            joined > 0,
            "no block ended within a style, so this showed nothing"
        );
    }

    #[test]
    fn bytes_that_end_within_a_block_are_refused() {
        let doc = LoroDoc::new();
        doc.get_text("content").insert(0, "hello").unwrap();
        doc.commit();
        let update = Bytes::from(doc.export(ExportMode::all_updates()).unwrap());
        assert_eq!(
            split_update(&update).unwrap(),
            std::slice::from_ref(&update)
        );
        for end in 0..update.len() {
            assert_eq!(split_update(&update.slice(..end)), Err(SplitError));
        }
        let snapshot = Bytes::from(doc.export(ExportMode::Snapshot).unwrap());
        assert_eq!(split_update(&snapshot), Err(SplitError));
    }
}
