//! A snapshot's bytes and version vector, in pieces that fit values and transactions.

use bytes::{Bytes, BytesMut};
use document_types::limits::{CHUNK_BYTES_MAX, MERGE_TRANSACTION_BYTES_MAX};
use document_types::{Digest, DocumentId, PeerId, VersionVector};
use prost::Message;

use super::{CorruptValue, DocumentStore, StoreError, corrupt, decode_entry, unpack_key};
use crate::keyspace::{Key, SnapshotId};
use crate::ordered_kv::{Pages, RangeOptions, Transaction};
use crate::values::{SnapshotPointer, SnapshotStarted, VectorPiece};

/// Pieces that one transaction writes or reads.
const PIECES_PER_TRANSACTION: usize = MERGE_TRANSACTION_BYTES_MAX / CHUNK_BYTES_MAX;
/// Peers of one piece of a vector: 8 bytes and at most 5 for each.
const PEERS_PER_PIECE: usize = CHUNK_BYTES_MAX / 13;

/// One value of a snapshot.
struct Piece {
    key: Key,
    value: Bytes,
}

impl DocumentStore {
    /// Writes a snapshot's bytes and what it knows, in several transactions. Nobody reads them
    /// before [`DocumentStore::finish_fold`] points at them; if that never happens,
    /// [`DocumentStore::sweep_snapshots`] removes them. `now_ms` is the wall clock's time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn write_snapshot(
        &self,
        document: &DocumentId,
        id: SnapshotId,
        bytes: &Bytes,
        version: &VersionVector,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut pieces = vec![Piece {
            key: Key::SnapshotStarted(document.clone(), id),
            value: SnapshotStarted { at_ms: now_ms }.encode_to_vec().into(),
        }];
        pieces.extend(vector_pieces(document, id, version));
        pieces.extend((0..).zip(split(bytes)).map(|(number, value)| Piece {
            key: Key::SnapshotBytes(document.clone(), id, number),
            value,
        }));
        for together in pieces.chunks(PIECES_PER_TRANSACTION) {
            self.transact(|transaction| async move {
                for piece in together {
                    transaction.set(&piece.key.pack(), &piece.value);
                }
                transaction.commit().await?;
                Ok::<_, StoreError>(())
            })
            .await?;
        }
        Ok(())
    }

    /// Reads the whole snapshot that `pointer` names, in several transactions, and checks it. `None`
    /// if it is gone: later folds replaced it.
    pub(super) async fn read_snapshot(
        &self,
        document: &DocumentId,
        pointer: &SnapshotPointer,
    ) -> Result<Option<Bytes>, StoreError> {
        let head_key = Key::Head(document.clone());
        let id = pointer
            .snapshot_id()
            .ok_or_else(|| corrupt(&head_key, CorruptValue::Length))?;
        let mut bytes = BytesMut::new();
        let mut next = 0;
        while (bytes.len() as u64) < pointer.bytes {
            let pieces = self
                .transact(|transaction| async move {
                    read_pieces(&*transaction, document, id, next, PIECES_PER_TRANSACTION).await
                })
                .await?;
            if pieces.is_empty() {
                return Ok(None);
            }
            for piece in pieces {
                bytes.extend_from_slice(&piece);
                next += 1;
            }
        }
        let bytes = bytes.freeze();
        if pointer.snapshot_digest() != Some(Digest::of(&bytes)) {
            let key = Key::SnapshotBytes(document.clone(), id, 0);
            return Err(corrupt(&key, CorruptValue::Digest));
        }
        Ok(Some(bytes))
    }
}

/// Up to `count` pieces of a snapshot's bytes from piece `from` on; fewer if they end or are gone.
pub(super) async fn read_pieces(
    transaction: &dyn Transaction,
    document: &DocumentId,
    id: SnapshotId,
    from: u32,
    count: usize,
) -> Result<Vec<Bytes>, StoreError> {
    let options = RangeOptions {
        limit: count.max(1),
        ..RangeOptions::default()
    };
    let mut pages = Pages::new(
        transaction,
        Key::snapshot_bytes(document, id, from),
        options,
    );
    let mut pieces = Vec::new();
    while let Some(page) = pages.next().await? {
        for (number, entry) in (from..).skip(pieces.len()).zip(page) {
            let key = unpack_key(&entry)?;
            if key != Key::SnapshotBytes(document.clone(), id, number) {
                return Err(corrupt(&key, CorruptValue::Incomplete));
            }
            pieces.push(entry.value);
            if pieces.len() == count {
                return Ok(pieces);
            }
        }
    }
    Ok(pieces)
}

/// What a snapshot knows.
pub(super) async fn read_vector(
    transaction: &dyn Transaction,
    document: &DocumentId,
    id: SnapshotId,
) -> Result<VersionVector, StoreError> {
    let options = RangeOptions {
        limit: PIECES_PER_TRANSACTION,
        ..RangeOptions::default()
    };
    let mut pages = Pages::new(transaction, Key::snapshot_vector(document, id), options);
    let mut ends = Vec::new();
    while let Some(page) = pages.next().await? {
        for entry in page {
            let (key, piece) = decode_entry::<VectorPiece>(entry)?;
            if piece.peers.len() != piece.ends.len() {
                return Err(corrupt(&key, CorruptValue::Length));
            }
            ends.extend(piece.peers.into_iter().map(PeerId).zip(piece.ends));
        }
    }
    Ok(ends.into_iter().collect())
}

fn vector_pieces<'a>(
    document: &'a DocumentId,
    id: SnapshotId,
    version: &VersionVector,
) -> impl Iterator<Item = Piece> + 'a {
    let ends: Vec<_> = version.iter().collect();
    let pieces: Vec<_> = ends
        .chunks(PEERS_PER_PIECE)
        .map(|ends| VectorPiece {
            peers: ends.iter().map(|(peer, _)| peer.0).collect(),
            ends: ends.iter().map(|(_, end)| *end).collect(),
        })
        .collect();
    (0..).zip(pieces).map(move |(number, piece)| Piece {
        key: Key::SnapshotVector(document.clone(), id, number),
        value: piece.encode_to_vec().into(),
    })
}

fn split(bytes: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..bytes.len())
        .step_by(CHUNK_BYTES_MAX)
        .map(|begin| bytes.slice(begin..bytes.len().min(begin + CHUNK_BYTES_MAX)))
}
