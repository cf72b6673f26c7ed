//! A session's place in a room elsewhere, as its gateway or its client holds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use document_types::limits::{
    SEAT_BATCHES_UNTAKEN_MAX, SEAT_CREDIT_RETURN_BYTES, SEAT_QUEUE_COUNT_MAX,
    SOCKET_QUEUE_COUNT_MAX, SUBMISSIONS_WAITING_MAX,
};
use document_types::{BatchId, ErrorCode, Permission, SessionId};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::node_link::{Inbox, LinkEnded, OpenLink};
use super::seat_messages::{Assembly, cost_bytes};
use super::v1::connect_request::Message as Request;
use super::v1::connect_response::Message;
use super::v1::{self, Submit};
use super::values::{code_from_wire, version_from_wire};
use crate::{Credit, JoinError, Joined, PeerStanding, RoomHandle, RoomRequest, SessionEvent};

/// Why a seat is not had on a node.
pub(super) enum SeatError {
    /// The stream ended; another node may do.
    Ended,
    /// The node's answer.
    Refused(JoinError),
}

impl From<LinkEnded> for SeatError {
    fn from(LinkEnded: LinkEnded) -> Self {
        Self::Ended
    }
}

/// Takes a seat at the other end of `link` for a session.
pub(super) async fn take(
    link: Arc<OpenLink>,
    join: v1::Join,
    session: SessionId,
    tasks: &TaskTracker,
) -> Result<Joined, SeatError> {
    let (messages, mut inbox) = mpsc::channel(SEAT_QUEUE_COUNT_MAX);
    let untaken = Arc::new(Semaphore::new(SEAT_BATCHES_UNTAKEN_MAX));
    let number = link.add(Inbox {
        messages,
        untaken: untaken.clone(),
    })?;
    // From here on the seat is given up if this future is dropped.
    let place = Place { link, number };
    place.ask(Request::Join(join)).await?;
    let first = inbox.recv().await.ok_or(SeatError::Ended)?;
    let joined = match first {
        Message::Joined(joined) => joined,
        Message::Closed(closed) => {
            return Err(SeatError::Refused(JoinError {
                code: code_from_wire(closed.code),
                message: closed.message,
            }));
        }
        _ => return Err(SeatError::Ended),
    };
    let (requests, requested) = mpsc::channel(SUBMISSIONS_WAITING_MAX);
    let (events, receiver) = mpsc::channel(SOCKET_QUEUE_COUNT_MAX);
    let seat = Seat {
        place,
        untaken,
        unanswered: Mutex::default(),
    };
    tasks.spawn(seat.run(inbox, requested, events));
    Ok(Joined {
        permission: if joined.may_write {
            Permission::Write
        } else {
            Permission::Read
        },
        version: version_from_wire(joined.version),
        peer: joined
            .peer
            .map(|v1::PeerStanding { end, owned }| PeerStanding { end, owned }),
        room: RoomHandle::new(session, 0, requests),
        events: receiver,
    })
}

/// A number on a link, given back at the end.
struct Place {
    link: Arc<OpenLink>,
    number: u64,
}

impl Place {
    async fn ask(&self, request: Request) -> Result<(), LinkEnded> {
        self.link.ask(self.number, request).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.link.leave(self.number);
    }
}

struct Seat {
    place: Place,
    untaken: Arc<Semaphore>,
    /// What the session's own bound counts until the answer has come.
    unanswered: Mutex<HashMap<BatchId, Vec<Credit>>>,
}

impl Seat {
    /// Passes the session's requests to the node and the node's events to the session, neither
    /// waiting for the other, until one of them has gone.
    async fn run(
        self,
        inbox: mpsc::Receiver<Message>,
        requested: mpsc::Receiver<RoomRequest>,
        events: mpsc::Sender<SessionEvent>,
    ) {
        tokio::select! {
            biased;
            () = self.pass_events(inbox, &events) => {}
            () = self.pass_requests(requested) => {}
        }
    }

    async fn pass_requests(&self, mut requested: mpsc::Receiver<RoomRequest>) {
        while let Some(RoomRequest::Submit {
            submission, credit, ..
        }) = requested.recv().await
        {
            let batch = submission.batch;
            match self.untaken.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return,
            }
            self.unanswered().entry(batch).or_default().push(credit);
            let submit = Submit {
                batch: Bytes::copy_from_slice(&batch.0),
                updates: submission.updates,
                traceparent: submission
                    .trace
                    .map(|trace| trace.to_string())
                    .unwrap_or_default(),
            };
            if self.place.ask(Request::Submit(submit)).await.is_err() {
                // The end of the events says it.
                return std::future::pending().await;
            }
        }
    }

    async fn pass_events(
        &self,
        mut inbox: mpsc::Receiver<Message>,
        events: &mpsc::Sender<SessionEvent>,
    ) {
        let mut assembly = Assembly::default();
        let mut passed_bytes = 0;
        let end = loop {
            let Some(message) = inbox.recv().await else {
                break (
                    ErrorCode::Unavailable,
                    "the node that had the document is gone; joining again finds another".into(),
                );
            };
            passed_bytes += cost_bytes(&message);
            match assembly.take(message) {
                Ok(Some(SessionEvent::Closed { code, message })) => break (code, message),
                Ok(Some(event)) => {
                    self.answered(&event);
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(malformed) => break (ErrorCode::Internal, malformed.to_string()),
            }
            if passed_bytes >= SEAT_CREDIT_RETURN_BYTES {
                let bytes = u32::try_from(passed_bytes).unwrap_or(u32::MAX);
                passed_bytes = 0;
                // If the stream has ended, so will the inbox.
                let _ = self.place.ask(Request::ReturnedBytes(bytes)).await;
            }
        };
        let (code, message) = end;
        let _ = events.send(SessionEvent::Closed { code, message }).await;
    }

    fn answered(&self, event: &SessionEvent) {
        if let SessionEvent::Ack { batch, .. } | SessionEvent::Nack { batch, .. } = event {
            let mut unanswered = self.unanswered();
            if let Some(credits) = unanswered.get_mut(batch) {
                credits.pop();
                if credits.is_empty() {
                    unanswered.remove(batch);
                }
            }
        }
    }

    fn unanswered(&self) -> std::sync::MutexGuard<'_, HashMap<BatchId, Vec<Credit>>> {
        self.unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
