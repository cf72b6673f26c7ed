use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use document_types::limits::SESSION_ADMISSION_BYTES_MAX;
use document_types::{
    BatchId, Counter, DocumentId, ErrorCode, HlcTimestamp, LogOffset, NodeId, PeerId, Permission,
    Principal, SessionId, TraceContext, VersionVector,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// The collaboration service: joining a document's room.
#[async_trait]
pub trait Collaboration: Send + Sync + 'static {
    /// Joins a session to a document's room, creating the document if the deployment allows it.
    ///
    /// From the moment it returns, the session's events begin with what the client's version lacks
    /// (first a snapshot if that is cheaper, then updates in log order), then
    /// [`SessionEvent::CaughtUp`], then what is new.
    async fn join(&self, request: JoinRequest) -> Result<Joined, JoinError>;
}

/// What a session says of itself when it joins a document.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The document.
    pub document: DocumentId,
    /// The connection.
    pub session: SessionId,
    /// Who it acts for, from authentication.
    pub principal: Principal,
    /// What its replica knows.
    pub version: VersionVector,
    /// What it can do beyond the stock protocol.
    pub kind: WireKind,
    /// The peer id that it announces to write under; stock clients announce none.
    pub peer: Option<PeerId>,
}

/// What a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireKind {
    /// `loro-protocol` v1 and nothing more.
    Stock,
    /// Ours: takes part in the pulse and reads stamps.
    CollabEdit,
}

/// A session's place in a room.
#[derive(Debug)]
pub struct Joined {
    /// What the session may do.
    pub permission: Permission,
    /// What the document's log holds, as this node has read it.
    pub version: VersionVector,
    /// For a client that announced its peer id: how far the log knows that peer, and whether the
    /// peer is free or bound to this principal. A client whose own store is behind that end was
    /// rolled back and has to take a new peer id.
    pub peer: Option<PeerStanding>,
    /// To speak to the room.
    pub room: RoomHandle,
    /// What the room says. Its end means that the room is gone: the last event says why.
    pub events: mpsc::Receiver<SessionEvent>,
}

/// How a room knows a peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStanding {
    /// The end of that peer's operations in the log.
    pub end: Counter,
    /// Whether this principal may write under it.
    pub owned: bool,
}

/// Says what a principal may do with a document. The gate asks for every batch.
#[async_trait]
pub trait Permissions: Send + Sync + 'static {
    /// The permission, or `None` if the principal may not even read.
    ///
    /// # Errors
    /// [`PermissionsUnavailable`] if it can't be decided now.
    async fn permission(
        &self,
        principal: &Principal,
        document: &DocumentId,
    ) -> Result<Option<Permission>, PermissionsUnavailable>;
}

/// Who may do what can't be decided at the moment.
#[derive(Debug, thiserror::Error)]
#[error("permissions can't be decided at the moment")]
pub struct PermissionsUnavailable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Everyone may write every document: for a laptop, where nobody logs in.
#[derive(Clone, Copy, Debug, Default)]
pub struct EveryoneWrites;

#[async_trait]
impl Permissions for EveryoneWrites {
    async fn permission(
        &self,
        _principal: &Principal,
        _document: &DocumentId,
    ) -> Result<Option<Permission>, PermissionsUnavailable> {
        Ok(Some(Permission::Write))
    }
}

/// Why a join was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the join was refused with {code}: {message}")]
pub struct JoinError {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// For the person.
    pub message: String,
}

/// What a session asks of its room.
#[derive(Debug)]
pub enum RoomRequest {
    /// Offer updates to the log.
    Submit {
        /// Whose.
        session: SessionId,
        /// In which of its stays in the room.
        stay: u64,
        /// What.
        submission: Submission,
        /// Held until it is answered.
        credit: Credit,
    },
    /// The session is gone or has left the document.
    Leave {
        /// Whose.
        session: SessionId,
        /// Which of its stays has ended.
        stay: u64,
    },
}

/// A batch of updates that a client sends together and that is answered together.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The client's name for it.
    pub batch: BatchId,
    /// The engine's updates, in the order in which they were made.
    pub updates: Vec<Bytes>,
    /// The trace that it is a part of, if it is traced.
    pub trace: Option<TraceContext>,
    /// When it was read from its socket, or here from the stream of the gateway that has the socket.
    pub received: Instant,
}

/// A batch's part of what its session may have waiting in a room. Dropping it gives it back.
#[derive(Debug)]
pub struct Credit {
    _permit: OwnedSemaphorePermit,
}

/// Speaks to a room for one session. Dropping it leaves the room.
#[derive(Debug)]
pub struct RoomHandle {
    session: SessionId,
    stay: u64,
    requests: mpsc::Sender<RoomRequest>,
    /// Bytes that the session may still send before an answer.
    credits: Arc<Semaphore>,
}

impl RoomHandle {
    /// A handle that sends `session`'s requests to `requests`. A session may leave a room and join it
    /// again; `stay` tells its stays apart, so that the end of one does not end the next.
    pub fn new(session: SessionId, stay: u64, requests: mpsc::Sender<RoomRequest>) -> Self {
        Self {
            session,
            stay,
            requests,
            credits: Arc::new(Semaphore::new(SESSION_ADMISSION_BYTES_MAX)),
        }
    }

    /// Offers updates to the log. Waits while the room's queue is full, which is how a room slows
    /// its writers down, and while the session has [`SESSION_ADMISSION_BYTES_MAX`] there without an
    /// answer, so that one session does not fill the queue. The answer comes as [`SessionEvent::Ack`] or [`SessionEvent::Nack`].
    ///
    /// # Errors
    /// [`SubmitError`] if the room is gone; nothing was taken then.
    pub async fn submit(&self, submission: Submission) -> Result<(), SubmitError> {
        let bytes: usize = submission.updates.iter().map(Bytes::len).sum();
        // A batch that is larger than that waits for all others to be answered.
        let bytes = u32::try_from(bytes.min(SESSION_ADMISSION_BYTES_MAX)).unwrap_or(u32::MAX);
        let credits = self.credits.clone().acquire_many_owned(bytes).await;
        let credit = Credit {
            _permit: credits.map_err(|_| SubmitError)?,
        };
        self.requests
            .send(RoomRequest::Submit {
                session: self.session.clone(),
                stay: self.stay,
                submission,
                credit,
            })
            .await
            .map_err(|_| SubmitError)
    }
}

impl Drop for RoomHandle {
    fn drop(&mut self) {
        // A full queue would lose the notice; the room also sees that the event receiver is closed.
        let _ = self.requests.try_send(RoomRequest::Leave {
            session: self.session.clone(),
            stay: self.stay,
        });
    }
}

/// The room is gone; join again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the room is closed")]
pub struct SubmitError;

/// What a room says to one session.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// Updates of others, or a snapshot, to import in this order.
    Updates(Arc<UpdateFrame>),
    /// Everything that the client's version lacked at the join has been sent.
    CaughtUp,
    /// The room's beat; only for [`WireKind::CollabEdit`]. It comes right after the beat's updates,
    /// also when there were none. A beat of 0 ms says that the pulse is off.
    Pulse {
        /// The beat's number: wall-clock milliseconds divided by the beat's length.
        beat: u64,
        /// The beat's length.
        beat_ms: u32,
        /// How many write at the moment.
        typists: u32,
    },
    /// A batch is durable in this region's log and admitted.
    Ack {
        /// Which.
        batch: BatchId,
        /// Where and when. `None` if all of the batch had been in the log before, from an earlier
        /// sending whose answer was lost.
        stamps: Option<AckStamps>,
    },
    /// A batch was refused: what of it is not in the log will not be. That is all of it, unless a part
    /// was written before it was known, since another node's record came first or the batch was long.
    /// `code.advice()` says what to do.
    Nack {
        /// Which.
        batch: BatchId,
        /// What kind of refusal.
        code: ErrorCode,
        /// For the person.
        message: String,
    },
    /// The session is out of the room; `code.advice()` says whether to join again. The last event.
    Closed {
        /// Why.
        code: ErrorCode,
        /// For the person.
        message: String,
    },
}

/// One import step's worth of bytes: updates whose inserted text fits one import together, or a
/// snapshot alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFrame {
    /// The engine's bytes, in log order.
    pub updates: Vec<Bytes>,
    /// When the first of them was received, of those that this process received itself. It is for
    /// measuring only, and does not go to other processes.
    pub received: Option<Instant>,
}

/// Where and when a batch was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckStamps {
    /// The first update's stamp.
    pub first: HlcTimestamp,
    /// The last update's stamp.
    pub last: HlcTimestamp,
    /// The node that stamped it.
    pub node: NodeId,
    /// The position of its last record in the document's partition.
    pub offset: LogOffset,
}
