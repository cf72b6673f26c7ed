use std::time::Duration;

use bytes::Bytes;
use document_types::{
    Advice, BatchId, CounterSpan, ErrorCode, HlcTimestamp, LogOffset, NodeId, PeerId, VersionVector,
};
use tokio::time::Instant;

use crate::TextChange;

/// How a document stands with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is no connection. Edits are made and kept, and go out later.
    Offline,
    /// The document is being joined, or what the replica lacks is arriving.
    CatchingUp,
    /// The replica has everything that the server's log had when it joined, and follows it.
    Live,
    /// The replica no longer takes part, for good.
    Closed {
        /// Why.
        reason: String,
    },
}

/// How a document stands, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How it stands with the server.
    pub status: Status,
    /// Own operations that are not known to be durable.
    pub unacknowledged_operations: u64,
}

/// What happens in a document.
#[derive(Clone, Debug)]
pub enum DocumentEvent {
    /// The status is another.
    Status(Status),
    /// The replica has everything that the server's log had when it joined.
    CaughtUp,
    /// The text that the application shows has changed by others' edits, or by a transaction of its
    /// own: how to get to the new one.
    Changed(TextChange),
    /// Operations of others are in the replica now.
    Imported {
        /// Which, at most one span a peer.
        spans: Vec<CounterSpan>,
        /// When they came.
        at: Instant,
        /// How long the engine took to import them.
        took: Duration,
    },
    /// Own edits were committed: they are operations now, and go to the server.
    Committed(Committed),
    /// Own operations are durable in the region's log.
    Acknowledged(Acknowledged),
    /// A batch of own operations was refused. Unless the advice is [`Advice::GiveUp`] or
    /// [`Advice::Fix`], it is sent again by itself.
    Refused {
        /// The batch's operations.
        spans: Vec<CounterSpan>,
        /// What kind of refusal.
        code: ErrorCode,
        /// What the server advises.
        advice: Advice,
        /// For the person.
        message: String,
    },
    /// Own operations were refused for good. The replica has been replaced by one without them, which
    /// writes under a new peer id and has taken over all that was not refused.
    Recovered(RecoveryCopy),
    /// The replica was thrown away, since the engine failed on an import, and is being loaded again.
    Reloading,
    /// The room's beat; a beat of 0 ms says that the pulse is off.
    Pulse {
        /// The beat's number.
        beat: u64,
        /// Its length.
        beat_ms: u32,
        /// How many write at the moment.
        typists: u32,
    },
}

/// Own edits that became operations.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The operations.
    pub span: CounterSpan,
    /// What the replica knew when they were made.
    pub version: VersionVector,
    /// The updates that carry them, in order.
    pub updates: Vec<Bytes>,
    /// When the first of the edits was made.
    pub edited_at: Instant,
    /// When they were committed.
    pub committed_at: Instant,
}

/// Own operations that are durable.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// The operations, at most one span a peer.
    pub spans: Vec<CounterSpan>,
    /// How long ago the first of them was committed.
    pub latency: Duration,
    /// Where and when they were logged, if this connection was told.
    pub stamps: Option<Stamps>,
}

/// Where and when a batch was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// The batch.
    pub batch: BatchId,
    /// Its first update's stamp.
    pub first: HlcTimestamp,
    /// Its last update's stamp.
    pub last: HlcTimestamp,
    /// The node that made them.
    pub node: NodeId,
    /// Where its last record stands in the document's partition.
    pub offset: LogOffset,
}

/// A replica as it was before operations that the server refused were taken out of it.
#[derive(Clone, Debug)]
pub struct RecoveryCopy {
    /// The text as the person saw it, with what was refused.
    pub text: String,
    /// The whole replica, as the engine's snapshot.
    pub snapshot: Bytes,
    /// The peer id that the new replica writes under.
    pub peer: PeerId,
    /// What kind of refusal.
    pub code: ErrorCode,
    /// For the person.
    pub message: String,
}
