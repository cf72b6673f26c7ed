//! A collaboration node: its rooms, and what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admission::KnownSpan;
use async_trait::async_trait;
use bytes::Bytes;
use clock::{Clock, HybridLogicalClock, IdSource, Offload};
use document_store::DocumentStore;
use document_types::limits::{
    ROOM_IDLE_MAX, ROOM_QUEUE_COUNT_MAX, ROOMS_COUNT_MAX, STORE_BEHIND_ATTEMPTS_MAX,
    STORE_BEHIND_PAUSE,
};
use document_types::record::{Payload, StampedUpdate};
use document_types::{CounterSpan, DocumentId, ErrorCode, Permission, VersionVector};
use dry_run::{ClearRequest, Clearing, DryRun, DryRunError, Unclear};
use op_log::RegionalLogs;
use service_api::{Collaboration, JoinError, JoinRequest, Joined, Permissions};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use traces::Traces;

use crate::anti_entropy::{AntiEntropy, OtherRegion};
use crate::gate::{Gate, Refusal, chain};
use crate::log_writer::{LogWriter, NodeIdentity};
use crate::partition_tail::PartitionTails;
use crate::room::{Join, OpenError, Room};
use crate::suspension::Suspensions;
use crate::trial::untried;

/// What a collaboration node is made of.
pub struct CollaborationParts {
    /// Who it is.
    pub identity: NodeIdentity,
    /// The log of its region, which it writes, and the copies of others'.
    pub logs: RegionalLogs,
    /// The documents' merged state.
    pub store: DocumentStore,
    /// Where updates are looked at and tried before they are appended.
    pub dry_run: Arc<dyn DryRun>,
    /// Who may do what.
    pub permissions: Arc<dyn Permissions>,
    /// The regions that are offered what they lack.
    pub other_regions: Vec<OtherRegion>,
    /// Names for sessions there.
    pub ids: IdSource,
    /// Where documents are read for that.
    pub offload: Offload,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// The node's stamps.
    pub stamps: Arc<HybridLogicalClock>,
    /// Where spans of traced batches go.
    pub traces: Traces,
    /// Where its tasks run.
    pub tasks: TaskTracker,
    /// Ends its rooms, after they have answered what was offered.
    pub stop: CancellationToken,
}

/// What rooms share.
pub(crate) struct NodeParts {
    pub(crate) logs: RegionalLogs,
    pub(crate) store: DocumentStore,
    pub(crate) dry_run: Arc<dyn DryRun>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) gate: Gate,
    pub(crate) writer: LogWriter,
    pub(crate) tails: PartitionTails,
    pub(crate) traces: Traces,
    pub(crate) tasks: TaskTracker,
    pub(crate) room_idle: Duration,
}

impl NodeParts {
    /// The digests over `span`. The store is a little behind the log, so it may have to be waited
    /// for.
    pub(crate) async fn known_spans(
        &self,
        document: &DocumentId,
        span: CounterSpan,
    ) -> Result<Vec<KnownSpan>, LookError> {
        for _ in 0..STORE_BEHIND_ATTEMPTS_MAX {
            let spans = self.store.span_digests(document, span).await?;
            if spans.last().is_some_and(|last| last.span.end >= span.end) {
                return Ok(spans);
            }
            tokio::time::sleep(STORE_BEHIND_PAUSE).await;
        }
        Err(LookError::StoreBehind)
    }

    /// Everything that the store has of a document, to be imported in this order.
    pub(crate) async fn whole_document(
        &self,
        document: &DocumentId,
    ) -> Result<Vec<Bytes>, LookError> {
        Ok(self
            .store
            .history_bytes(document, &VersionVector::new())
            .await?
            .into_bytes())
    }

    /// Has the dry run look at updates closely, on all that the store and the room have.
    pub(crate) async fn look(
        &self,
        document: DocumentId,
        recent: Vec<Bytes>,
        candidates: Vec<Unclear>,
    ) -> Result<Vec<Clearing>, LookError> {
        let mut history = self.whole_document(&document).await?;
        history.extend(recent);
        let request = ClearRequest {
            document,
            history,
            candidates,
        };
        Ok(self.dry_run.clear(request).await?)
    }

    /// Whether an update's operations over `overlap` are those that the log let in before.
    pub(crate) async fn is_same_content(
        &self,
        document: &DocumentId,
        recent: Vec<Bytes>,
        update: &StampedUpdate,
        overlap: CounterSpan,
    ) -> Result<bool, LookError> {
        let Payload::Inline(bytes) = update.payload.clone() else {
            return Ok(false);
        };
        let unclear = Unclear {
            update: bytes,
            overlap: Some(overlap),
            rest: None,
        };
        let found = self.look(document.clone(), recent, vec![unclear]).await?;
        // An update that can't even be compared is not the one that the log has.
        Ok(matches!(found[..], [Clearing::Same(_)]))
    }
}

/// The store or the dry run can't answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    #[error("the document's state can't be read")]
    Store(#[from] document_store::StoreError),
    #[error("the document's state is too far behind the log")]
    StoreBehind,
    #[error("the update can't be looked at")]
    DryRun(#[from] DryRunError),
}

impl LookError {
    /// What those are told whose updates can't be judged for it.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::DryRun(error) => untried(error),
            error => Refusal::new(ErrorCode::Unavailable, chain(error)),
        }
    }
}

/// A collaboration node. Clones are the same node.
#[derive(Clone)]
pub struct CollaborationNode {
    parts: Arc<NodeParts>,
    stop: CancellationToken,
    rooms: Arc<Mutex<BTreeMap<DocumentId, mpsc::Sender<Join>>>>,
}

impl CollaborationNode {
    /// A node without rooms. Joins open them.
    pub fn new(parts: CollaborationParts) -> Self {
        let writer = LogWriter::new(
            parts.logs.own().clone(),
            parts.identity,
            parts.stamps.clone(),
        );
        let tails = PartitionTails::new(parts.tasks.clone(), parts.stop.clone());
        let gate = Gate {
            permissions: parts.permissions,
            suspensions: Suspensions::default(),
            clock: parts.clock.clone(),
            stamps: parts.stamps,
        };
        let shared = NodeParts {
            logs: parts.logs,
            store: parts.store,
            dry_run: parts.dry_run,
            clock: parts.clock,
            gate,
            writer,
            tails,
            traces: parts.traces,
            tasks: parts.tasks,
            room_idle: ROOM_IDLE_MAX,
        };
        let node = Self {
            parts: Arc::new(shared),
            stop: parts.stop,
            rooms: Arc::default(),
        };
        for other in parts.other_regions {
            let comparing = AntiEntropy::new(node.clone(), other, parts.ids.clone(), parts.offload);
            let stop = node.stop.clone();
            node.parts.tasks.spawn(async move {
                stop.run_until_cancelled(comparing.run()).await;
            });
        }
        node
    }

    pub(crate) fn parts(&self) -> &NodeParts {
        &self.parts
    }

    /// The documents that have a room here.
    pub(crate) fn open_documents(&self) -> BTreeSet<DocumentId> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.keys().cloned().collect()
    }

    /// The room's door, opened if there is none. Joins wait in it while the room is being opened.
    fn door(&self, document: &DocumentId) -> Result<mpsc::Sender<Join>, JoinError> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = rooms.get(document).filter(|door| !door.is_closed()) {
            return Ok(door.clone());
        }
        if rooms.len() >= ROOMS_COUNT_MAX {
            return Err(refused(
                ErrorCode::Overloaded,
                "this node has as many rooms as it can",
            ));
        }
        let (door, joins) = mpsc::channel(ROOM_QUEUE_COUNT_MAX);
        rooms.insert(document.clone(), door.clone());
        metrics::gauge!(crate::metrics::ROOMS_OPEN).set(gauge(rooms.len()));
        let node = self.clone();
        let document = document.clone();
        self.parts
            .tasks
            .spawn(async move { node.keep_room(document, joins).await });
        Ok(door)
    }

    /// Opens a room, runs it, and takes it off the list.
    async fn keep_room(&self, document: DocumentId, joins: mpsc::Receiver<Join>) {
        let opened = Room::open(
            self.parts.clone(),
            document.clone(),
            joins,
            self.stop.clone(),
        )
        .await;
        match opened {
            Ok(room) => {
                let end = room.run().await;
                tracing::debug!(%document, ?end, "a room closed");
            }
            Err(error) => tracing::error!(
                %document,
                error = &error as &dyn std::error::Error,
                "a room can't be opened"
            ),
        }
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.get(&document).is_some_and(mpsc::Sender::is_closed) {
            rooms.remove(&document);
        }
        metrics::gauge!(crate::metrics::ROOMS_OPEN).set(gauge(rooms.len()));
    }
}

#[async_trait]
impl Collaboration for CollaborationNode {
    async fn join(&self, request: JoinRequest) -> Result<Joined, JoinError> {
        if self.stop.is_cancelled() {
            return Err(refused(ErrorCode::Draining, "this node is shutting down"));
        }
        let permission = self
            .parts
            .gate
            .permissions
            .permission(&request.principal, &request.document)
            .await
            .map_err(|error| refused(ErrorCode::Unavailable, &chain(&error)))?
            .ok_or_else(|| {
                refused(
                    ErrorCode::PermissionDenied,
                    "you may not read this document",
                )
            })?;
        let door = self.door(&request.document)?;
        let (reply, joined) = oneshot::channel();
        let closed = || refused(ErrorCode::Unavailable, "the document can't be opened now");
        door.send(Join { request, reply })
            .await
            .map_err(|_| closed())?;
        let joined = joined.await.map_err(|_| closed())??;
        Ok(Joined {
            permission: permission.min(Permission::Write),
            ..joined
        })
    }
}

fn refused(code: ErrorCode, message: &str) -> JoinError {
    JoinError {
        code,
        message: message.to_owned(),
    }
}

/// Metrics count in floating point.
#[allow(clippy::cast_precision_loss)] // Counts of rooms are far below 2^52.
fn gauge(count: usize) -> f64 {
    count as f64
}

impl From<OpenError> for JoinError {
    fn from(error: OpenError) -> Self {
        refused(ErrorCode::Unavailable, &chain(&error))
    }
}
