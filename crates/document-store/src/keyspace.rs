//! Every key of the store, each with its lifetime, its tuple and its value.
//!
//! Keys are FoundationDB tuples (<https://github.com/apple/foundationdb/blob/main/design/tuple.md>),
//! so they sort as their elements do and FoundationDB's own tools show them. Values are the messages
//! of [`crate::values`]; `schemas/keyspace.md` is the contract of both.
//!
//! A tuple never changes its meaning: what is stored differently gets a new word.

use std::borrow::Cow;

use bytes::Bytes;
use document_types::{
    Counter, DocumentId, LogOffset, LogPartition, LogSource, NodeId, PeerId, RegionId,
};
use foundationdb_tuple::{PackError, PackResult, TupleDepth, TupleUnpack, pack, unpack};
use uuid::Uuid;

use crate::ordered_kv::KeyRange;

/// The version of the keyspace that this code reads and writes.
pub const VERSION: u64 = 1;

/// The place of an update in a document's merge order, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateSequence(pub u64);

impl UpdateSequence {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One snapshot, written by one fold. Made from a UUIDv7, so that no two folds share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub Uuid);

/// An update that waits for its dependencies: where it came from, and its place within the record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingId {
    /// The source of its record.
    pub source: LogSource,
    /// The offset of its record.
    pub offset: LogOffset,
    /// Its place among the record's updates, from 0.
    pub index: u32,
}

/// A key of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The keyspace's version. Written once.
    /// `("format")` → [`Format`](crate::values::Format)
    Format,
    /// That a document exists. Written with its first record, and never removed.
    /// `("documents", document)` → nothing
    Listing(DocumentId),
    /// What is known of a document at a glance. Rewritten by every append and fold.
    /// `("document", document, "head")` → [`Head`](crate::values::Head)
    Head(DocumentId),
    /// How far one peer's operations are in the document. Only grows.
    /// `("document", document, "vv", peer)` → [`VectorEnd`](crate::values::VectorEnd)
    VectorEnd(DocumentId, PeerId),
    /// Whom a peer belongs to. Written with the peer's first operation, and never changed.
    /// `("document", document, "peer", peer)` → [`Binding`](crate::values::Binding)
    Peer(DocumentId, PeerId),
    /// The operations that one update brought, by their end. Immutable; survives folding.
    /// `("document", document, "span", peer, end)` → [`Span`](crate::values::Span)
    Span(DocumentId, PeerId, Counter),
    /// The last record of a source whose outcome is in the document's state. Only grows.
    /// `("document", document, "applied", region, partition)` → [`Offset`](crate::values::Offset)
    Applied(DocumentId, LogSource),
    /// A part of one update, in merge order. Immutable; trimmed by the fold after the next.
    /// `("document", document, "update", sequence, part)` → [`Part`](crate::values::Part)
    Update(DocumentId, UpdateSequence, u32),
    /// A part of an update whose dependencies have not come. Removed when it is let in or void.
    /// `("document", document, "pending", region, partition, offset, index, part)` →
    /// [`Part`](crate::values::Part)
    Pending(DocumentId, PendingId, u32),
    /// When a fold began to write a snapshot. Removed with the snapshot.
    /// `("document", document, "snapshot", id, "started")` →
    /// [`SnapshotStarted`](crate::values::SnapshotStarted)
    SnapshotStarted(DocumentId, SnapshotId),
    /// A piece of a snapshot's bytes, from 0. Immutable; removed when two later snapshots stand.
    /// `("document", document, "snapshot", id, "bytes", piece)` → the bytes
    SnapshotBytes(DocumentId, SnapshotId, u32),
    /// A piece of what a snapshot knows, from 0. Lives as long as the snapshot's bytes.
    /// `("document", document, "snapshot", id, "vector", piece)` →
    /// [`VectorPiece`](crate::values::VectorPiece)
    SnapshotVector(DocumentId, SnapshotId, u32),
    /// An archived segment of the document's records, by the first of them. Immutable. Reserved for
    /// the archiver.
    /// `("document", document, "archive", sequence)` →
    /// [`ArchivedSegment`](crate::values::ArchivedSegment)
    Archive(DocumentId, UpdateSequence),
    /// Which log a region's records come from. Written before the first of them is merged, and never
    /// changed.
    /// `("log", region)` → [`Log`](crate::values::Log)
    Log(RegionId),
    /// The record up to which everything of a source is in its document's state or pending. Only
    /// grows; written after those commits, never before.
    /// `("merged", region, partition)` → [`Offset`](crate::values::Offset)
    Merged(LogSource),
    /// A node's epoch, and the stamp below which it may give out stamps. Both only grow.
    /// `("node", node)` → [`Node`](crate::values::Node)
    Node(NodeId),
}

/// Bytes that are no key of this keyspace.
#[derive(Debug, thiserror::Error)]
#[error("the bytes are not a key of keyspace version {VERSION}")]
pub struct NotAKey(#[source] PackError);

const FORMAT: &str = "format";
const DOCUMENTS: &str = "documents";
const DOCUMENT: &str = "document";
const LOG: &str = "log";
const MERGED: &str = "merged";
const NODE: &str = "node";

const HEAD: &str = "head";
const VECTOR_END: &str = "vv";
const PEER: &str = "peer";
const SPAN: &str = "span";
const APPLIED: &str = "applied";
const UPDATE: &str = "update";
const PENDING: &str = "pending";
const SNAPSHOT: &str = "snapshot";
const ARCHIVE: &str = "archive";

const STARTED: &str = "started";
const BYTES: &str = "bytes";
const VECTOR: &str = "vector";

impl Key {
    /// The key's bytes.
    pub fn pack(&self) -> Vec<u8> {
        match self {
            Self::Format => pack(&(FORMAT,)),
            Self::Listing(document) => pack(&(DOCUMENTS, document.as_str())),
            Self::Head(document) => pack(&(DOCUMENT, document.as_str(), HEAD)),
            Self::VectorEnd(document, peer) => {
                pack(&(DOCUMENT, document.as_str(), VECTOR_END, peer.0))
            }
            Self::Peer(document, peer) => pack(&(DOCUMENT, document.as_str(), PEER, peer.0)),
            Self::Span(document, peer, end) => {
                pack(&(DOCUMENT, document.as_str(), SPAN, peer.0, *end))
            }
            Self::Applied(document, source) => {
                let (region, partition) = (source.region.as_str(), source.partition.0);
                pack(&(DOCUMENT, document.as_str(), APPLIED, region, partition))
            }
            Self::Update(document, sequence, part) => {
                pack(&(DOCUMENT, document.as_str(), UPDATE, sequence.0, *part))
            }
            Self::Pending(
                document,
                PendingId {
                    source,
                    offset,
                    index,
                },
                part,
            ) => {
                let (region, partition) = (source.region.as_str(), source.partition.0);
                let document = document.as_str();
                pack(&(
                    DOCUMENT, document, PENDING, region, partition, offset.0, *index, *part,
                ))
            }
            Self::SnapshotStarted(document, id) => {
                pack(&(DOCUMENT, document.as_str(), SNAPSHOT, id.0, STARTED))
            }
            Self::SnapshotBytes(document, id, piece) => {
                pack(&(DOCUMENT, document.as_str(), SNAPSHOT, id.0, BYTES, *piece))
            }
            Self::SnapshotVector(document, id, piece) => {
                pack(&(DOCUMENT, document.as_str(), SNAPSHOT, id.0, VECTOR, *piece))
            }
            Self::Archive(document, sequence) => {
                pack(&(DOCUMENT, document.as_str(), ARCHIVE, sequence.0))
            }
            Self::Log(region) => pack(&(LOG, region.as_str())),
            Self::Merged(source) => pack(&(MERGED, source.region.as_str(), source.partition.0)),
            Self::Node(node) => pack(&(NODE, node.0)),
        }
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`NotAKey`] if the bytes are none.
    pub fn unpack(bytes: &[u8]) -> Result<Self, NotAKey> {
        Self::unpack_root(bytes).map_err(NotAKey)
    }

    fn unpack_root(bytes: &[u8]) -> PackResult<Self> {
        let (word, Rest(rest)): (Cow<'_, str>, _) = unpack(bytes)?;
        match word.as_ref() {
            FORMAT => unpack(rest).map(|()| Self::Format),
            DOCUMENTS => {
                let (document,): (Cow<'_, str>,) = unpack(rest)?;
                Ok(Self::Listing(document_id(&document)?))
            }
            DOCUMENT => {
                let (document, word, Rest(rest)): (Cow<'_, str>, Cow<'_, str>, _) = unpack(rest)?;
                Self::unpack_document(document_id(&document)?, &word, rest)
            }
            LOG => {
                let (region,): (Cow<'_, str>,) = unpack(rest)?;
                Ok(Self::Log(region_id(&region)?))
            }
            MERGED => {
                let (region, partition): (Cow<'_, str>, u32) = unpack(rest)?;
                Ok(Self::Merged(source(&region, partition)?))
            }
            NODE => unpack(rest).map(|(node,)| Self::Node(NodeId(node))),
            _ => Err(unknown_word()),
        }
    }

    fn unpack_document(document: DocumentId, word: &str, rest: &[u8]) -> PackResult<Self> {
        Ok(match word {
            HEAD => {
                let () = unpack(rest)?;
                Self::Head(document)
            }
            VECTOR_END => {
                let (peer,) = unpack(rest)?;
                Self::VectorEnd(document, PeerId(peer))
            }
            PEER => {
                let (peer,) = unpack(rest)?;
                Self::Peer(document, PeerId(peer))
            }
            SPAN => {
                let (peer, end) = unpack(rest)?;
                Self::Span(document, PeerId(peer), end)
            }
            APPLIED => {
                let (region, partition): (Cow<'_, str>, u32) = unpack(rest)?;
                Self::Applied(document, source(&region, partition)?)
            }
            UPDATE => {
                let (sequence, part) = unpack(rest)?;
                Self::Update(document, UpdateSequence(sequence), part)
            }
            PENDING => {
                let (region, partition, offset, index, part): (Cow<'_, str>, u32, u64, u32, u32) =
                    unpack(rest)?;
                let source = source(&region, partition)?;
                let id = PendingId {
                    source,
                    offset: LogOffset(offset),
                    index,
                };
                Self::Pending(document, id, part)
            }
            SNAPSHOT => {
                let (id, word, Rest(rest)): (Uuid, Cow<'_, str>, _) = unpack(rest)?;
                Self::unpack_snapshot(document, SnapshotId(id), &word, rest)?
            }
            ARCHIVE => {
                let (sequence,) = unpack(rest)?;
                Self::Archive(document, UpdateSequence(sequence))
            }
            _ => return Err(unknown_word()),
        })
    }

    fn unpack_snapshot(
        document: DocumentId,
        id: SnapshotId,
        word: &str,
        rest: &[u8],
    ) -> PackResult<Self> {
        Ok(match word {
            STARTED => {
                let () = unpack(rest)?;
                Self::SnapshotStarted(document, id)
            }
            BYTES => {
                let (piece,) = unpack(rest)?;
                Self::SnapshotBytes(document, id, piece)
            }
            VECTOR => {
                let (piece,) = unpack(rest)?;
                Self::SnapshotVector(document, id, piece)
            }
            _ => return Err(unknown_word()),
        })
    }
}

/// Ranges of keys that are read or cleared together.
impl Key {
    /// The [`Key::Listing`]s after `after`, or all.
    pub fn listings(after: Option<&DocumentId>) -> KeyRange {
        let all = KeyRange::of_tuple(&pack(&(DOCUMENTS,)));
        match after {
            Some(document) => KeyRange {
                begin: key_end(&Self::Listing(document.clone()).pack()),
                ..all
            },
            None => all,
        }
    }

    /// The [`Key::VectorEnd`]s of a document.
    pub fn vector_ends(document: &DocumentId) -> KeyRange {
        KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), VECTOR_END)))
    }

    /// The [`Key::Peer`]s of a document.
    pub fn peers(document: &DocumentId) -> KeyRange {
        KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), PEER)))
    }

    /// The [`Key::Span`]s of a peer that end after `start`.
    pub fn spans_after(document: &DocumentId, peer: PeerId, start: Counter) -> KeyRange {
        let of_peer = KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), SPAN, peer.0)));
        KeyRange {
            begin: key_end(&Self::Span(document.clone(), peer, start).pack()),
            ..of_peer
        }
    }

    /// The [`Key::Applied`]s of a document.
    pub fn all_applied(document: &DocumentId) -> KeyRange {
        KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), APPLIED)))
    }

    /// All parts of the updates from `from` (inclusive) to `end` (exclusive).
    pub fn updates(document: &DocumentId, from: UpdateSequence, end: UpdateSequence) -> KeyRange {
        let at =
            |sequence: UpdateSequence| pack(&(DOCUMENT, document.as_str(), UPDATE, sequence.0));
        KeyRange::new(at(from), at(end))
    }

    /// All parts of everything that waits in a document.
    pub fn all_pending(document: &DocumentId) -> KeyRange {
        KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), PENDING)))
    }

    /// All parts of one update that waits.
    pub fn pending(
        document: &DocumentId,
        PendingId {
            source,
            offset,
            index,
        }: &PendingId,
    ) -> KeyRange {
        let (region, partition) = (source.region.as_str(), source.partition.0);
        let key = (
            DOCUMENT,
            document.as_str(),
            PENDING,
            region,
            partition,
            offset.0,
            *index,
        );
        KeyRange::of_tuple(&pack(&key))
    }

    /// Everything of the snapshots after `after`, or of all.
    pub fn snapshots(document: &DocumentId, after: Option<SnapshotId>) -> KeyRange {
        let all = KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), SNAPSHOT)));
        match after {
            Some(id) => KeyRange {
                begin: Self::snapshot(document, id).end,
                ..all
            },
            None => all,
        }
    }

    /// Everything of one snapshot.
    pub fn snapshot(document: &DocumentId, id: SnapshotId) -> KeyRange {
        KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), SNAPSHOT, id.0)))
    }

    /// The [`Key::SnapshotBytes`] of a snapshot from `piece` on.
    pub fn snapshot_bytes(document: &DocumentId, id: SnapshotId, piece: u32) -> KeyRange {
        let all = KeyRange::of_tuple(&pack(&(DOCUMENT, document.as_str(), SNAPSHOT, id.0, BYTES)));
        let begin = Self::SnapshotBytes(document.clone(), id, piece).pack();
        KeyRange {
            begin: begin.into(),
            ..all
        }
    }

    /// The [`Key::SnapshotVector`]s of a snapshot.
    pub fn snapshot_vector(document: &DocumentId, id: SnapshotId) -> KeyRange {
        KeyRange::of_tuple(&pack(&(
            DOCUMENT,
            document.as_str(),
            SNAPSHOT,
            id.0,
            VECTOR,
        )))
    }
}

/// The first key after `key` and everything that extends it.
fn key_end(key: &[u8]) -> Bytes {
    KeyRange::of_tuple(key).end
}

/// What is left of a tuple once its first elements are known.
struct Rest<'de>(&'de [u8]);

impl<'de> TupleUnpack<'de> for Rest<'de> {
    fn unpack(input: &'de [u8], _: TupleDepth) -> PackResult<(&'de [u8], Self)> {
        Ok((&[], Self(input)))
    }
}

fn document_id(text: &str) -> PackResult<DocumentId> {
    DocumentId::parse(text).map_err(|error| PackError::Message(error.to_string().into()))
}

fn region_id(text: &str) -> PackResult<RegionId> {
    RegionId::parse(text).map_err(|error| PackError::Message(error.to_string().into()))
}

fn source(region: &str, partition: u32) -> PackResult<LogSource> {
    Ok(LogSource {
        region: region_id(region)?,
        partition: LogPartition(partition),
    })
}

fn unknown_word() -> PackError {
    PackError::Message("the key begins with no known word".into())
}

#[cfg(test)]
mod tests;
