use std::fmt;

use bytes::Bytes;
use document_types::limits::{BLOB_BYTES_MAX, BLOB_PIECE_BYTES_MAX};

use crate::objects::Objects;
use crate::{BlobError, BlobId, BlobStore};

/// One blob, read from its beginning in pieces, of which one is in memory at a time.
///
/// Only the end shows whether the blob is what was stored: what the pieces held may be used for good
/// once [`next`](Self::next) has returned `Ok(None)`, and not before.
pub struct BlobReader {
    store: BlobStore,
    pieces: Pieces,
}

impl BlobReader {
    pub(crate) fn new(store: BlobStore, pieces: Pieces) -> Self {
        Self { store, pieces }
    }

    /// Bytes of the whole blob.
    pub fn length(&self) -> usize {
        self.pieces.length
    }

    /// The next piece, of at most [`BLOB_PIECE_BYTES_MAX`] bytes and never empty; `None` after the last
    /// one if all of them together are the blob that was stored.
    ///
    /// After an error, and when the future was dropped, the next call asks for the same piece again.
    ///
    /// # Errors
    /// [`BlobError`]; `Damaged` instead of `None` if the pieces are not the blob.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let Self { store, pieces } = self;
        store.within_bounds(pieces.next(store.objects())).await
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("store", &self.store)
            .field("id", &self.pieces.id)
            .field("position", &self.pieces.position)
            .finish_non_exhaustive()
    }
}

/// How far a blob has been read, and the digest of what was.
pub(crate) struct Pieces {
    id: BlobId,
    length: usize,
    position: usize,
    hasher: blake3::Hasher,
}

impl Pieces {
    /// Begins with the length, which bounds all that follows.
    pub(crate) async fn of(id: BlobId, objects: &dyn Objects) -> Result<Self, BlobError> {
        let found = objects.length(id).await?;
        let length = usize::try_from(found)
            .ok()
            .filter(|length| *length <= BLOB_BYTES_MAX)
            .ok_or_else(|| {
                let problem = format!("it has {found} bytes, and no blob has as many");
                BlobError::damaged(id, problem)
            })?;
        Ok(Self {
            id,
            length,
            position: 0,
            hasher: blake3::Hasher::new(),
        })
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// As [`BlobReader::next`].
    pub(crate) async fn next(&mut self, objects: &dyn Objects) -> Result<Option<Bytes>, BlobError> {
        if self.position == self.length {
            let found = BlobId::from_hasher(&self.hasher);
            if found == self.id {
                return Ok(None);
            }
            let problem = format!("what it holds would be called {found}");
            return Err(BlobError::damaged(self.id, problem));
        }
        let end = self.length.min(self.position + BLOB_PIECE_BYTES_MAX);
        let range = self.position as u64..end as u64;
        let piece = objects.read(self.id, range).await?;
        if piece.len() != end - self.position {
            return Err(BlobError::damaged(self.id, "it is shorter than it was"));
        }
        self.hasher.update(&piece);
        self.position = end;
        Ok(Some(piece))
    }
}
