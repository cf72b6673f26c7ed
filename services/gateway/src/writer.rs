use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use document_types::limits::{
    PRESENCE_QUEUE_COUNT_MAX, SOCKET_FLUSH_COUNT_MAX, SOCKET_PING_INTERVAL, SOCKET_QUEUE_COUNT_MAX,
    SOCKET_WRITE_TIME_MAX,
};
use futures::SinkExt;
use futures::stream::SplitSink;
use metrics::{counter, histogram};
use sync_protocol::WireMessage;
use tokio::time::{Instant, timeout};

use crate::metric_names::{ACK_MS, DELIVERY_MS, MESSAGE_BYTES, MESSAGES, SLOW_CONSUMERS};
use crate::queue::{Receiver, Sender, queue};
use crate::socket::End;

/// A socket's two queues. Presence has its own, which is written only when the other is empty.
pub(crate) fn outbox() -> (Outbox, Queue) {
    let (edits, edits_queue) = queue(SOCKET_QUEUE_COUNT_MAX);
    let (presence, presence_queue) = queue(PRESENCE_QUEUE_COUNT_MAX);
    (
        Outbox { edits, presence },
        Queue {
            edits: edits_queue,
            presence: presence_queue,
        },
    )
}

/// Where tasks put what shall be sent. Waiting for room in it is how a slow socket is felt.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    edits: Sender<Outgoing>,
    presence: Sender<Outgoing>,
}

/// A message, and what ends with it.
#[derive(Debug)]
struct Outgoing {
    message: WireMessage,
    since: Option<Since>,
}

/// From when on somebody has waited for what is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    /// A batch was received; it is its acknowledgement.
    Batch(Instant),
    /// An update was received; it is among those of a frame.
    Update(Instant),
}

impl Since {
    /// It was written.
    fn record(self) {
        let (name, since) = match self {
            Self::Batch(since) => (ACK_MS, since),
            Self::Update(since) => (DELIVERY_MS, since),
        };
        histogram!(name).record(since.elapsed().as_secs_f64() * 1_000.0);
    }
}

/// The socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketClosed;

impl Outbox {
    pub(crate) async fn send(
        &self,
        messages: impl IntoIterator<Item = WireMessage>,
    ) -> Result<(), SocketClosed> {
        self.send_since(messages, None).await
    }

    /// Sends `messages`, with the last of which a wait ends.
    pub(crate) async fn send_since(
        &self,
        messages: impl IntoIterator<Item = WireMessage>,
        since: Option<Since>,
    ) -> Result<(), SocketClosed> {
        Self::put(&self.edits, messages, since).await
    }

    pub(crate) async fn send_presence(
        &self,
        messages: impl IntoIterator<Item = WireMessage>,
    ) -> Result<(), SocketClosed> {
        Self::put(&self.presence, messages, None).await
    }

    async fn put(
        queue: &Sender<Outgoing>,
        messages: impl IntoIterator<Item = WireMessage>,
        since: Option<Since>,
    ) -> Result<(), SocketClosed> {
        let mut messages = messages.into_iter().peekable();
        while let Some(message) = messages.next() {
            let since = since.filter(|_| messages.peek().is_none());
            let outgoing = Outgoing { message, since };
            queue.send(outgoing).await.map_err(|_| SocketClosed)?;
        }
        Ok(())
    }
}

/// The receiving end of an [`Outbox`].
pub(crate) struct Queue {
    edits: Receiver<Outgoing>,
    presence: Receiver<Outgoing>,
}

impl Queue {
    async fn recv(&mut self) -> Option<Outgoing> {
        tokio::select! {
            biased;
            Some(message) = self.edits.recv() => Some(message),
            Some(message) = self.presence.recv() => Some(message),
            else => None,
        }
    }

    fn try_recv(&mut self) -> Option<Outgoing> {
        self.edits.try_recv().or_else(|| self.presence.try_recv())
    }
}

/// Writes a socket. What is ready goes into one flush.
pub(crate) struct Writer {
    sink: SplitSink<WebSocket, Message>,
    queue: Queue,
}

impl Writer {
    pub(crate) fn new(sink: SplitSink<WebSocket, Message>, queue: Queue) -> Self {
        Self { sink, queue }
    }

    /// Writes until the client is gone or reads too slowly.
    pub(crate) async fn run(&mut self) -> End {
        let mut ping = tokio::time::interval(SOCKET_PING_INTERVAL);
        ping.reset();
        loop {
            // In a box, as everything here that an idle socket would hold room for.
            let written = tokio::select! {
                biased;
                Some(first) = self.queue.recv() => Box::pin(self.write(first)).await,
                _ = ping.tick() => Box::pin(self.ping()).await,
            };
            if let Err(end) = written {
                return end;
            }
        }
    }

    /// Writes what is queued and then the close frame.
    pub(crate) async fn close(&mut self, end: End) {
        let End::Close { code, reason } = end else {
            return;
        };
        self.queue.edits.close();
        while let Some(Outgoing { message, .. }) = self.queue.try_recv() {
            if self.feed(into_message(message)).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame {
            code: code.0,
            reason: reason.as_ref().into(),
        };
        // The client may be gone by now, which is just as well.
        let _ = self.sink.send(Message::Close(Some(frame))).await;
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.feed(Message::Ping(bytes::Bytes::new())).await?;
        within(SOCKET_WRITE_TIME_MAX, self.sink.flush()).await
    }

    async fn write(&mut self, first: Outgoing) -> Result<(), End> {
        let mut waits = Vec::new();
        let mut next = Some(first);
        for _ in 0..SOCKET_FLUSH_COUNT_MAX {
            let Some(Outgoing { message, since }) = next.or_else(|| self.queue.try_recv()) else {
                break;
            };
            next = None;
            self.feed(into_message(message)).await?;
            waits.extend(since);
        }
        within(SOCKET_WRITE_TIME_MAX, self.sink.flush()).await?;
        waits.into_iter().for_each(Since::record);
        Ok(())
    }

    async fn feed(&mut self, message: Message) -> Result<(), End> {
        let bytes = match &message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
        };
        counter!(MESSAGES, "direction" => "out").increment(1);
        counter!(MESSAGE_BYTES, "direction" => "out").increment(bytes as u64);
        within(SOCKET_WRITE_TIME_MAX, self.sink.feed(message)).await
    }
}

async fn within(
    time: Duration,
    write: impl Future<Output = Result<(), axum::Error>>,
) -> Result<(), End> {
    match timeout(time, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "socket can't be written");
            Err(End::Gone)
        }
        Err(_) => {
            counter!(SLOW_CONSUMERS, "level" => "socket").increment(1);
            tracing::info!("socket was not read in time");
            Err(End::Gone)
        }
    }
}

fn into_message(message: WireMessage) -> Message {
    match message {
        WireMessage::Text(text) => Message::Text(text.into()),
        WireMessage::Binary(bytes) => Message::Binary(bytes),
    }
}
