//! Importing what the log or the store holds of a document: many updates, in steps of which each is
//! one import's work.

use document_types::PeerId;
use document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX;

use crate::inspect::InspectError;
use crate::{CrdtDocument, CrdtError, read};

impl CrdtDocument {
    /// The attached document that `history` makes, writing as `peer`: a snapshot first if there is
    /// one, and then updates in an order in which each comes after what it builds on.
    ///
    /// # Errors
    /// As [`CrdtDocument::from_snapshot`] and [`CrdtDocument::import_log`].
    pub fn from_history<B: AsRef<[u8]>>(history: &[B], peer: PeerId) -> Result<Self, CrdtError> {
        let snapshot = history
            .first()
            .map(AsRef::as_ref)
            .filter(|first| read(first) == Err(InspectError::Snapshot));
        let (document, updates) = match snapshot {
            Some(snapshot) => (Self::from_snapshot(snapshot, peer)?, &history[1..]),
            None => (Self::new(peer)?, history),
        };
        document.import_log(updates)?;
        Ok(document)
    }

    /// Imports updates that were let in, in an order in which each comes after what it builds on. What
    /// the document knows is passed over.
    ///
    /// Imports have a cost of their own, however small the update, that grows with the document's
    /// peers, and one that grows with the square of the text that they insert; so as many updates go
    /// into one as [`import_steps`] allows.
    ///
    /// # Errors
    /// As [`CrdtDocument::import_batch`]; the updates of earlier steps are in the document then.
    pub fn import_log<B: AsRef<[u8]>>(&self, updates: &[B]) -> Result<(), CrdtError> {
        let mut known = self.version()?;
        let mut lacking = Vec::new();
        let mut texts = Vec::new();
        for update in updates {
            let bytes = update.as_ref();
            // Whatever of the log this version can't read is for the engine to judge.
            let Ok(inspected) = read(bytes) else {
                lacking.push(bytes);
                texts.push(INSERTED_TEXT_PER_IMPORT_BYTES_MAX);
                continue;
            };
            let spans = || inspected.spans.iter().map(|span| span.span);
            if spans().all(|span| span.end <= known.end(span.peer)) {
                continue;
            }
            spans().for_each(|span| known.include(span));
            lacking.push(bytes);
            texts.push(inspected.inserted_text_bytes as usize);
        }
        let mut rest = lacking.as_slice();
        for count in import_steps(&texts) {
            let (step, later) = rest.split_at(count);
            self.import_batch(step)?;
            rest = later;
        }
        Ok(())
    }
}

/// How many updates go into each import, given the bytes of text that each inserts: as many as
/// together stay within [`INSERTED_TEXT_PER_IMPORT_BYTES_MAX`], and one that alone does not.
pub fn import_steps(texts: &[usize]) -> Vec<usize> {
    let mut steps: Vec<(usize, usize)> = Vec::new();
    for text in texts {
        match steps.last_mut() {
            Some((count, bytes)) if *bytes + text <= INSERTED_TEXT_PER_IMPORT_BYTES_MAX => {
                *count += 1;
                *bytes += text;
            }
            _ => steps.push((1, *text)),
        }
    }
    steps.into_iter().map(|(count, _)| count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const READER: PeerId = PeerId(9);

    #[test]
    fn steps_hold_as_much_text_as_one_import_may_insert() {
        let kib = 1024;
        assert_eq!(import_steps(&[]), [] as [usize; 0]);
        assert_eq!(
            import_steps(&[8 * kib, 8 * kib, 1, 16 * kib, 40 * kib, 0]),
            [2, 1, 1, 1, 1]
        );
    }

    #[test]
    fn a_history_makes_the_document_with_and_without_a_snapshot() {
        let writer = CrdtDocument::new(PeerId(1)).unwrap();
        let mut updates: Vec<Bytes> = Vec::new();
        for i in 0..20 {
            writer.insert_text("content", i, "x").unwrap();
            updates.push(writer.take_local_update().unwrap().unwrap());
        }
        let snapshot = writer.export_snapshot().unwrap();
        writer.insert_text("content", 0, "later ").unwrap();
        updates.push(writer.take_local_update().unwrap().unwrap());
        let whole = CrdtDocument::from_history(&updates, READER).unwrap();
        assert_eq!(whole.text().unwrap(), writer.text().unwrap());
        // Everything that the snapshot holds comes again behind it.
        let with_snapshot = [&[snapshot], updates.as_slice()].concat();
        let folded = CrdtDocument::from_history(&with_snapshot, READER).unwrap();
        assert_eq!(folded.text().unwrap(), writer.text().unwrap());
        assert_eq!(folded.version().unwrap(), writer.version().unwrap());
        folded.import_log(&updates).unwrap();
        assert_eq!(folded.version().unwrap(), writer.version().unwrap());
    }
}
