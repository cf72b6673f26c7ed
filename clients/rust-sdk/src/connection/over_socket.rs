//! Documents on a WebSocket, in the stock protocol with our additions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use document_types::limits::{
    CONNECT_TIME_MAX, FRAGMENT_BYTES_MAX, KEEPALIVE_INTERVAL, SILENCE_MAX,
};
use document_types::{BatchId, DocumentId, ErrorCode};
use futures::stream::SplitSink;
use futures::{Sink, SinkExt, StreamExt};
use sync_protocol::{
    ClientText, CloseCode, FragmentOutcome, Frame, JoinAnswer, JoinErrorCode, Magic, Message,
    Reassembly, RoomErrorCode, ServerText, Subscription, decode_version,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message as SocketMessage;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::visits::{Outgoing, Visits};
use super::{Connection, Ended, sleep_until_some};
use crate::endpoint::Socket;
use crate::event::Stamps;
use crate::registry::{Registry, Shared};

/// Carries messages until the socket is gone or the last handle is dropped.
pub(super) async fn serve(connection: &Connection, socket: Socket) -> Ended {
    let Connection {
        registry, random, ..
    } = connection;
    let (mut sink, mut stream) = socket.split();
    let mut session = Session::new(registry);
    let mut keepalive = interval(KEEPALIVE_INTERVAL);
    keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_heard = Instant::now();
    let mut leave_at = None;
    let mut ended = Ended::default();
    // What is due waits until everything that has arrived is read: a commit before the beat's
    // frame, only because this side is slow, would make everybody's imports slower.
    let mut all_read = true;
    loop {
        let deadline = session.visit_all(Instant::now(), all_read);
        all_read = false;
        if registry.is_closed() {
            let _ = timeout(
                CONNECT_TIME_MAX,
                flush(&mut sink, &mut session.outgoing.messages),
            )
            .await;
            return ended;
        }
        tokio::select! {
            biased;
            sent = flush(&mut sink, &mut session.outgoing.messages), if session.outgoing.unsent => {
                session.outgoing.unsent = false;
                if let Err(error) = sent {
                    tracing::debug!(%error, "the socket is gone");
                    return ended;
                }
            }
            message = stream.next() => {
                last_heard = Instant::now();
                ended.heard = true;
                match message {
                    Some(Ok(SocketMessage::Binary(bytes))) => session.frame(&bytes, last_heard),
                    Some(Ok(SocketMessage::Text(text))) => {
                        if let Some(within) = session.text(&text, last_heard) {
                            let at = last_heard + random.jitter(within);
                            leave_at = Some(leave_at.map_or(at, |earlier: Instant| earlier.min(at)));
                        }
                    }
                    Some(Ok(SocketMessage::Close(frame))) => {
                        tracing::debug!(?frame, "the server closed the socket");
                        ended.refused = frame.and_then(refusal);
                        return ended;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the socket is gone");
                        return ended;
                    }
                    None => return ended,
                }
            }
            () = registry.bell.notified() => all_read = true,
            () = sleep_until_some(deadline) => all_read = true,
            () = sleep_until_some(leave_at) => {
                // The server drains, and the pause was taken before this.
                ended.within = Some(Duration::ZERO);
                return ended;
            }
            _ = keepalive.tick() => session.outgoing.say(SocketMessage::text("ping")),
            () = sleep_until(last_heard + SILENCE_MAX) => {
                tracing::debug!("the server is silent");
                return ended;
            }
        }
    }
}

/// The documents on one socket.
struct Session<'a> {
    registry: &'a Registry,
    visits: Visits,
    reassembly: Reassembly,
    started: Instant,
    outgoing: Queue,
}

/// What waits to be sent.
#[derive(Default)]
struct Queue {
    messages: VecDeque<SocketMessage>,
    /// Whether something was queued since the socket was last flushed.
    unsent: bool,
}

impl Queue {
    fn say(&mut self, message: SocketMessage) {
        self.messages.push_back(message);
        self.unsent = true;
    }

    fn frame(&mut self, document: &DocumentId, message: Message) {
        let subscription = Subscription {
            magic: Magic::Loro,
            document: document.clone(),
        };
        match (Frame {
            subscription,
            message,
        })
        .encode()
        {
            Ok(bytes) => self.say(SocketMessage::Binary(bytes)),
            Err(error) => tracing::error!(%error, "a message does not fit a frame"),
        }
    }

    /// An update that is larger than a frame.
    fn fragments(&mut self, document: &DocumentId, batch: BatchId, update: &Bytes) {
        let header = Message::FragmentHeader {
            batch,
            fragment_count: update.len().div_ceil(FRAGMENT_BYTES_MAX) as u64,
            total_bytes: update.len() as u64,
        };
        self.frame(document, header);
        for (index, start) in (0..).zip((0..update.len()).step_by(FRAGMENT_BYTES_MAX)) {
            let bytes = update.slice(start..update.len().min(start + FRAGMENT_BYTES_MAX));
            let fragment = Message::Fragment {
                batch,
                index,
                bytes,
            };
            self.frame(document, fragment);
        }
    }
}

impl Outgoing for Queue {
    fn text(&mut self, text: &ClientText) {
        let json = serde_json::to_string(text);
        self.say(SocketMessage::text(
            json.expect("names and numbers always serialise"),
        ));
    }

    fn message(&mut self, document: &DocumentId, message: Message) {
        match message {
            Message::DocUpdate {
                updates,
                batch: Some(batch),
            } if updates.len() == 1 && updates[0].len() > FRAGMENT_BYTES_MAX => {
                self.fragments(document, batch, &updates[0]);
            }
            message => self.frame(document, message),
        }
    }
}

impl<'a> Session<'a> {
    fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            visits: Visits::default(),
            reassembly: Reassembly::default(),
            started: Instant::now(),
            outgoing: Queue::default(),
        }
    }

    fn visit_all(&mut self, now: Instant, all_read: bool) -> Option<Instant> {
        self.visits
            .visit_all(self.registry, &mut self.outgoing, now, all_read)
    }

    fn replica(&self, document: &DocumentId) -> Option<Arc<Shared>> {
        self.visits.replica(self.registry, document)
    }

    fn frame(&mut self, bytes: &Bytes, now: Instant) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return tracing::warn!(%error, "a frame from the server is malformed"),
        };
        let Frame {
            subscription,
            message,
        } = frame;
        if subscription.magic != Magic::Loro {
            return;
        }
        let Some(shared) = self.replica(&subscription.document) else {
            return;
        };
        let elapsed = now.saturating_duration_since(self.started);
        match message {
            Message::DocUpdate { updates, .. } => shared.replica().updates(&updates, now),
            Message::FragmentHeader {
                batch,
                fragment_count,
                total_bytes,
            } => {
                let begun = self.reassembly.begin(
                    &subscription,
                    batch,
                    fragment_count,
                    total_bytes,
                    elapsed,
                );
                if let Err(error) = begun {
                    tracing::warn!(%error, "the server's fragments can't be taken");
                }
            }
            Message::Fragment {
                batch,
                index,
                bytes,
            } => {
                let added = self.reassembly.add(&subscription, batch, index, &bytes);
                if let FragmentOutcome::Complete(update) = added {
                    shared.replica().updates(&[update], now);
                }
            }
            message => answer(&mut shared.replica(), message, now),
        }
    }

    /// Takes a text. Returns the time within which to connect again, if the server asks for it.
    fn text(&mut self, text: &str, now: Instant) -> Option<Duration> {
        match text {
            "ping" => self.outgoing.say(SocketMessage::text("pong")),
            "pong" => {}
            text => match serde_json::from_str(text) {
                Ok(ServerText::Draining {
                    reconnect_within_ms,
                }) => {
                    return Some(Duration::from_millis(reconnect_within_ms));
                }
                Ok(text) => self.said(text, now),
                Err(error) => tracing::debug!(%error, "the server said something new"),
            },
        }
        None
    }

    fn said(&self, text: ServerText, now: Instant) {
        let document = match &text {
            ServerText::Pulse { document, .. }
            | ServerText::Ack { document, .. }
            | ServerText::Nack { document, .. }
            | ServerText::CaughtUp { document } => document,
            ServerText::Draining { .. } => return,
        };
        let Some(shared) = self.replica(document) else {
            return;
        };
        let mut replica = shared.replica();
        match text {
            ServerText::Pulse {
                beat,
                beat_ms,
                typists,
                ..
            } => {
                replica.pulse(beat, beat_ms, typists, now);
            }
            ServerText::Ack {
                batch,
                hlc_first,
                hlc_last,
                node,
                offset,
                ..
            } => {
                let stamps = Stamps {
                    batch,
                    first: hlc_first,
                    last: hlc_last,
                    node: document_types::NodeId(node),
                    offset: document_types::LogOffset(offset),
                };
                replica.acknowledge(batch, Some(stamps), now);
            }
            ServerText::Nack {
                batch,
                code,
                advice,
                message,
                ..
            } => {
                replica.refuse(batch, code, advice, message, now);
            }
            ServerText::CaughtUp { .. } => replica.caught_up(now),
            ServerText::Draining { .. } => {}
        }
    }
}

/// Why the server does not want the client back, if its close code says that it does not.
fn refusal(frame: CloseFrame) -> Option<String> {
    let code = u16::from(frame.code);
    let stay_away = (4400..=4499).contains(&code) && code != CloseCode::NO_JOIN.0;
    stay_away.then(|| format!("the server closed the socket with {code}: {}", frame.reason))
}

/// Tells a replica what the stock protocol's messages answer.
fn answer(replica: &mut crate::replica::Replica, message: Message, now: Instant) {
    match message {
        Message::JoinResponseOk {
            permission,
            version,
            extra,
        } => match decode_version(&version) {
            Ok(version) => {
                let answer: Option<JoinAnswer> = serde_json::from_slice(&extra).ok();
                replica.joined(permission, &version, answer.map(Into::into), now);
            }
            Err(error) => replica.join_refused(ErrorCode::Internal, &error.to_string(), now),
        },
        Message::JoinError {
            code,
            message,
            app_code,
            ..
        } => {
            let code = match code {
                JoinErrorCode::AuthFailed => ErrorCode::PermissionDenied,
                JoinErrorCode::AppError => app_code
                    .and_then(|name| ErrorCode::from_name(&name))
                    .unwrap_or(ErrorCode::Internal),
                JoinErrorCode::VersionUnknown | JoinErrorCode::Unknown => ErrorCode::Internal,
            };
            replica.join_refused(code, &message, now);
        }
        Message::RoomError { code, message } => {
            let code = match code {
                RoomErrorCode::RejoinSuggested => ErrorCode::SlowConsumer,
                RoomErrorCode::Evicted => ErrorCode::PermissionDenied,
                RoomErrorCode::Unknown => ErrorCode::Internal,
            };
            replica.out_of_room(code, &message, now);
        }
        Message::Ack { batch, status } => replica.stock_answer(batch, status, now),
        _ => tracing::debug!("a message that only clients send came from the server"),
    }
}

/// Sends what is queued. Dropping the future loses nothing: a message leaves the queue when the
/// socket takes it.
async fn flush(
    sink: &mut SplitSink<Socket, SocketMessage>,
    outgoing: &mut VecDeque<SocketMessage>,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    while !outgoing.is_empty() {
        std::future::poll_fn(|context| std::pin::Pin::new(&mut *sink).poll_ready(context)).await?;
        if let Some(message) = outgoing.pop_front() {
            std::pin::Pin::new(&mut *sink).start_send(message)?;
        }
    }
    sink.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_is_larger_than_a_frame_comes_together_again() {
        let document = DocumentId::parse("notes").unwrap();
        let update = Bytes::from(vec![7; 2 * FRAGMENT_BYTES_MAX + 1]);
        let mut queue = Queue::default();
        let message = Message::DocUpdate {
            updates: vec![update.clone()],
            batch: Some(BatchId([1; 8])),
        };
        queue.message(&document, message);
        let (mut reassembly, mut whole) = (Reassembly::from_client(), None);
        for message in queue.messages {
            let SocketMessage::Binary(bytes) = message else {
                panic!("{message:?} is no frame")
            };
            let frame = Frame::decode(&bytes).unwrap();
            let subscription = &frame.subscription;
            match frame.message {
                Message::FragmentHeader {
                    batch,
                    fragment_count,
                    total_bytes,
                } => reassembly
                    .begin(
                        subscription,
                        batch,
                        fragment_count,
                        total_bytes,
                        Duration::ZERO,
                    )
                    .unwrap(),
                Message::Fragment {
                    batch,
                    index,
                    bytes,
                } => whole = Some(reassembly.add(subscription, batch, index, &bytes)),
                other => panic!("{other:?} is no fragment"),
            }
        }
        assert_eq!(whole, Some(FragmentOutcome::Complete(update)));
    }
}
