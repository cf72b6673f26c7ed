use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use document_types::{BatchId, DeviceId, DocumentId, ErrorCode, PeerId};
use futures::{SinkExt, StreamExt};
use sync_protocol::{
    Feature, Frame, JoinPayload, Magic, Message, ServerText, Subscription, WireRefusal,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, protocol::CloseFrame};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Sends `bytes` on a connection of its own and gives all that is answered until it is closed.
pub async fn say(server: SocketAddr, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    // A server that has heard enough closes while more is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends a request and gives the status of its answer.
pub async fn ask(server: SocketAddr, head: &str) -> anyhow::Result<String> {
    let answer = say(server, format!("{head}\r\n\r\n").as_bytes()).await?;
    let status = answer.split(' ').nth(1);
    Ok(status.context("there is no answer")?.to_owned())
}

/// A socket that says what it likes.
pub struct Door {
    pub socket: WebSocketStream<TcpStream>,
    device: DeviceId,
    batches: u64,
}

/// What a document's room says of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    Refused(ErrorCode),
}

impl Door {
    /// Opens a socket. Who is sent away, since others storm the door, comes back.
    pub async fn open(server: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let device = DeviceId::parse(&format!("dev_{name}"))?;
        loop {
            let stream = TcpStream::connect(server).await?;
            match client_async(format!("ws://{server}/v1/sync"), stream).await {
                Ok((socket, _)) => {
                    return Ok(Self {
                        socket,
                        device,
                        batches: 0,
                    });
                }
                Err(tungstenite::Error::Http(answer)) if answer.status() == 503 => {
                    tokio::time::sleep(crate::LOOK_AGAIN).await;
                }
                Err(error) => bail!(error),
            }
        }
    }

    pub async fn send(&mut self, bytes: impl Into<Bytes>) -> anyhow::Result<()> {
        let message = tungstenite::Message::Binary(bytes.into());
        Ok(self.socket.send(message).await?)
    }

    pub async fn frame(
        &mut self,
        subscription: &Subscription,
        message: Message,
    ) -> anyhow::Result<()> {
        let frame = Frame {
            subscription: subscription.clone(),
            message,
        };
        self.send(frame.encode()?).await
    }

    /// Asks to join, as one of our clients.
    pub async fn ask_in(
        &mut self,
        subscription: &Subscription,
        peer: Option<PeerId>,
        name: &str,
    ) -> anyhow::Result<()> {
        let payload = JoinPayload {
            collabedit: 1,
            device: self.device.clone(),
            name: name.to_owned(),
            features: vec![Feature::Stamps],
            peer,
            nonce: None,
            token: None,
        };
        let request = Message::JoinRequest {
            payload: serde_json::to_vec(&payload)?.into(),
            version: Bytes::new(),
        };
        self.frame(subscription, request).await
    }

    /// Asks to join and is let in.
    pub async fn join(&mut self, subscription: &Subscription) -> anyhow::Result<()> {
        self.ask_in(subscription, None, "Mallory").await?;
        loop {
            match self.hear().await?.message {
                Message::JoinResponseOk { .. } => return Ok(()),
                Message::JoinError { message, .. } => bail!("not let in: {message}"),
                _ => {}
            }
        }
    }

    /// The next frame of the protocol.
    pub async fn hear(&mut self) -> anyhow::Result<Frame> {
        loop {
            match self.socket.next().await.context("the socket is gone")?? {
                tungstenite::Message::Binary(bytes) => return Ok(Frame::decode(&bytes)?),
                tungstenite::Message::Close(frame) => bail!("the socket was closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Offers an update and says what became of it.
    pub async fn offer(
        &mut self,
        subscription: &Subscription,
        update: Bytes,
    ) -> anyhow::Result<Answer> {
        self.batches += 1;
        let batch = BatchId(self.batches.to_be_bytes());
        let message = Message::DocUpdate {
            updates: vec![update],
            batch: Some(batch),
        };
        self.frame(subscription, message).await?;
        self.answer().await
    }

    /// What becomes of the batch that was sent last.
    pub async fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            match self.socket.next().await.context("the socket is gone")?? {
                tungstenite::Message::Binary(bytes) => {
                    if let Message::Ack { status, .. } = Frame::decode(&bytes)?.message
                        && status == sync_protocol::UpdateStatus::Ok
                    {
                        return Ok(Answer::Taken);
                    }
                }
                tungstenite::Message::Text(text) => {
                    if let Ok(ServerText::Nack { code, .. }) = serde_json::from_str(&text) {
                        return Ok(Answer::Refused(code));
                    }
                }
                tungstenite::Message::Close(frame) => bail!("the socket was closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Waits for the close frame, and holds its code against that of `code`.
    pub async fn is_closed_with(&mut self, code: ErrorCode) -> anyhow::Result<()> {
        self.is_closed_by(WireRefusal::of(code).close.0).await
    }

    pub async fn is_closed_by(&mut self, code: u16) -> anyhow::Result<()> {
        loop {
            let heard = self.socket.next().await;
            if let Some(Ok(tungstenite::Message::Close(frame))) = heard {
                let closed = frame.map(|CloseFrame { code, .. }| u16::from(code));
                ensure!(closed == Some(code), "closed with {closed:?}");
                return Ok(());
            }
            heard.context("the socket ended without a word")??;
        }
    }
}

pub fn subscription(magic: Magic, document: &str) -> anyhow::Result<Subscription> {
    Ok(Subscription {
        magic,
        document: DocumentId::parse(document)?,
    })
}
