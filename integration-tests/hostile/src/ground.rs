use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clock::Random;
use crdt_document::CrdtDocument;
use document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX;
use document_types::{PeerId, VersionVector};
use loro::{ExpandType, StyleConfig, StyleConfigMap};

use crate::edits::{edit, paste};
use crate::mutant::{mutate, place, rewrite_peer};

/// Honest updates that mutants are made of.
const UPDATES: usize = 12;
/// Edits in the largest of them.
const EDITS_PER_UPDATE_MAX: u64 = 12;
/// Edits that a new document begins with.
const FIRST_EDITS: usize = 60;
/// One update of so many that are made of pastes.
const PASTES: u64 = 4;
/// One mutant of so many is made of an update that inserts more text than one import may.
const LARGE: u64 = 256;

/// A document as an attacker knows it, and honest updates that follow it.
pub(crate) struct Ground {
    /// What the document knows.
    pub(crate) version: VersionVector,
    updates: Vec<Source>,
    large: Source,
}

/// An honest update, and who wrote it.
#[derive(Clone)]
pub(crate) struct Source {
    peer: PeerId,
    bytes: Bytes,
}

impl Ground {
    /// Honest updates that follow what `document` holds, each by itself.
    pub(crate) fn on(document: &CrdtDocument, random: &Random) -> anyhow::Result<Self> {
        let version = document.version()?;
        let snapshot = document.export_snapshot()?;
        let mut updates = Vec::new();
        while updates.len() < UPDATES {
            let edits = 1 + random.below(EDITS_PER_UPDATE_MAX);
            let pasted = if random.below(PASTES) == 0 {
                place(random, 2_000)
            } else {
                0
            };
            updates.extend(write(&snapshot, &version, random, edits, pasted)?);
        }
        let large = write(
            &snapshot,
            &version,
            random,
            1,
            INSERTED_TEXT_PER_IMPORT_BYTES_MAX + 1,
        )?;
        Ok(Self {
            version,
            updates,
            large: large.context("a paste is an update")?,
        })
    }

    /// One of the updates, as nobody has written it yet.
    pub(crate) fn draw(&self, random: &Random) -> Source {
        let source = if random.below(LARGE) == 0 {
            &self.large
        } else {
            &self.updates[place(random, self.updates.len())]
        };
        let peer = some_peer(random);
        Source {
            peer,
            bytes: rewrite_peer(&source.bytes, source.peer, peer).into(),
        }
    }
}

impl Source {
    /// The honest update itself.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// A mutant of it.
    pub(crate) fn mutant(&self, random: &Random) -> anyhow::Result<Bytes> {
        let mutant = mutate(&self.bytes, random).context("an update has a block")?;
        Ok(mutant.into())
    }
}

/// The first updates of a new document: two people's, of whom the second knows the first.
pub(crate) fn first_updates(random: &Random) -> anyhow::Result<Vec<Bytes>> {
    let document = CrdtDocument::new(some_peer(random))?;
    let mut updates = Vec::new();
    for _ in 0..2 {
        let known = document.version()?;
        let snapshot = document.export_snapshot()?;
        for _ in 0..FIRST_EDITS / 20 {
            let written = write(&snapshot, &known, random, 20, 40)?;
            let written = written.context("a paste is an update")?;
            document.import(&written.bytes)?;
            updates.push(written.bytes);
        }
    }
    Ok(updates)
}

/// What a new writer of `snapshot` writes: `edits`, and an insertion of `pasted` characters. `None`
/// if that comes to nothing.
fn write(
    snapshot: &[u8],
    known: &VersionVector,
    random: &Random,
    edits: u64,
    pasted: usize,
) -> anyhow::Result<Option<Source>> {
    let peer = some_peer(random);
    // The engine's destructor aborts the process after a panic.
    let writer = ManuallyDrop::new(CrdtDocument::from_snapshot(snapshot, peer)?);
    let writing = AssertUnwindSafe(|| {
        let doc = writer.engine();
        let mut styles = StyleConfigMap::new();
        for key in ["bold", "link"] {
            let expand = ExpandType::After;
            styles.insert(key.into(), StyleConfig { expand });
        }
        doc.config_text_style(styles);
        for _ in 0..edits {
            // What can't be done in this document is one edit fewer.
            let _ = edit(doc, random);
        }
        if pasted > 0 {
            let _ = paste(doc, random, pasted);
        }
        doc.commit();
    });
    if catch_unwind(writing).is_err() {
        bail!("what the server let in makes an honest writer's engine panic");
    }
    let writer = ManuallyDrop::into_inner(writer);
    let version = writer.version()?;
    if version.end(peer) == 0 {
        return Ok(None);
    }
    let bytes = writer.export_since(known)?;
    ensure!(!bytes.is_empty(), "an export has bytes");
    Ok(Some(Source { peer, bytes }))
}

/// A peer id that nobody else has.
fn some_peer(random: &Random) -> PeerId {
    PeerId(random.next_u64() >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_update_that_is_drawn_follows_the_document() {
        let random = Random::from_seed(1);
        let document = CrdtDocument::new(PeerId(1)).unwrap();
        for update in first_updates(&random).unwrap() {
            assert!(document.import(&update).unwrap().pending.is_empty());
        }
        let ground = Ground::on(&document, &random).unwrap();
        for _ in 0..50 {
            let source = ground.draw(&random);
            let outcome = document.import(&source.bytes).unwrap();
            assert_eq!(outcome.applied.len(), 1);
            assert_eq!(outcome.applied[0].peer, source.peer);
        }
    }
}
