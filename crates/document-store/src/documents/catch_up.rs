use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use document_types::limits::{
    CATCH_UP_BYTES_MAX, CATCH_UP_OPERATIONS_MAX, CATCH_UP_SCAN_BYTES_MAX, CHUNK_BYTES_MAX,
};
use document_types::record::StampedUpdate;
use document_types::{Digest, DocumentId, LogOffset, LogSource, VersionVector};

use super::fold::pointer_id;
use super::load::read_applied;
use super::parts::UpdateScan;
use super::snapshots::{read_pieces, read_vector};
use super::{CorruptValue, DocumentStore, StoreError, corrupt, read_head};
use crate::keyspace::{Key, SnapshotId, UpdateSequence};
use crate::ordered_kv::Transaction;
use crate::values::{Head, SnapshotPointer};

/// The most that one step of catching up gives, but for a single update or piece that is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpLimits {
    /// Operations of the updates.
    pub operations: usize,
    /// Bytes of the updates or of the snapshot.
    pub bytes: usize,
}

impl Default for CatchUpLimits {
    fn default() -> Self {
        Self {
            operations: CATCH_UP_OPERATIONS_MAX,
            bytes: CATCH_UP_BYTES_MAX,
        }
    }
}

/// Where catching up goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpCursor(Position);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Snapshot { id: SnapshotId, piece: u32 },
    Tail { next: UpdateSequence },
}

/// One step of catching up.
#[derive(Clone, Debug)]
pub struct CatchUpStep {
    /// What to hand on.
    pub content: CatchUpContent,
    /// Where to go on.
    pub cursor: CatchUpCursor,
    /// Set when nothing is left: for each source the last record that is covered, so that the rest
    /// is to be had from the log behind them. The cursor then asks for what was merged since.
    pub complete: Option<BTreeMap<LogSource, LogOffset>>,
}

/// What one step of catching up gives.
#[derive(Clone, Debug)]
pub enum CatchUpContent {
    /// A piece of a snapshot. The pieces of one id belong together, from offset 0 on; a piece of
    /// another id at offset 0 means that the earlier snapshot was replaced, and its pieces are void.
    Snapshot(SnapshotPiece),
    /// Updates in merge order, so that each comes after what it depends on; those that are known are
    /// left out. It may be empty although more follows.
    Updates(Vec<StampedUpdate>),
}

/// A piece of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPiece {
    /// Which snapshot.
    pub id: SnapshotId,
    /// Where in it the piece begins.
    pub offset_bytes: u64,
    /// How long the snapshot is.
    pub total_bytes: u64,
    /// The digest of the whole snapshot.
    pub digest: Digest,
    /// The piece.
    pub bytes: Bytes,
}

impl DocumentStore {
    /// The next step of catching up a replica that knows `known`, without holding the document in
    /// memory. The first step has no cursor, each later one that of the step before it, with `known`
    /// as it was then or as it is now.
    ///
    /// A replica that knows all that a stored snapshot knows gets the updates behind that one; any
    /// other gets the newest snapshot and the updates behind it. Folds may come and go meanwhile: a
    /// cursor into what they removed begins anew by itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn catch_up(
        &self,
        document: &DocumentId,
        known: &VersionVector,
        cursor: Option<CatchUpCursor>,
        limits: CatchUpLimits,
    ) -> Result<CatchUpStep, StoreError> {
        self.transact(|transaction| async move {
            let head = read_head(&*transaction, document)
                .await?
                .unwrap_or_default();
            let read = Read {
                transaction: &*transaction,
                document,
                head,
                known,
                limits,
            };
            let position = match cursor {
                Some(CatchUpCursor(position)) if read.is_stored(position)? => position,
                _ => read.begin().await?,
            };
            match position {
                Position::Snapshot { id, piece } => read.snapshot_step(id, piece).await,
                Position::Tail { next } => read.tail_step(next).await,
            }
        })
        .await
    }
}

/// One step's transaction and what it is about.
struct Read<'t> {
    transaction: &'t dyn Transaction,
    document: &'t DocumentId,
    head: Head,
    known: &'t VersionVector,
    limits: CatchUpLimits,
}

impl Read<'_> {
    /// The stored snapshot with this id, if folds have left it.
    fn pointer(&self, id: SnapshotId) -> Result<Option<&SnapshotPointer>, StoreError> {
        for pointer in [&self.head.snapshot, &self.head.previous_snapshot]
            .into_iter()
            .flatten()
        {
            if pointer_id(self.document, pointer)? == id {
                return Ok(Some(pointer));
            }
        }
        Ok(None)
    }

    fn is_stored(&self, position: Position) -> Result<bool, StoreError> {
        match position {
            Position::Snapshot { id, .. } => Ok(self.pointer(id)?.is_some()),
            Position::Tail { next } => Ok(next > self.head.trimmed_to()),
        }
    }

    /// Where a replica that knows `known` begins.
    async fn begin(&self) -> Result<Position, StoreError> {
        let Some(newest) = &self.head.snapshot else {
            return Ok(Position::Tail {
                next: UpdateSequence(1),
            });
        };
        if self.head.folded_to() < self.head.trimmed_to() {
            // What lies between is lost, and looking for it would begin anew without end.
            return Err(corrupt(
                &Key::Head(self.document.clone()),
                CorruptValue::Incomplete,
            ));
        }
        let id = pointer_id(self.document, newest)?;
        if self.known.is_empty() {
            return Ok(Position::Snapshot { id, piece: 0 });
        }
        if self.knows(id).await? {
            return Ok(Position::Tail {
                next: self.head.folded_to().next(),
            });
        }
        let knows_what_is_trimmed = match &self.head.previous_snapshot {
            Some(previous) => self.knows(pointer_id(self.document, previous)?).await?,
            None => true,
        };
        Ok(if knows_what_is_trimmed {
            Position::Tail {
                next: self.head.trimmed_to().next(),
            }
        } else {
            Position::Snapshot { id, piece: 0 }
        })
    }

    async fn knows(&self, id: SnapshotId) -> Result<bool, StoreError> {
        Ok(self
            .known
            .includes(&read_vector(self.transaction, self.document, id).await?))
    }

    async fn snapshot_step(&self, id: SnapshotId, piece: u32) -> Result<CatchUpStep, StoreError> {
        let damaged = |what| corrupt(&Key::SnapshotBytes(self.document.clone(), id, piece), what);
        let pointer = self
            .pointer(id)?
            .ok_or_else(|| damaged(CorruptValue::Incomplete))?;
        let digest = pointer
            .snapshot_digest()
            .ok_or_else(|| damaged(CorruptValue::Length))?;
        let count = (self.limits.bytes / CHUNK_BYTES_MAX).max(1);
        let pieces = read_pieces(self.transaction, self.document, id, piece, count).await?;
        let next_piece = (piece..).nth(pieces.len()).unwrap_or(u32::MAX);
        let mut bytes = BytesMut::new();
        for piece in &pieces {
            bytes.extend_from_slice(piece);
        }
        let offset_bytes = u64::from(piece) * CHUNK_BYTES_MAX as u64;
        let end_bytes = offset_bytes + bytes.len() as u64;
        let cursor = if end_bytes >= pointer.bytes {
            Position::Tail {
                next: UpdateSequence(pointer.sequence_last).next(),
            }
        } else if pieces.is_empty() {
            return Err(damaged(CorruptValue::Incomplete));
        } else {
            Position::Snapshot {
                id,
                piece: next_piece,
            }
        };
        Ok(CatchUpStep {
            content: CatchUpContent::Snapshot(SnapshotPiece {
                id,
                offset_bytes,
                total_bytes: pointer.bytes,
                digest,
                bytes: bytes.freeze(),
            }),
            cursor: CatchUpCursor(cursor),
            complete: None,
        })
    }

    async fn tail_step(&self, from: UpdateSequence) -> Result<CatchUpStep, StoreError> {
        let end = self.head.sequence_last().next();
        let mut updates = Vec::new();
        let mut next = from;
        let (mut operations, mut bytes, mut scanned_bytes) = (0, 0, 0);
        let mut scan = UpdateScan::new(
            self.transaction,
            Key::updates(self.document, from, end.max(from)),
        );
        while next < end && scanned_bytes < CATCH_UP_SCAN_BYTES_MAX {
            let key = Key::Update(self.document.clone(), next, 0);
            let Some(found) = scan.next().await?.filter(|found| found.key == key) else {
                return Err(corrupt(&key, CorruptValue::Incomplete));
            };
            scanned_bytes += found.bytes;
            let span = found.update.span;
            if span.end > self.known.end(span.peer) {
                operations += span.len() as usize;
                bytes += found.bytes;
                let too_much = operations > self.limits.operations || bytes > self.limits.bytes;
                if too_much && !updates.is_empty() {
                    break;
                }
                updates.push(found.update);
            }
            next = next.next();
        }
        let complete = match next >= end {
            true => Some(read_applied(self.transaction, self.document).await?),
            false => None,
        };
        Ok(CatchUpStep {
            content: CatchUpContent::Updates(updates),
            cursor: CatchUpCursor(Position::Tail { next }),
            complete,
        })
    }
}
