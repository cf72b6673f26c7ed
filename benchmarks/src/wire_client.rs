use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use collabedit_sdk::{DeviceId, DocumentId, VersionVector};
use document_types::limits::FRAME_BYTES_MAX;
use document_types::{BatchId, PeerId};
use futures::{SinkExt, StreamExt};
use sync_protocol::{
    Feature, Frame, JoinAnswer, JoinPayload, Magic, Message, ServerText, Subscription,
    UpdateStatus, decode_version,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as SocketMessage;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// Bytes of a client's buffers, few, since there may be thousands of clients.
const BUFFER_BYTES: usize = 4 * 1024;

/// A client that is only its socket: it speaks the protocol as ours do and keeps no replica, so that
/// thousands of them cost little, and one can write under any peer id.
pub struct WireClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    device: DeviceId,
    peer: Option<PeerId>,
    batches_sent: u64,
}

/// What a client hears of what it has joined.
#[derive(Debug)]
pub enum Heard {
    /// A message of the protocol about a document.
    Message(Message),
    /// One about a document's presence.
    Presence(Message),
    /// What only our clients are told.
    Text(ServerText),
}

/// What the server answers to a join.
#[derive(Debug)]
pub struct Joined {
    /// What it knows of the document.
    pub version: VersionVector,
    /// What it says to our clients alone.
    pub answer: JoinAnswer,
}

impl WireClient {
    /// Connects to the server at `url`, which is of the kind `http://host:port`.
    ///
    /// # Errors
    /// If the URL is of another kind, or the server does not take the connection.
    pub async fn connect(url: &str, device: DeviceId) -> anyhow::Result<Self> {
        let host = url.strip_prefix("http://");
        let host = host.with_context(|| format!("{url} does not begin with http://"))?;
        let address = format!("ws://{}/v1/sync", host.trim_end_matches('/'));
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let (socket, _) = connect_async_with_config(address, Some(config), true).await?;
        Ok(Self {
            socket,
            device,
            peer: None,
            batches_sent: 0,
        })
    }

    /// The same client, which announces that it writes as `peer`.
    pub fn writing_as(self, peer: PeerId) -> Self {
        let peer = Some(peer);
        Self { peer, ..self }
    }

    /// Joins a document, or its presence, knowing nothing of it.
    ///
    /// # Errors
    /// If the connection is lost, or the server refuses.
    pub async fn join(&mut self, magic: Magic, document: &DocumentId) -> anyhow::Result<Joined> {
        let payload = JoinPayload {
            collabedit: 1,
            device: self.device.clone(),
            name: String::from("benchmark"),
            features: vec![Feature::Pulse, Feature::Stamps],
            peer: self.peer,
            nonce: None,
            token: None,
        };
        let subscription = Subscription {
            magic,
            document: document.clone(),
        };
        let message = Message::JoinRequest {
            payload: serde_json::to_vec(&payload)?.into(),
            version: Bytes::new(),
        };
        self.send(&subscription, message).await?;
        loop {
            match self.hear_about(&subscription).await? {
                Message::JoinResponseOk { version, extra, .. } => {
                    let answer = serde_json::from_slice(&extra)
                        .context("the server does not know our clients")?;
                    let version = decode_version(&version)?;
                    return Ok(Joined { version, answer });
                }
                Message::JoinError { message, .. } => bail!("the join was refused: {message}"),
                _ => {}
            }
        }
    }

    /// Sends a batch of updates to a document that is joined, and waits until they are durable.
    ///
    /// # Errors
    /// If the connection is lost, or the server refuses.
    pub async fn offer(
        &mut self,
        document: &DocumentId,
        updates: Vec<Bytes>,
    ) -> anyhow::Result<()> {
        let sent = self.send_batch(document, updates).await?;
        loop {
            match self.hear_about(&of_document(document)).await? {
                Message::Ack { batch, status } if batch == sent => {
                    ensure!(status == UpdateStatus::Ok, "refused with {status:?}");
                    return Ok(());
                }
                Message::RoomError { message, .. } => bail!("put out of the room: {message}"),
                _ => {}
            }
        }
    }

    /// Sends a batch of updates to a document that is joined. Its name comes back with the answer.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn send_batch(
        &mut self,
        document: &DocumentId,
        updates: Vec<Bytes>,
    ) -> anyhow::Result<BatchId> {
        self.send_updates(&of_document(document), updates).await
    }

    /// Shows encoded ephemeral entries in a presence that is joined.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn show(&mut self, document: &DocumentId, entries: Bytes) -> anyhow::Result<()> {
        let subscription = Subscription {
            magic: Magic::Ephemeral,
            document: document.clone(),
        };
        self.send_updates(&subscription, vec![entries]).await?;
        Ok(())
    }

    async fn send_updates(
        &mut self,
        subscription: &Subscription,
        updates: Vec<Bytes>,
    ) -> anyhow::Result<BatchId> {
        self.batches_sent += 1;
        let sent = BatchId(self.batches_sent.to_be_bytes());
        let message = Message::DocUpdate {
            updates,
            batch: Some(sent),
        };
        self.send(subscription, message).await?;
        Ok(sent)
    }

    /// The next that the server says of anything that is joined. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the connection is lost, or the server says something that is not of the protocol.
    pub async fn listen(&mut self) -> anyhow::Result<Heard> {
        loop {
            match self.hear().await? {
                SocketMessage::Binary(bytes) => {
                    let frame = Frame::decode(&bytes)?;
                    return Ok(match frame.subscription.magic {
                        Magic::Ephemeral => Heard::Presence(frame.message),
                        _ => Heard::Message(frame.message),
                    });
                }
                SocketMessage::Text(text) => {
                    // Our clients ignore texts of a kind that they do not know.
                    if let Ok(text) = serde_json::from_str(&text) {
                        return Ok(Heard::Text(text));
                    }
                }
                _ => {}
            }
        }
    }

    /// Answers the server's pings for as long as it stays connected.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn idle(&mut self) -> anyhow::Result<()> {
        loop {
            self.hear().await?;
        }
    }

    async fn send(&mut self, subscription: &Subscription, message: Message) -> anyhow::Result<()> {
        let frame = Frame {
            subscription: subscription.clone(),
            message,
        };
        let message = SocketMessage::Binary(frame.encode()?);
        Ok(self.socket.send(message).await?)
    }

    /// The next message about `subscription`.
    async fn hear_about(&mut self, subscription: &Subscription) -> anyhow::Result<Message> {
        loop {
            if let SocketMessage::Binary(bytes) = self.hear().await? {
                let frame = Frame::decode(&bytes)?;
                if frame.subscription == *subscription {
                    return Ok(frame.message);
                }
            }
        }
    }

    async fn hear(&mut self) -> anyhow::Result<SocketMessage> {
        match self.socket.next().await {
            Some(Ok(SocketMessage::Close(frame))) => bail!("the server closed: {frame:?}"),
            Some(message) => Ok(message?),
            None => bail!("the connection is gone"),
        }
    }
}

fn of_document(document: &DocumentId) -> Subscription {
    Subscription {
        magic: Magic::Loro,
        document: document.clone(),
    }
}
