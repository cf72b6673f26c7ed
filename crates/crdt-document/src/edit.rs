//! Local editing, for tools, tests and the SDK's plain functions.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use document_types::CounterSpan;
use document_types::limits::INSERTED_PIECE_BYTES_MAX;
use loro::LoroResult;

use crate::{CrdtDocument, CrdtError};

impl CrdtDocument {
    /// Inserts `text` into the root text `container` before its `position`-th Unicode character.
    ///
    /// A long text is written in pieces from the last to the first. Pieces that follow each other
    /// would be joined into one run by the engine, and an edit that is concurrent with a run costs
    /// its readers time in the square of the run's length.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] if the text is shorter than `position`.
    pub fn insert_text(
        &self,
        container: &str,
        position: usize,
        text: &str,
    ) -> Result<(), CrdtError> {
        Ok(self.call(|doc| {
            let content = doc.get_text(container);
            last_to_first(text, |piece| content.insert(position, piece))
        })??)
    }

    /// Deletes `len` Unicode characters from the root text `container`, from the `position`-th on.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] if the text is shorter than that.
    pub fn delete_text(
        &self,
        container: &str,
        position: usize,
        len: usize,
    ) -> Result<(), CrdtError> {
        Ok(self.call(|doc| doc.get_text(container).delete(position, len))??)
    }

    /// As [`CrdtDocument::insert_text`], with the position in UTF-16 code units, as editors in
    /// browsers count.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] if the position is past the end or within a character.
    pub fn insert_text_utf16(
        &self,
        container: &str,
        position: usize,
        text: &str,
    ) -> Result<(), CrdtError> {
        Ok(self.call(|doc| {
            let content = doc.get_text(container);
            last_to_first(text, |piece| content.insert_utf16(position, piece))
        })??)
    }

    /// As [`CrdtDocument::delete_text`], with position and length in UTF-16 code units.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] if the range is past the end or within a character.
    pub fn delete_text_utf16(
        &self,
        container: &str,
        position: usize,
        len: usize,
    ) -> Result<(), CrdtError> {
        Ok(self.call(|doc| doc.get_text(container).delete_utf16(position, len))??)
    }

    /// Sets `key` of the root map `container` to a text value.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] if the engine refuses it.
    pub fn set_map_text(&self, container: &str, key: &str, value: &str) -> Result<(), CrdtError> {
        Ok(self.call(|doc| doc.get_map(container).insert(key, value))??)
    }

    /// Ends the change that local edits are being collected in. Exports and imports do it by
    /// themselves.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn commit(&self) -> Result<(), CrdtError> {
        self.call(loro::LoroDoc::commit)
    }

    /// Commits, and returns the own peer's operations since the last call (or since the document was
    /// loaded) as one update; `None` if there are none.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn take_local_update(&self) -> Result<Option<Bytes>, CrdtError> {
        self.commit()?;
        let peer = self.peer()?;
        let start = self.taken_end.load(Ordering::Relaxed);
        let end = self.version()?.end(peer);
        if end <= start {
            return Ok(None);
        }
        let update = self.export_spans(&[CounterSpan { peer, start, end }])?;
        self.taken_end.store(end, Ordering::Relaxed);
        Ok(Some(update))
    }
}

/// Hands `text` to `insert` in pieces of whole characters, of [`INSERTED_PIECE_BYTES_MAX`] at most.
fn last_to_first(text: &str, mut insert: impl FnMut(&str) -> LoroResult<()>) -> LoroResult<()> {
    let mut rest = text;
    while rest.len() > INSERTED_PIECE_BYTES_MAX {
        let start = rest.ceil_char_boundary(rest.len() - INSERTED_PIECE_BYTES_MAX);
        insert(&rest[start..])?;
        rest = &rest[..start];
    }
    insert(rest)
}
