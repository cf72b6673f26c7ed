//! Rooms of this node for sessions on gateways elsewhere, or a gateway's for native clients.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use document_types::limits::{
    GRPC_MESSAGE_BYTES_MAX, SEAT_BATCHES_UNTAKEN_MAX, SEAT_CREDIT_BYTES, STREAM_QUEUE_COUNT_MAX,
};
use document_types::{ErrorCode, Permission, TraceContext};
use futures::{Stream, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::callers::{Caller, Callers, JoinClaim};
use super::seat_messages::{closed, cost_bytes, messages_of};
use super::status::refusal_status;
use super::v1::collaboration_service_server::{CollaborationService, CollaborationServiceServer};
use super::v1::connect_request::Message as Asked;
use super::v1::connect_response::Message;
use super::v1::{self, ConnectRequest, ConnectResponse, Submit};
use super::values::{Malformed, batch_from_wire, join_from_wire, version_to_wire};
use super::{SEATS_OPEN, STREAMS_OPEN};
use crate::{JoinError, Joined, RoomHandle, SessionEvent, Submission};

/// Serves rooms to `callers`. Streams run in `tasks` and end with `stop`.
pub(super) fn collaboration_server(
    callers: Arc<dyn Callers>,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> CollaborationServiceServer<impl CollaborationService> {
    CollaborationServiceServer::new(Server {
        callers,
        tasks,
        stop,
    })
    .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
}

struct Server {
    callers: Arc<dyn Callers>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl CollaborationService for Server {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let admitted = self.callers.admit(request.metadata().as_ref());
        let caller =
            admitted.map_err(|JoinError { code, message }| refusal_status(code, &message))?;
        let (responses, mut waiting) = mpsc::channel(STREAM_QUEUE_COUNT_MAX);
        let stream = CallerStream {
            caller,
            responses,
            seats: HashMap::new(),
            running: JoinSet::new(),
        };
        let (asked, stop) = (request.into_inner(), self.stop.clone());
        self.tasks.spawn(async move {
            metrics::gauge!(STREAMS_OPEN).increment(1.0);
            let end = stop.run_until_cancelled(stream.run(asked)).await;
            metrics::gauge!(STREAMS_OPEN).decrement(1.0);
            tracing::debug!(?end, "a caller's stream ended");
        });
        let stream = stream::poll_fn(move |context| waiting.poll_recv(context));
        Ok(Response::new(Box::pin(futures::StreamExt::map(stream, Ok))))
    }
}

/// All seats of one caller.
struct CallerStream {
    caller: Arc<dyn Caller>,
    responses: mpsc::Sender<ConnectResponse>,
    seats: HashMap<u64, SeatDoor>,
    /// Each gives its number at its end.
    running: JoinSet<u64>,
}

/// How requests come to a seat. Dropping it gives the seat up.
struct SeatDoor {
    submits: mpsc::Sender<Submit>,
    credit: Arc<Semaphore>,
}

impl CallerStream {
    /// Until the caller has gone.
    async fn run(mut self, mut asked: Streaming<ConnectRequest>) -> Result<(), Status> {
        loop {
            tokio::select! {
                Some(ended) = self.running.join_next() => match ended {
                    Ok(number) => {
                        self.seats.remove(&number);
                    }
                    // A seat's panic is this node's.
                    Err(error) => if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic)
                    },
                },
                request = asked.message() => match request? {
                    Some(ConnectRequest { seat, message: Some(message) }) => self.take(seat, message).await,
                    // A newer gateway's message.
                    Some(_) => {}
                    None => return Ok(()),
                },
            }
        }
    }

    /// Nothing here waits for a seat; only for the stream, which all share.
    async fn take(&mut self, number: u64, message: Asked) {
        let refused = match message {
            Asked::Join(join) => self.open(number, join),
            Asked::Submit(submit) => match self.seats.get(&number) {
                Some(door) if door.submits.try_send(submit).is_ok() => Ok(()),
                Some(_) => Err(Malformed("a seat has too many batches under way".into())),
                // It was closed from here, and the word is under way.
                None => Ok(()),
            },
            Asked::ReturnedBytes(bytes) => {
                if let Some(door) = self.seats.get(&number) {
                    let room = SEAT_CREDIT_BYTES.saturating_sub(door.credit.available_permits());
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                    door.credit.add_permits(bytes.min(room));
                }
                Ok(())
            }
            Asked::Leave(_) => {
                self.seats.remove(&number);
                Ok(())
            }
        };
        if let Err(malformed) = refused {
            self.seats.remove(&number);
            let message = closed(ErrorCode::ProtocolViolation, &malformed.to_string());
            respond(&self.responses, number, message).await;
        }
    }

    fn open(&mut self, number: u64, join: v1::Join) -> Result<(), Malformed> {
        let claim = join_from_wire(join)?;
        if self.seats.contains_key(&number) {
            return Err(Malformed("a seat's number is used once".into()));
        }
        let (submits, waiting) = mpsc::channel(SEAT_BATCHES_UNTAKEN_MAX);
        let credit = Arc::new(Semaphore::new(SEAT_CREDIT_BYTES));
        let seat = Seat {
            number,
            responses: self.responses.clone(),
            credit: credit.clone(),
        };
        let full = self.running.len() >= self.caller.seats_count_max();
        let caller = self.caller.clone();
        self.seats.insert(number, SeatDoor { submits, credit });
        self.running.spawn(async move {
            let _open = SeatOpen::new();
            let number = seat.number;
            let (code, message) = if full {
                let message = "the stream has as many documents as it may";
                (ErrorCode::Overloaded, message.to_owned())
            } else {
                seat.run(&*caller, claim, waiting).await
            };
            respond(&seat.responses, number, closed(code, &message)).await;
            number
        });
        Ok(())
    }
}

/// Counts a seat while it is open, however it ends.
struct SeatOpen;

impl SeatOpen {
    fn new() -> Self {
        metrics::gauge!(SEATS_OPEN).increment(1.0);
        Self
    }
}

impl Drop for SeatOpen {
    fn drop(&mut self) {
        metrics::gauge!(SEATS_OPEN).decrement(1.0);
    }
}

/// A session's place in a room, as its node holds it.
struct Seat {
    number: u64,
    responses: mpsc::Sender<ConnectResponse>,
    credit: Arc<Semaphore>,
}

impl Seat {
    /// Joins, and passes batches to the room and the room's events to the caller, neither waiting
    /// for the other. Answers with the seat's last word.
    async fn run(
        &self,
        caller: &dyn Caller,
        claim: JoinClaim,
        mut submits: mpsc::Receiver<Submit>,
    ) -> (ErrorCode, String) {
        let joined = match caller.join(claim).await {
            Ok(joined) => joined,
            Err(JoinError { code, message }) => return (code, message),
        };
        let Joined {
            permission,
            version,
            peer,
            room,
            mut events,
        } = joined;
        let answer = v1::Joined {
            may_write: permission >= Permission::Write,
            version: Some(version_to_wire(&version)),
            peer: peer.map(|peer| v1::PeerStanding {
                end: peer.end,
                owned: peer.owned,
            }),
        };
        self.say(Message::Joined(answer)).await;
        tokio::select! {
            biased;
            end = self.pass_events(&mut events) => end,
            end = self.pass_submits(&room, &mut submits) => end,
        }
    }

    async fn pass_events(&self, events: &mut mpsc::Receiver<SessionEvent>) -> (ErrorCode, String) {
        while let Some(event) = events.recv().await {
            if let SessionEvent::Closed { code, message } = event {
                return (code, message);
            }
            for message in messages_of(event) {
                self.say(message).await;
            }
        }
        (ErrorCode::Unavailable, "the room is gone".into())
    }

    async fn pass_submits(
        &self,
        room: &RoomHandle,
        submits: &mut mpsc::Receiver<Submit>,
    ) -> (ErrorCode, String) {
        while let Some(submit) = submits.recv().await {
            let batch = match batch_from_wire(&submit.batch) {
                Ok(batch) => batch,
                Err(malformed) => return (ErrorCode::ProtocolViolation, malformed.to_string()),
            };
            let submission = Submission {
                batch,
                updates: submit.updates,
                trace: TraceContext::parse(&submit.traceparent),
                received: Instant::now(),
            };
            if room.submit(submission).await.is_err() {
                // The end of the events says why.
                return std::future::pending().await;
            }
            respond(&self.responses, self.number, Message::TakenCount(1)).await;
        }
        (ErrorCode::Unavailable, "the seat was given up".into())
    }

    /// Says something once the seat has the credit for it.
    async fn say(&self, message: Message) {
        let cost = u32::try_from(cost_bytes(&message)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        if let Ok(credit) = self.credit.acquire_many(cost).await {
            credit.forget();
        }
        respond(&self.responses, self.number, message).await;
    }
}

async fn respond(responses: &mpsc::Sender<ConnectResponse>, seat: u64, message: Message) {
    let message = Some(message);
    // If the caller has gone, its seats end with its stream.
    let _ = responses.send(ConnectResponse { seat, message }).await;
}
