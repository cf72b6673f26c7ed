use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use crdt_document::CrdtDocument;
use document_types::{BatchId, DeviceId, DocumentId, PeerId, VersionVector};
use futures::{SinkExt, StreamExt};
use sync_protocol::{Frame, JoinPayload, Magic, Message, ServerText, Subscription, encode_version};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

/// A bare socket that has joined one document as a device of its own.
pub(crate) struct Session {
    socket: WebSocketStream<TcpStream>,
    subscription: Subscription,
    batches: u64,
}

/// What a session hears.
pub(crate) enum Heard {
    Message(Message),
    Text(ServerText),
    /// The socket is closed; there is nothing more to hear.
    Closed,
}

impl Session {
    /// Joins `document` as one who knows `version`. It announces itself, since a device is what a
    /// server without accounts tells principals apart by, but asks for nothing else.
    pub(crate) async fn join(
        server: SocketAddr,
        document: &DocumentId,
        device: DeviceId,
        version: &VersionVector,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(format!("ws://{server}/v1/sync"), stream).await?;
        let subscription = Subscription {
            magic: Magic::Loro,
            document: document.clone(),
        };
        let mut session = Self {
            socket,
            subscription,
            batches: 0,
        };
        let payload = JoinPayload {
            collabedit: 1,
            device,
            name: "Mallory".to_owned(),
            features: Vec::new(),
            peer: None,
            nonce: None,
            token: None,
        };
        let request = Message::JoinRequest {
            payload: serde_json::to_vec(&payload)?.into(),
            version: encode_version(version),
        };
        session.send(request).await?;
        match session.hear().await? {
            Heard::Message(Message::JoinResponseOk { .. }) => Ok(session),
            Heard::Message(message) => bail!("a join was answered with {message:?}"),
            Heard::Text(text) => bail!("a join was answered with {text:?}"),
            Heard::Closed => bail!("a join was answered with a close"),
        }
    }

    /// Offers one update as a batch of its own.
    pub(crate) async fn offer(&mut self, update: Bytes) -> anyhow::Result<BatchId> {
        self.batches += 1;
        let batch = BatchId(self.batches.to_be_bytes());
        let updates = vec![update];
        self.send(Message::DocUpdate {
            updates,
            batch: Some(batch),
        })
        .await?;
        Ok(batch)
    }

    /// What comes next. Dropping the future loses nothing.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<Heard> {
        loop {
            return Ok(match self.socket.next().await {
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    let frame = Frame::decode(&bytes)?;
                    ensure!(frame.subscription == self.subscription, "a stray frame");
                    Heard::Message(frame.message)
                }
                Some(Ok(tungstenite::Message::Text(text))) => {
                    Heard::Text(serde_json::from_str(&text).context("a text of another kind")?)
                }
                Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => continue,
                // A socket that breaks says no more than one that is closed.
                Some(Ok(_) | Err(_)) | None => Heard::Closed,
            });
        }
    }

    async fn send(&mut self, message: Message) -> anyhow::Result<()> {
        let frame = Frame {
            subscription: self.subscription.clone(),
            message,
        };
        let message = tungstenite::Message::Binary(frame.encode()?);
        Ok(self.socket.send(message).await?)
    }
}

/// The document as somebody gets it who has nothing of it yet, imported step by step.
///
/// # Errors
/// If the server does not send it, or the engine can't take it: then the server let something in
/// that harms its readers.
pub async fn read_document(
    server: SocketAddr,
    document: &DocumentId,
    device: DeviceId,
) -> anyhow::Result<CrdtDocument> {
    let nothing = VersionVector::new();
    let mut session = Session::join(server, document, device, &nothing).await?;
    let replica = CrdtDocument::new(PeerId(0))?;
    let mut fragments: Vec<u8> = Vec::new();
    let mut fragments_left = 0;
    loop {
        match session.hear().await? {
            Heard::Message(Message::DocUpdate { updates, .. }) => {
                replica
                    .import_batch(&updates)
                    .context("a reader's engine fails on what the server sends")?;
            }
            Heard::Message(Message::FragmentHeader { fragment_count, .. }) => {
                fragments_left = fragment_count;
                fragments.clear();
            }
            Heard::Message(Message::Fragment { bytes, .. }) => {
                fragments.extend_from_slice(&bytes);
                fragments_left -= 1;
                if fragments_left == 0 {
                    replica
                        .import(&fragments)
                        .context("a reader's engine fails on what the server sends")?;
                }
            }
            Heard::Text(ServerText::CaughtUp { .. }) => return Ok(replica),
            Heard::Text(_) => {}
            Heard::Message(other) => bail!("a reader was told {other:?}"),
            Heard::Closed => bail!("a reader's socket was closed"),
        }
    }
}
