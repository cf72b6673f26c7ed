//! Documents on a gRPC stream: each stay in a room has a seat of its own on it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use clock::IdSource;
use document_types::limits::{BATCHES_IN_FLIGHT_MAX, SOCKET_QUEUE_COUNT_MAX};
use document_types::{BatchId, DocumentId, ErrorCode, Permission, SessionId, VersionVector};
use futures::future::{BoxFuture, Fuse, FusedFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use service_api::grpc::{ClientStream, JoinClaim};
use service_api::{JoinError, Joined, PeerStanding, SessionEvent, Submission, WireKind};
use sync_protocol::{ClientPayload, ClientText, Message, PeerAnswer, decode_version};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::visits::{Outgoing, Visits};
use super::{Connection, Ended, sleep_until_some};
use crate::event::Stamps;
use crate::registry::Registry;
use crate::replica::{Replica, ServerAdditions};

/// Carries messages until the stream is gone or the last handle is dropped.
pub(super) async fn serve(
    connection: &Connection,
    stream: ClientStream,
    reading: impl Future<Output = String>,
) -> Ended {
    let registry = &*connection.registry;
    let (said, mut heard) = mpsc::channel(SOCKET_QUEUE_COUNT_MAX);
    let mut visits = Visits::default();
    let mut seats = Seats {
        stream,
        ids: connection.ids.clone(),
        stays: BTreeMap::new(),
        last_stay: 0,
        said,
        staying: FuturesUnordered::new(),
    };
    let mut reading = pin!(reading);
    let mut ended = Ended::default();
    // What is due waits until everything that has arrived is read, as on a socket.
    let mut all_read = true;
    loop {
        let deadline = visits.visit_all(registry, &mut seats, Instant::now(), all_read);
        all_read = false;
        if registry.is_closed() {
            return ended;
        }
        tokio::select! {
            biased;
            end = &mut reading => {
                tracing::debug!(end, "the stream is gone");
                return ended;
            }
            // Before what is due: the stays hand on what has arrived only while this is polled.
            Some(()) = seats.staying.next() => {}
            Some(said) = heard.recv() => {
                ended.heard = true;
                seats.hear(registry, &visits, said, Instant::now());
            }
            () = registry.bell.notified() => all_read = true,
            () = sleep_until_some(deadline) => all_read = true,
        }
    }
}

/// The documents on one stream.
struct Seats {
    stream: ClientStream,
    ids: IdSource,
    stays: BTreeMap<DocumentId, Stay>,
    last_stay: u64,
    said: mpsc::Sender<Said>,
    staying: FuturesUnordered<BoxFuture<'static, ()>>,
}

/// A replica's place in its room. Dropping it leaves the room.
struct Stay {
    number: u64,
    submissions: mpsc::Sender<Submission>,
}

/// What comes of a stay.
struct Said {
    document: DocumentId,
    stay: u64,
    news: News,
}

enum News {
    Joined(Permission, VersionVector, Option<PeerStanding>),
    Refused(JoinError),
    Event(SessionEvent),
}

impl Outgoing for Seats {
    /// The server asks for no traces on a stream, so there is nothing to say of them.
    fn text(&mut self, _text: &ClientText) {}

    fn message(&mut self, document: &DocumentId, message: Message) {
        match message {
            Message::JoinRequest { payload, version } => self.join(document, &payload, &version),
            Message::DocUpdate {
                updates,
                batch: Some(batch),
            } => self.submit(document, batch, updates),
            Message::Leave => {
                self.stays.remove(document);
            }
            message => tracing::debug!(?message, "nothing to say on a stream"),
        }
    }
}

impl Seats {
    fn join(&mut self, document: &DocumentId, payload: &[u8], version: &Bytes) {
        let (Ok(ClientPayload::CollabEdit(payload)), Ok(version)) =
            (ClientPayload::parse(payload), decode_version(version))
        else {
            return tracing::error!("a replica's own join can't be read");
        };
        let claim = JoinClaim {
            document: document.clone(),
            session: None,
            user: None,
            device: payload.device,
            version,
            kind: WireKind::CollabEdit,
            peer: payload.peer,
        };
        self.last_stay += 1;
        let (submissions, submitted) = mpsc::channel(BATCHES_IN_FLIGHT_MAX);
        let stay = stay(
            self.stream.clone(),
            self.ids.session(),
            claim,
            submitted,
            self.said.clone(),
            self.last_stay,
        );
        self.staying.push(stay.boxed());
        let stay = Stay {
            number: self.last_stay,
            submissions,
        };
        self.stays.insert(document.clone(), stay);
    }

    fn submit(&mut self, document: &DocumentId, batch: BatchId, updates: Vec<Bytes>) {
        let Some(stay) = self.stays.get(document) else {
            return;
        };
        let submission = Submission {
            batch,
            updates,
            trace: None,
            received: Instant::now(),
        };
        // What is lost here is missed by the replica, which joins again.
        if let Err(error) = stay.submissions.try_send(submission) {
            tracing::debug!(%error, "a batch found no stay");
        }
    }

    fn hear(&mut self, registry: &Registry, visits: &Visits, said: Said, now: Instant) {
        let Said {
            document,
            stay,
            news,
        } = said;
        let is_current = self.stays.get(&document).is_some_and(|s| s.number == stay);
        let Some(shared) = visits.replica(registry, &document).filter(|_| is_current) else {
            return;
        };
        let mut replica = shared.replica();
        match news {
            News::Joined(permission, version, peer) => {
                let additions = ServerAdditions {
                    stamps: true,
                    peer: peer.map(|PeerStanding { end, owned }| PeerAnswer { end, owned }),
                    trace_ratio: None,
                };
                replica.joined(permission, &version, Some(additions), now);
            }
            News::Refused(JoinError { code, message }) => {
                self.stays.remove(&document);
                replica.join_refused(code, &message, now);
            }
            News::Event(SessionEvent::Closed { code, message }) => {
                self.stays.remove(&document);
                replica.out_of_room(code, &message, now);
            }
            News::Event(event) => tell(&mut replica, event, now),
        }
    }
}

/// Tells a replica what its room says.
fn tell(replica: &mut Replica, event: SessionEvent, now: Instant) {
    match event {
        SessionEvent::Updates(frame) => replica.updates(&frame.updates, now),
        SessionEvent::CaughtUp => replica.caught_up(now),
        SessionEvent::Pulse {
            beat,
            beat_ms,
            typists,
        } => replica.pulse(beat, beat_ms, typists, now),
        SessionEvent::Ack { batch, stamps } => {
            let stamps = stamps.map(|stamps| Stamps {
                batch,
                first: stamps.first,
                last: stamps.last,
                node: stamps.node,
                offset: stamps.offset,
            });
            replica.acknowledge(batch, stamps, now);
        }
        SessionEvent::Nack {
            batch,
            code,
            message,
        } => replica.refuse(batch, code, code.advice(), message, now),
        SessionEvent::Closed { code, message } => replica.out_of_room(code, &message, now),
    }
}

/// One stay in a room, until the room has ended or nobody submits any more. Events go on while a batch
/// waits for the room, and the other way round.
async fn stay(
    stream: ClientStream,
    session: SessionId,
    claim: JoinClaim,
    mut submitted: mpsc::Receiver<Submission>,
    said: mpsc::Sender<Said>,
    stay: u64,
) {
    let document = claim.document.clone();
    let say = async |news| {
        let document = document.clone();
        // If nobody listens, the stream is given up.
        let _ = said
            .send(Said {
                document,
                stay,
                news,
            })
            .await;
    };
    let Joined {
        permission,
        version,
        peer,
        room,
        mut events,
    } = match stream.join(session, claim).await {
        Ok(joined) => joined,
        Err(error) => return say(News::Refused(error)).await,
    };
    say(News::Joined(permission, version, peer)).await;
    let submitting = Fuse::terminated();
    let mut submitting = pin!(submitting);
    loop {
        tokio::select! {
            biased;
            event = events.recv() => {
                let event = event.unwrap_or_else(|| SessionEvent::Closed {
                    code: ErrorCode::Unavailable,
                    message: "the room is gone".into(),
                });
                let is_last = matches!(event, SessionEvent::Closed { .. });
                say(News::Event(event)).await;
                if is_last {
                    return;
                }
            }
            // A room that is gone also ends its events, so its error needs no answer of its own.
            _ = &mut submitting => {}
            submission = submitted.recv(), if submitting.is_terminated() => match submission {
                Some(submission) => submitting.set(room.submit(submission).fuse()),
                None => return,
            },
        }
    }
}
