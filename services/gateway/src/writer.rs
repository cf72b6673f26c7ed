use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use document_types::limits::{
    PRESENCE_QUEUE_COUNT_MAX, SOCKET_FLUSH_COUNT_MAX, SOCKET_PING_INTERVAL, SOCKET_QUEUE_COUNT_MAX,
    SOCKET_WRITE_TIME_MAX,
};
use futures::SinkExt;
use futures::stream::SplitSink;
use metrics::counter;
use sync_protocol::WireMessage;
use tokio::time::timeout;

use crate::metric_names::{MESSAGE_BYTES, MESSAGES, SLOW_CONSUMERS};
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
    edits: Sender<WireMessage>,
    presence: Sender<WireMessage>,
}

/// The socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketClosed;

impl Outbox {
    pub(crate) async fn send(
        &self,
        messages: impl IntoIterator<Item = WireMessage>,
    ) -> Result<(), SocketClosed> {
        Self::put(&self.edits, messages).await
    }

    pub(crate) async fn send_presence(
        &self,
        messages: impl IntoIterator<Item = WireMessage>,
    ) -> Result<(), SocketClosed> {
        Self::put(&self.presence, messages).await
    }

    async fn put(
        queue: &Sender<WireMessage>,
        messages: impl IntoIterator<Item = WireMessage>,
    ) -> Result<(), SocketClosed> {
        for message in messages {
            queue.send(message).await.map_err(|_| SocketClosed)?;
        }
        Ok(())
    }
}

/// The receiving end of an [`Outbox`].
pub(crate) struct Queue {
    edits: Receiver<WireMessage>,
    presence: Receiver<WireMessage>,
}

impl Queue {
    async fn recv(&mut self) -> Option<WireMessage> {
        tokio::select! {
            biased;
            Some(message) = self.edits.recv() => Some(message),
            Some(message) = self.presence.recv() => Some(message),
            else => None,
        }
    }

    fn try_recv(&mut self) -> Option<WireMessage> {
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
            let message = tokio::select! {
                biased;
                Some(message) = self.queue.recv() => into_message(message),
                _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
            };
            // In a box, as everything here that an idle socket would hold room for.
            if let Err(end) = Box::pin(self.write(message)).await {
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
        while let Some(message) = self.queue.try_recv() {
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

    async fn write(&mut self, first: Message) -> Result<(), End> {
        self.feed(first).await?;
        for _ in 1..SOCKET_FLUSH_COUNT_MAX {
            let Some(message) = self.queue.try_recv() else {
                break;
            };
            self.feed(into_message(message)).await?;
        }
        within(SOCKET_WRITE_TIME_MAX, self.sink.flush()).await
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
