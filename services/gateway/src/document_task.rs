use std::collections::BTreeMap;

use document_types::{BatchId, ErrorCode, Permission};
use futures::FutureExt;
use futures::future::{Fuse, FusedFuture};
use metrics::counter;
use service_api::{AckStamps, JoinRequest, Joined, SessionEvent, Submission, WireKind};
use sync_protocol::{Batch, ClientPayload, PeerAnswer, Stamps, UpdateStatus, WireMessage};
use tokio::time::Instant;
use tracing::Instrument;

use crate::followed::answer_in;
use crate::joining::{Command, Join, Seat, TaskEnd};
use crate::metric_names::{COMPLAINTS, REFUSALS, SLOW_CONSUMERS};
use crate::queue::Receiver;
use crate::state::Refusal;
use crate::writer::{Since, SocketClosed};

/// One joined document of one socket: joins the room, passes the client's batches to it and its
/// events to the client. Events go on while a batch waits for the room, and the other way round.
pub(crate) async fn run(
    mut seat: Box<Seat>,
    join: Box<Join>,
    mut commands: Receiver<Command>,
) -> TaskEnd {
    let Joined {
        permission,
        room,
        mut events,
        ..
    } = match Box::pin(enter(&mut seat, *join)).await {
        Ok(joined) => joined,
        Err(refused) => return Box::pin(seat.refuse_join(refused)).await,
    };
    // When batches were received that are not answered yet; the room bounds how many there are.
    let mut unanswered = BTreeMap::new();
    let submitting = Fuse::terminated();
    tokio::pin!(submitting);
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(SessionEvent::Closed { code, message }) => {
                    if code == ErrorCode::SlowConsumer {
                        counter!(SLOW_CONSUMERS, "level" => "document").increment(1);
                    }
                    return Box::pin(seat.put_out(code, &message)).await;
                }
                Some(event) => {
                    let refused = refusal_that_needs_a_rejoin(&seat, &event);
                    let since = since(&mut unanswered, &event);
                    let answer = answer_in(&event);
                    let messages = say(&mut seat, event);
                    if seat.outbox.send_since(messages, since).await == Err(SocketClosed) {
                        return seat.left();
                    }
                    if let Some(answer) = answer {
                        seat.followed.answered(answer);
                    }
                    if let Some(code) = refused {
                        let message = "joining again sends what is missing";
                        return Box::pin(seat.put_out(code, message)).await;
                    }
                }
                None => {
                    let gone = seat.put_out(ErrorCode::Unavailable, "the room is gone");
                    return Box::pin(gone).await;
                }
            },
            // A room that is gone also ends its events, so its error needs no answer of its own.
            _ = &mut submitting => {}
            command = commands.recv(), if submitting.is_terminated() => match command {
                Some(Command::Offer(batch, _, followed)) if permission == Permission::Read => {
                    let refused = refuse_reader(&mut seat, &batch);
                    if let Some(followed) = followed {
                        followed.refused(ErrorCode::PermissionDenied);
                    }
                    if seat.outbox.send(refused).await == Err(SocketClosed) {
                        return seat.left();
                    }
                }
                Some(Command::Offer(batch, received, followed)) => {
                    unanswered.insert(batch.id, received);
                    seat.followed.follow(followed);
                    seat.speaker.client_speaks(batch.dialect);
                    let correlation_id = format!("{}/{}", seat.session, batch.id);
                    let span = tracing::debug_span!("batch", correlation_id);
                    let Batch { id, updates, trace, .. } = *batch;
                    let submission = Submission { batch: id, updates, trace, received };
                    let submit = Box::pin(room.submit(submission).instrument(span));
                    submitting.set(submit.fuse());
                }
                Some(Command::Complain(status)) => {
                    counter!(COMPLAINTS).increment(1);
                    tracing::warn!(?status, "the client could not use an update");
                    if status == UpdateStatus::FragmentTimeout {
                        let message = "fragments did not arrive in time";
                        return Box::pin(seat.put_out(ErrorCode::SlowConsumer, message)).await;
                    }
                }
                Some(Command::Traced(report)) => {
                    let seat = &mut *seat;
                    seat.followed.reported(&seat.gateway.state.traces, report);
                }
                None => return seat.left(),
            },
        }
    }
}

/// Joins the room and tells the client.
async fn enter(seat: &mut Seat, join: Join) -> Result<Joined, Refusal> {
    let principal = seat.identify(&join.payload).await?;
    let (kind, peer) = match &join.payload {
        ClientPayload::Stock => (WireKind::Stock, None),
        ClientPayload::CollabEdit(payload) => (WireKind::CollabEdit, payload.peer),
    };
    let request = JoinRequest {
        document: seat.subscription().document.clone(),
        session: seat.session.clone(),
        principal: principal.clone(),
        version: join.version,
        kind,
        peer,
    };
    let joining = seat.gateway.join(request).await;
    let joined = joining.map_err(|error| Refusal::new(error.code, error.message))?;
    let standing = joined.peer.map(|peer| PeerAnswer {
        end: peer.end,
        owned: peer.owned,
    });
    let answer = seat.answer(&join.payload, &principal, standing);
    let message = seat
        .speaker
        .joined(joined.permission, &joined.version, answer.as_ref())
        .map_err(|error| Refusal::new(ErrorCode::DocumentTooLarge, error.to_string()))?;
    // If the socket is closed, the next message finds out.
    let _ = seat.outbox.send([message]).await;
    Ok(joined)
}

/// A room's event in the client's dialect.
fn say(seat: &mut Seat, event: SessionEvent) -> Vec<WireMessage> {
    let speaker = &mut seat.speaker;
    match event {
        SessionEvent::Updates(frame) => speaker.updates(&frame.updates),
        SessionEvent::CaughtUp => speaker.caught_up(),
        SessionEvent::Pulse {
            beat,
            beat_ms,
            typists,
        } => speaker.pulse(beat, beat_ms, typists),
        SessionEvent::Ack { batch, stamps } => {
            let stamps = stamps.map(
                |AckStamps {
                     first,
                     last,
                     node,
                     offset,
                 }| Stamps {
                    first,
                    last,
                    node,
                    offset,
                },
            );
            speaker.acknowledged(batch, stamps)
        }
        SessionEvent::Nack {
            batch,
            code,
            message,
        } => {
            counter!(REFUSALS, "code" => code.as_str(), "place" => "batch").increment(1);
            tracing::debug!(%batch, %code, message, "batch refused");
            speaker.refused(batch, code, &message)
        }
        SessionEvent::Closed { .. } => Vec::new(),
    }
}

/// From when on the client has waited for what an event brings.
fn since(unanswered: &mut BTreeMap<BatchId, Instant>, event: &SessionEvent) -> Option<Since> {
    match event {
        SessionEvent::Updates(frame) => frame.received.map(Since::Update),
        SessionEvent::Ack { batch, .. } => unanswered.remove(batch).map(Since::Batch),
        SessionEvent::Nack { batch, .. } => {
            unanswered.remove(batch);
            None
        }
        _ => None,
    }
}

fn refusal_that_needs_a_rejoin(seat: &Seat, event: &SessionEvent) -> Option<ErrorCode> {
    match event {
        SessionEvent::Nack { code, .. } if seat.speaker.has_to_rejoin(*code) => Some(*code),
        _ => None,
    }
}

/// A reader's batch is refused here already; the gate would refuse it too.
fn refuse_reader(seat: &mut Seat, batch: &Batch) -> Vec<WireMessage> {
    let code = ErrorCode::PermissionDenied;
    counter!(REFUSALS, "code" => code.as_str(), "place" => "batch").increment(1);
    seat.speaker.client_speaks(batch.dialect);
    seat.speaker
        .refused(batch.id, code, "you may read this document, not change it")
}
