//! What stands under the keys of [`crate::keyspace`], message by message.
//!
//! They are protobuf, so that a newer program may add fields: an older one reads what it knows. It
//! would lose the new ones when it writes a head again, so a field that must not be lost makes a new
//! keyspace version.

use bytes::Bytes;
use document_types::limits::{
    FOLD_AGE_MAX, FOLD_TAIL_BYTES_MAX, FOLD_TAIL_BYTES_MIN, FOLD_TAIL_PER_SNAPSHOT,
    FOLD_UPDATES_MAX,
};
use document_types::{Digest, Frontiers, HlcTimestamp, OpId, PeerId};
use uuid::Uuid;

use crate::keyspace::{SnapshotId, UpdateSequence};

/// The keyspace's version.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Format {
    /// See [`crate::keyspace::VERSION`].
    #[prost(uint64, tag = "1")]
    pub version: u64,
}

/// What is known of a document at a glance.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Head {
    /// Grows when compaction replaces the document's state by a shallow one; 0 until then.
    #[prost(uint64, tag = "1")]
    pub generation: u64,
    /// How many transactions have moved the document's admission state. Whoever judged records by
    /// an earlier state sees that it is another one.
    #[prost(uint64, tag = "2")]
    pub append_count: u64,
    /// Updates let in so far; the sequence of the last one.
    #[prost(uint64, tag = "3")]
    pub update_count: u64,
    /// Operations let in so far.
    #[prost(uint64, tag = "4")]
    pub operation_count: u64,
    /// Bytes of all updates so far, as stored.
    #[prost(uint64, tag = "5")]
    pub update_bytes: u64,
    /// Updates that wait for their dependencies.
    #[prost(uint64, tag = "6")]
    pub pending_count: u64,
    /// The sum of the hashes of everything let in, see `documents/set_hash.rs`; 32 bytes, or empty
    /// in a document without operations.
    #[prost(bytes = "bytes", tag = "7")]
    pub set_hash: Bytes,
    /// The operations that nothing has followed yet; empty if there are too many of them to name.
    #[prost(message, repeated, tag = "8")]
    pub frontiers: Vec<Operation>,
    /// Whether the frontiers are not kept any more, because they became too many.
    #[prost(bool, tag = "9")]
    pub frontiers_unknown: bool,
    /// The newest snapshot.
    #[prost(message, optional, tag = "10")]
    pub snapshot: Option<SnapshotPointer>,
    /// The one before it, which those still read who began with it.
    #[prost(message, optional, tag = "11")]
    pub previous_snapshot: Option<SnapshotPointer>,
    /// The stamp of the oldest update since the newest snapshot; 0 if there is none.
    #[prost(fixed64, tag = "12")]
    pub tail_since_hlc: u64,
    /// The stamp of the last update.
    #[prost(fixed64, tag = "13")]
    pub last_hlc: u64,
    /// Set while the document can't be materialised.
    #[prost(message, optional, tag = "14")]
    pub degraded: Option<Degraded>,
    /// Whether anything in it was ever styled.
    #[prost(bool, tag = "15")]
    pub styled: bool,
}

impl Head {
    /// The sequence of the last update, 0 if there is none.
    pub fn sequence_last(&self) -> UpdateSequence {
        UpdateSequence(self.update_count)
    }

    /// The sequence up to which the newest snapshot holds everything.
    pub fn folded_to(&self) -> UpdateSequence {
        UpdateSequence(
            self.snapshot
                .as_ref()
                .map_or(0, |snapshot| snapshot.sequence_last),
        )
    }

    /// The sequence up to which updates are stored no more.
    pub fn trimmed_to(&self) -> UpdateSequence {
        UpdateSequence(
            self.previous_snapshot
                .as_ref()
                .map_or(0, |snapshot| snapshot.sequence_last),
        )
    }

    /// Updates since the newest snapshot.
    pub fn tail_count(&self) -> u64 {
        self.update_count - self.folded_to().0
    }

    /// Bytes of the updates since the newest snapshot, as stored.
    pub fn tail_bytes(&self) -> u64 {
        let folded = self
            .snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.update_bytes);
        self.update_bytes.saturating_sub(folded)
    }

    /// Whether a fold is due at `now_ms` (milliseconds since the Unix epoch).
    pub fn fold_is_due(&self, now_ms: u64) -> bool {
        let tail_age_ms =
            now_ms.saturating_sub(HlcTimestamp::from_u64(self.tail_since_hlc).millis());
        let snapshot_bytes = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes);
        let tail_bytes_max = (snapshot_bytes / FOLD_TAIL_PER_SNAPSHOT)
            .clamp(FOLD_TAIL_BYTES_MIN, FOLD_TAIL_BYTES_MAX);
        self.tail_count() >= FOLD_UPDATES_MAX
            || self.tail_bytes() >= tail_bytes_max
            || self.tail_count() > 0 && u128::from(tail_age_ms) >= FOLD_AGE_MAX.as_millis()
    }

    /// The operations that nothing has followed yet, `None` if they are too many to be kept here.
    pub fn known_frontiers(&self) -> Option<Frontiers> {
        (!self.frontiers_unknown).then(|| {
            let to_op = |operation: &Operation| OpId {
                peer: PeerId(operation.peer),
                counter: operation.counter,
            };
            self.frontiers.iter().map(to_op).collect()
        })
    }
}

/// One operation.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Operation {
    /// Who wrote it.
    #[prost(fixed64, tag = "1")]
    pub peer: u64,
    /// Its number.
    #[prost(uint32, tag = "2")]
    pub counter: u32,
}

/// Where a snapshot is and what it holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotPointer {
    /// The snapshot's id, 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// The last update in it.
    #[prost(uint64, tag = "2")]
    pub sequence_last: u64,
    /// BLAKE3 of its bytes, 32 bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub digest: Bytes,
    /// How many bytes it has.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// [`Head::update_bytes`] up to its last update.
    #[prost(uint64, tag = "5")]
    pub update_bytes: u64,
}

impl SnapshotPointer {
    /// The snapshot's id, `None` if the stored one is damaged.
    pub fn snapshot_id(&self) -> Option<SnapshotId> {
        Uuid::from_slice(&self.id).ok().map(SnapshotId)
    }

    /// The digest of its bytes, `None` if the stored one is damaged.
    pub fn snapshot_digest(&self) -> Option<Digest> {
        Digest::from_slice(&self.digest)
    }
}

/// That a document can't be materialised, and is served as snapshot and tail.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Degraded {
    /// What went wrong, for an operator.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// When it was noticed, in milliseconds since the Unix epoch.
    #[prost(uint64, tag = "2")]
    pub since_ms: u64,
}

/// How far a peer's operations are known.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct VectorEnd {
    /// The counter after the last one's.
    #[prost(uint32, tag = "1")]
    pub end: u32,
}

/// Whom a peer belongs to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Binding {
    /// The person.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The installation.
    #[prost(string, tag = "2")]
    pub device: String,
}

/// The operations that one update brought; their end is in the key.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    /// The first one's counter. Those of the update that were known before are not counted in.
    #[prost(uint32, tag = "1")]
    pub start: u32,
    /// The update's digest, 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
}

/// A position in a source of the log.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Offset {
    /// The offset of the last record.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
}

/// A part of an update, which is too large for one value if it has several.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Part {
    /// How many parts there are.
    #[prost(uint32, tag = "1")]
    pub part_count: u32,
    /// This one's bytes. All together are a `StampedUpdate` of `schemas/op-log/op_record.proto`.
    #[prost(bytes = "bytes", tag = "2")]
    pub bytes: Bytes,
}

/// When a snapshot's writing began.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SnapshotStarted {
    /// In milliseconds since the Unix epoch, by the clock of the node that folds.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
}

/// A part of the version vector of a snapshot: peers, and at the same place their ends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct VectorPiece {
    /// The peers, ascending.
    #[prost(fixed64, repeated, tag = "1")]
    pub peers: Vec<u64>,
    /// For each the counter after its last operation's.
    #[prost(uint32, repeated, tag = "2")]
    pub ends: Vec<u32>,
}

/// Where a sealed segment of a document's records is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArchivedSegment {
    /// The object's name in the archive.
    #[prost(string, tag = "1")]
    pub object: String,
    /// BLAKE3 of the object, 32 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    /// The last update in it.
    #[prost(uint64, tag = "3")]
    pub sequence_last: u64,
}

/// A log, as whoever has offsets in it has to know it again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Log {
    /// What tells it from all others.
    #[prost(string, tag = "1")]
    pub id: String,
    /// How many partitions it has: a document's partition follows from it.
    #[prost(uint32, tag = "2")]
    pub partition_count: u32,
}

/// A node's life.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Node {
    /// The latest epoch that was taken.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// The stamp below which the node may give out stamps.
    #[prost(fixed64, tag = "2")]
    pub hlc_ceiling: u64,
}
