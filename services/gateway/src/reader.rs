use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use document_types::limits::{
    DOCUMENTS_PER_SOCKET_MAX, DRAIN_NOTICE_TIME, DRAIN_RECONNECT_WITHIN, FIRST_JOIN_WAIT_MAX,
    JOIN_TIME_MAX, SOCKET_BYTES_PER_SECOND_MAX, SOCKET_MESSAGES_PER_SECOND_MAX, SOCKET_SILENCE_MAX,
    SUBMISSIONS_WAITING_MAX,
};
use document_types::{ErrorCode, SessionId};
use futures::StreamExt;
use futures::stream::SplitStream;
use metrics::counter;
use sync_protocol::{
    CloseCode, Received, Request, ServerText, Session, Speaker, Subscription, WireMessage,
};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite;
use tracing::Instrument;

use crate::followed::{Followed, FollowedBatch};
use crate::joining::{Command, Join, Seat, SubscriptionOpen, TaskEnd};
use crate::metric_names::{MESSAGE_BYTES, MESSAGES, SLOWED_READS};
use crate::queue::{Sender, queue};
use crate::rate::Rate;
use crate::socket::End;
use crate::state::Gateway;
use crate::writer::{Outbox, SocketClosed};
use crate::{Credentials, document_task, presence_task};

/// Reads a socket: lets the protocol session judge each message and does what it asks for. Holds the
/// tasks of what the socket joined.
pub(crate) struct Reader {
    gateway: Arc<Gateway>,
    stream: SplitStream<WebSocket>,
    session: SessionId,
    credentials: Credentials,
    outbox: Outbox,
    protocol: Session,
    seats: BTreeMap<Subscription, SeatState>,
    tasks: JoinSet<TaskEnd>,
    /// Speakers of subscriptions that ended, for their next join.
    speakers: BTreeMap<Subscription, Speaker>,
    messages: Rate,
    bytes: Rate,
    opened: Instant,
    heard: Duration,
    closes_at: Option<Duration>,
}

/// One subscription's task. A session can be in a room only once, so a join that comes while the
/// task of an earlier one is still leaving waits for it.
enum SeatState {
    Taken(Sender<Command>),
    Leaving { next: Option<Box<Join>> },
}

impl Reader {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        stream: SplitStream<WebSocket>,
        session: SessionId,
        credentials: Credentials,
        outbox: Outbox,
    ) -> Self {
        let opened = Instant::now();
        Self {
            gateway,
            stream,
            session,
            credentials,
            outbox,
            protocol: Session::new(),
            seats: BTreeMap::new(),
            tasks: JoinSet::new(),
            speakers: BTreeMap::new(),
            messages: Rate::new(SOCKET_MESSAGES_PER_SECOND_MAX, Duration::ZERO),
            bytes: Rate::new(SOCKET_BYTES_PER_SECOND_MAX, Duration::ZERO),
            opened,
            heard: Duration::ZERO,
            closes_at: None,
        }
    }

    /// Reads until the socket has to end.
    pub(crate) async fn run(&mut self) -> End {
        let gateway = self.gateway.clone();
        loop {
            let deadline = self.opened + self.next_deadline();
            let step = tokio::select! {
                biased;
                () = gateway.state.drain.cancelled(), if self.closes_at.is_none() => {
                    Box::pin(self.begin_draining()).await
                }
                Some(ended) = self.tasks.join_next() => self.task_ended(ended),
                message = self.stream.next() => match message {
                    Some(Ok(message)) => Box::pin(self.receive(message)).await,
                    Some(Err(error)) => Err(unreadable(&error)),
                    None => Err(End::Gone),
                },
                () = sleep_until(deadline) => Box::pin(self.deadline_passed()).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Lets the tasks leave their rooms, and the client answer the close frame.
    pub(crate) async fn close(&mut self) {
        self.seats.clear();
        while self.tasks.join_next().await.is_some() {}
        while let Some(Ok(_)) = self.stream.next().await {}
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        let now = self.opened.elapsed();
        self.heard = now;
        let (received, bytes) = match &message {
            Message::Text(text) => (self.protocol.receive_text(text.as_str()), text.len()),
            Message::Binary(bytes) => (self.protocol.receive_binary(bytes, now), bytes.len()),
            // The socket answers pings and close frames by itself.
            Message::Ping(_) | Message::Pong(_) => (Ok(Received::default()), 0),
            Message::Close(_) => return Err(End::Gone),
        };
        counter!(MESSAGES, "direction" => "in").increment(1);
        counter!(MESSAGE_BYTES, "direction" => "in").increment(bytes as u64);
        let received = received.map_err(|violation| {
            tracing::info!(
                error = &violation as &dyn std::error::Error,
                "protocol violation"
            );
            End::refused(violation.code())
        })?;
        self.send(received.replies).await?;
        if let Some(request) = received.request {
            self.serve(request).await?;
        }
        self.slow_down(bytes, now).await;
        Ok(())
    }

    /// Reads no further until the client is back within its rate: the network then slows it down,
    /// and nothing is refused.
    async fn slow_down(&mut self, bytes: usize, now: Duration) {
        // A message is at most a frame, so the number is exact.
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        let pause = self
            .messages
            .take(1.0, now)
            .max(self.bytes.take(bytes, now));
        if !pause.is_zero() {
            counter!(SLOWED_READS).increment(1);
            sleep(pause).await;
        }
    }

    async fn serve(&mut self, request: Request) -> Result<(), End> {
        match request {
            Request::Join {
                subscription,
                payload,
                version,
            } => {
                self.join(subscription, Box::new(Join { payload, version }));
                Ok(())
            }
            Request::Offer {
                subscription,
                mut batch,
            } => {
                let traces = &self.gateway.state.traces;
                let followed =
                    FollowedBatch::begin(traces, &self.session, &subscription, &mut batch);
                let offer = Command::Offer(Box::new(batch), Instant::now(), followed);
                self.command(&subscription, offer).await
            }
            Request::Traced {
                subscription,
                report,
            } => self.command(&subscription, Command::Traced(report)).await,
            Request::Complain {
                subscription,
                status,
            } => self.command(&subscription, Command::Complain(status)).await,
            Request::Leave { subscription } => {
                if let Some(seat) = self.seats.get_mut(&subscription) {
                    *seat = SeatState::Leaving { next: None };
                }
                Ok(())
            }
        }
    }

    fn join(&mut self, subscription: Subscription, join: Box<Join>) {
        if let Some(seat) = self.seats.get_mut(&subscription) {
            *seat = SeatState::Leaving { next: Some(join) };
            return;
        }
        let speaker = self
            .speakers
            .remove(&subscription)
            .unwrap_or_else(|| Speaker::new(subscription.clone()));
        let seat = Box::new(Seat {
            gateway: self.gateway.clone(),
            session: self.session.clone(),
            credentials: self.credentials.clone(),
            outbox: self.outbox.clone(),
            speaker,
            followed: Followed::default(),
            _open: SubscriptionOpen::new(&subscription),
        });
        let (commands, inbox) = queue(SUBMISSIONS_WAITING_MAX);
        let span = tracing::info_span!("document", document = %subscription.document);
        if subscription.magic.is_presence() {
            self.tasks
                .spawn(presence_task::run(seat, join, inbox).instrument(span));
        } else {
            self.tasks
                .spawn(document_task::run(seat, join, inbox).instrument(span));
        }
        self.seats.insert(subscription, SeatState::Taken(commands));
    }

    async fn command(&mut self, subscription: &Subscription, command: Command) -> Result<(), End> {
        let Some(SeatState::Taken(commands)) = self.seats.get(subscription) else {
            return Ok(());
        };
        match timeout(JOIN_TIME_MAX, commands.send(command)).await {
            // A task that has just ended takes no more; its client is being told.
            Ok(_) => Ok(()),
            Err(_) => Err(End::refused(ErrorCode::Overloaded)),
        }
    }

    fn task_ended(&mut self, ended: Result<TaskEnd, JoinError>) -> Result<(), End> {
        let TaskEnd { speaker, socket } = ended.map_err(|error| {
            tracing::error!(%error, "the task of a document failed");
            End::refused(ErrorCode::Internal)
        })?;
        let subscription = speaker.subscription().clone();
        if self.speakers.len() < DOCUMENTS_PER_SOCKET_MAX {
            self.speakers.insert(subscription.clone(), speaker);
        }
        match self.seats.remove(&subscription) {
            Some(SeatState::Leaving { next: Some(join) }) => self.join(subscription, join),
            Some(SeatState::Leaving { next: None }) | None => {}
            Some(SeatState::Taken(_)) => self.protocol.forget(&subscription),
        }
        socket.map_or(Ok(()), Err)
    }

    async fn begin_draining(&mut self) -> Result<(), End> {
        self.closes_at = Some(self.opened.elapsed() + DRAIN_NOTICE_TIME);
        if !self.protocol.is_ours() {
            return Ok(());
        }
        let reconnect_within_ms =
            u64::try_from(DRAIN_RECONNECT_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let text = ServerText::Draining {
            reconnect_within_ms,
        };
        self.send(vec![WireMessage::Text(text.to_json())]).await
    }

    fn next_deadline(&self) -> Duration {
        let first_join = (!self.protocol.has_joined_once()).then_some(FIRST_JOIN_WAIT_MAX);
        [first_join, self.closes_at, self.protocol.next_deadline()]
            .into_iter()
            .flatten()
            .fold(self.heard + SOCKET_SILENCE_MAX, Duration::min)
    }

    async fn deadline_passed(&mut self) -> Result<(), End> {
        let now = self.opened.elapsed();
        let overdue = self.protocol.expire(now);
        self.send(overdue).await?;
        if self.closes_at.is_some_and(|closes_at| closes_at <= now) {
            return Err(End::Close {
                code: CloseCode::RESTARTING,
                reason: ErrorCode::Draining.as_str().into(),
            });
        }
        if !self.protocol.has_joined_once() && now >= FIRST_JOIN_WAIT_MAX {
            return Err(End::Close {
                code: CloseCode::NO_JOIN,
                reason: "no_join".into(),
            });
        }
        if now >= self.heard + SOCKET_SILENCE_MAX {
            return Err(End::Close {
                code: CloseCode::GOING_AWAY,
                reason: "silent".into(),
            });
        }
        Ok(())
    }

    async fn send(&self, messages: Vec<WireMessage>) -> Result<(), End> {
        self.outbox
            .send(messages)
            .await
            .map_err(|SocketClosed| End::Gone)
    }
}

/// What the socket itself refuses: a message that is too large, or bytes that are no WebSocket.
fn unreadable(error: &axum::Error) -> End {
    tracing::debug!(%error, "socket can't be read");
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(tungstenite::Error::Capacity(_)) => End::refused(ErrorCode::TooLarge),
        _ => End::Gone,
    }
}
