use clock::Random;
use document_types::PeerId;
use xxhash_rust::xxh32::xxh32;

/// An update is "loro", 16 bytes of checksum of which the last 4 count, 2 bytes of mode, and blocks,
/// each with its length before it.
const CHECKSUM_AT: usize = 16;
const CHECKED_FROM: usize = 20;
const BLOCKS_AT: usize = 22;
const CHECKSUM_SEED: u32 = u32::from_le_bytes(*b"LORO");

/// The most changes in one mutant.
const CHANGES_MAX: u64 = 5;

/// `update`, which holds one block, with one to five changes in the block; the block's length and the
/// checksum are made right again. `None` if there is no block in it.
pub(crate) fn mutate(update: &[u8], random: &Random) -> Option<Vec<u8>> {
    let body = update.get(BLOCKS_AT..)?;
    let block_at = body.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let mut block = body.get(block_at..)?.to_vec();
    for _ in 0..=random.below(CHANGES_MAX) {
        if block.is_empty() {
            return None;
        }
        let at = place(random, block.len());
        match random.below(10) {
            0..4 => block[at] = byte(random),
            4..6 => block[at] ^= 1 << random.below(8),
            6 => block[at] = [0, 1, 0x7f, 0x80, 0xff][place(random, 5)],
            7 => block.insert(at, byte(random)),
            8 if block.len() > 1 => drop(block.remove(at)),
            _ => block[at] = block[at].wrapping_add(1),
        }
    }
    let mut mutant = update[..BLOCKS_AT].to_vec();
    push_length(&mut mutant, block.len());
    mutant.extend(block);
    seal(&mut mutant);
    Some(mutant)
}

/// `update` as `to` would have written it instead of `from`. The log knows a peer's operations after
/// one of its mutants got in, so that the next mutant needs another peer to be tried at all.
pub(crate) fn rewrite_peer(update: &[u8], from: PeerId, to: PeerId) -> Vec<u8> {
    let mut rewritten = update.to_vec();
    let (from, to) = (from.0.to_le_bytes(), to.0.to_le_bytes());
    let mut at = BLOCKS_AT;
    while let Some(window) = rewritten.get_mut(at..at + from.len()) {
        if window == from {
            window.copy_from_slice(&to);
        }
        at += 1;
    }
    seal(&mut rewritten);
    rewritten
}

fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(low_bits(length) | 0x80);
        length >>= 7;
    }
    bytes.push(low_bits(length));
}

#[allow(clippy::cast_possible_truncation)] // Seven bits fit.
fn low_bits(length: usize) -> u8 {
    (length & 0x7f) as u8
}

/// Makes the checksum right again.
fn seal(update: &mut [u8]) {
    if update.len() >= BLOCKS_AT {
        let checksum = xxh32(&update[CHECKED_FROM..], CHECKSUM_SEED);
        update[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
    }
}

#[allow(clippy::cast_possible_truncation)] // Eight bits fit.
fn byte(random: &Random) -> u8 {
    random.below(256) as u8
}

/// A number below `bound`.
#[allow(clippy::cast_possible_truncation)] // It is below a `usize`.
pub(crate) fn place(random: &Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt_document::{CrdtDocument, inspect};

    const NOW_MS: u64 = 4_000_000_000_000;

    fn update(peer: PeerId) -> Vec<u8> {
        let document = CrdtDocument::new(peer).unwrap();
        document.insert_text("content", 0, "hello world").unwrap();
        document.take_local_update().unwrap().unwrap().to_vec()
    }

    #[test]
    fn another_peers_update_is_as_good_as_the_first_ones() {
        let (ada, bob) = (PeerId(0x0123_4567_89ab_cdef), PeerId(0xfedc_ba98_7654_3210));
        let rewritten = rewrite_peer(&update(ada), ada, bob);
        let reader = CrdtDocument::new(PeerId(1)).unwrap();
        reader.import(&rewritten).unwrap();
        assert_eq!(reader.text().unwrap(), "hello world");
        assert_eq!(reader.version().unwrap().end(bob), 11);
        assert_eq!(reader.version().unwrap().end(ada), 0);
    }

    #[test]
    fn some_mutants_pass_for_updates_and_some_do_not() {
        let (update, random) = (update(PeerId(7)), Random::from_seed(1));
        let passes: Vec<bool> = (0..200)
            .map(|_| inspect(&mutate(&update, &random).unwrap(), NOW_MS).is_ok())
            .collect();
        assert!(passes.contains(&true) && passes.contains(&false));
    }
}
