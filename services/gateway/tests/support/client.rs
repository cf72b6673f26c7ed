use bytes::Bytes;
use document_types::{BatchId, DocumentId, Permission};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use sync_protocol::{Frame, Magic, Message, ServerText, Subscription};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A bare WebSocket client.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Frame(Frame),
    Text(String),
    Closed(u16),
}

pub fn subscription(magic: Magic, document: &str) -> Subscription {
    Subscription {
        magic,
        document: DocumentId::parse(document).unwrap(),
    }
}

/// The payload by which one of our clients announces itself.
pub fn join_payload(device: &str) -> Bytes {
    let payload = json!({
        "collabedit": 1, "device": device, "name": "Ada",
        "features": ["pulse", "stamps"], "peer": "7", "nonce": "AAAA", "token": null,
    });
    Bytes::from(payload.to_string())
}

impl Client {
    pub async fn connect(url: &str) -> Self {
        Self {
            socket: connect_async(url).await.unwrap().0,
        }
    }

    pub async fn send(&mut self, subscription: &Subscription, message: Message) {
        let frame = Frame {
            subscription: subscription.clone(),
            message,
        };
        self.send_bytes(frame.encode().unwrap()).await;
    }

    pub async fn send_bytes(&mut self, bytes: Bytes) {
        self.socket
            .send(tungstenite::Message::Binary(bytes))
            .await
            .unwrap();
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket
            .send(tungstenite::Message::Text(text.into()))
            .await
            .unwrap();
    }

    pub async fn hear(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    return Heard::Frame(Frame::decode(&bytes).unwrap());
                }
                Some(Ok(tungstenite::Message::Text(text))) => return Heard::Text(text.to_string()),
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    return Heard::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("the socket broke: {error}"),
                None => return Heard::Closed(1006),
            }
        }
    }

    /// The next frame, which has to be about `subscription`.
    pub async fn message(&mut self, subscription: &Subscription) -> Message {
        match self.hear().await {
            Heard::Frame(frame) => {
                assert_eq!(&frame.subscription, subscription);
                frame.message
            }
            other => panic!("expected a frame, heard {other:?}"),
        }
    }

    pub async fn text(&mut self) -> ServerText {
        match self.hear().await {
            Heard::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a text, heard {other:?}"),
        }
    }

    /// Joins as a stock client (empty payload) or as one of ours, and reads the catch-up.
    pub async fn join(&mut self, subscription: &Subscription, payload: Bytes) -> Permission {
        let ours = !payload.is_empty();
        let version = Bytes::from_static(&[0]);
        self.send(subscription, Message::JoinRequest { payload, version })
            .await;
        let Message::JoinResponseOk {
            permission,
            version,
            extra,
        } = self.message(subscription).await
        else {
            panic!("joined")
        };
        assert!(
            !version.is_empty(),
            "at an empty version stock clients send snapshots"
        );
        assert_eq!(extra.is_empty(), !ours);
        if subscription.magic == Magic::Loro {
            assert!(matches!(
                self.message(subscription).await,
                Message::DocUpdate { .. }
            ));
            if ours {
                assert!(matches!(self.text().await, ServerText::CaughtUp { .. }));
            }
        }
        permission
    }

    pub async fn offer(&mut self, subscription: &Subscription, batch: u8, updates: Vec<Bytes>) {
        let batch = Some(BatchId([batch; 8]));
        self.send(subscription, Message::DocUpdate { updates, batch })
            .await;
    }
}
