use bytes::Bytes;
use document_types::limits::{
    FRAME_OUT_PAYLOAD_BYTES, REJOINS_SUGGESTED_MAX, UPDATES_PER_BATCH_MAX,
};
use document_types::{
    BatchId, ErrorCode, HlcTimestamp, LogOffset, NodeId, Permission, VersionVector,
};

use crate::encode::EncodeError;
use crate::frame::{
    Frame, JoinErrorCode, Message, RoomErrorCode, Subscription, UpdateStatus, WireMessage,
};
use crate::join::{Feature, JoinAnswer};
use crate::refusal::{WireRefusal, stock_rejoin_mends};
use crate::text::ServerText;
use crate::version_encoding::encode_version;

/// Which version of the stock protocol a client speaks. Nothing in a join says so: a client shows
/// that it speaks v0 by sending a batch without an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// No acks; a refused batch is told as an `UpdateError`.
    V0,
    /// Every batch is answered with an ack.
    V1,
}

/// Where and when a batch was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// The first update's stamp.
    pub first: HlcTimestamp,
    /// The last update's stamp.
    pub last: HlcTimestamp,
    /// The node that stamped them.
    pub node: NodeId,
    /// The position of the last record in the document's partition.
    pub offset: LogOffset,
}

/// Says what happens in one joined document, or in its presence, to one client in the client's own
/// dialect.
#[derive(Debug)]
pub struct Speaker {
    subscription: Subscription,
    features: Vec<Feature>,
    ours: bool,
    dialect: Dialect,
    batches_sent: u64,
    rejoins_left: u32,
}

impl Speaker {
    /// Speaks about `subscription` to a client of which nothing is known yet.
    pub fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            features: Vec::new(),
            ours: false,
            dialect: Dialect::V1,
            batches_sent: 0,
            rejoins_left: REJOINS_SUGGESTED_MAX,
        }
    }

    /// What is spoken about.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// The client joined (anew). `features` are those negotiated, none for a stock client.
    pub fn client_joins(&mut self, ours: bool, features: Vec<Feature>) {
        self.ours = ours;
        self.features = features;
    }

    /// The dialect became known.
    pub fn client_speaks(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    /// Whether the client is one of ours.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// The client is in.
    ///
    /// # Errors
    /// [`EncodeError`] if the version vector is too large for a frame.
    pub fn joined(
        &self,
        permission: Permission,
        version: &VersionVector,
        answer: Option<&JoinAnswer>,
    ) -> Result<WireMessage, EncodeError> {
        let extra = answer.map_or_else(Bytes::new, |answer| {
            Bytes::from(serde_json::to_vec(answer).expect("ids, numbers and names serialise"))
        });
        let version = encode_version(version);
        let message = Message::JoinResponseOk {
            permission,
            version,
            extra,
        };
        self.frame(message).encode().map(WireMessage::Binary)
    }

    /// The client is not in.
    pub fn join_refused(&self, code: ErrorCode, message: &str) -> Vec<WireMessage> {
        join_refusal(&self.subscription, code, message)
    }

    /// Updates of others, in order. They go in as few frames as the payload limit allows; one that
    /// is larger goes in fragments.
    pub fn updates(&mut self, updates: &[Bytes]) -> Vec<WireMessage> {
        let mut messages = Vec::with_capacity(1);
        let mut packed: Vec<Bytes> = Vec::new();
        let mut packed_bytes = 0;
        for update in updates {
            let overflows = packed_bytes + update.len() > FRAME_OUT_PAYLOAD_BYTES
                || packed.len() == UPDATES_PER_BATCH_MAX;
            if overflows && !packed.is_empty() {
                packed_bytes = 0;
                self.push_update(std::mem::take(&mut packed), &mut messages);
            }
            if update.len() > FRAME_OUT_PAYLOAD_BYTES {
                self.push_fragments(update, &mut messages);
            } else {
                packed_bytes += update.len();
                packed.push(update.clone());
            }
        }
        if !packed.is_empty() {
            self.push_update(packed, &mut messages);
        }
        messages
    }

    /// Everything that the client lacked has been sent.
    pub fn caught_up(&self) -> Vec<WireMessage> {
        let document = self.subscription.document.clone();
        self.text(self.ours, ServerText::CaughtUp { document })
    }

    /// The room's beat.
    pub fn pulse(&self, beat: u64, beat_ms: u32, typists: u32) -> Vec<WireMessage> {
        let document = self.subscription.document.clone();
        let speaks = self.features.contains(&Feature::Pulse);
        self.text(
            speaks,
            ServerText::Pulse {
                document,
                beat,
                beat_ms,
                typists,
            },
        )
    }

    /// A batch is durable. There are no stamps to tell if it had been in the log before.
    pub fn acknowledged(&mut self, batch: BatchId, stamps: Option<Stamps>) -> Vec<WireMessage> {
        self.rejoins_left = REJOINS_SUGGESTED_MAX;
        let mut messages = self.accepted(batch);
        if let Some(stamps) = stamps {
            let text = ServerText::Ack {
                document: self.subscription.document.clone(),
                batch,
                hlc_first: stamps.first,
                hlc_last: stamps.last,
                node: stamps.node.0,
                offset: stamps.offset.0,
            };
            messages.extend(self.text(self.features.contains(&Feature::Stamps), text));
        }
        messages
    }

    /// A batch was taken, without more to say of it: the ack of presence.
    pub fn accepted(&self, batch: BatchId) -> Vec<WireMessage> {
        status_message(
            self.dialect,
            &self.subscription,
            batch,
            UpdateStatus::Ok,
            "",
        )
    }

    /// A batch was refused.
    pub fn refused(&self, batch: BatchId, code: ErrorCode, message: &str) -> Vec<WireMessage> {
        batch_refusal(
            self.ours,
            self.dialect,
            &self.subscription,
            batch,
            code,
            message,
        )
    }

    /// Whether after a refused batch the client has to be put out so that it joins again and sends
    /// what the server lacks. Ours send a batch again by themselves.
    pub fn has_to_rejoin(&self, refused_with: ErrorCode) -> bool {
        !self.ours && stock_rejoin_mends(refused_with)
    }

    /// The client is out of the room. Stock clients obey a suggestion to join again at once and for
    /// ever, so after a few without an ack between them they are told to stay out. The speaker of a
    /// client that was put out has to be kept for its next join, since it counts.
    pub fn put_out(&mut self, code: ErrorCode, message: &str) -> PutOut {
        let mut room = WireRefusal::of(code).room;
        if room == RoomErrorCode::RejoinSuggested || self.has_to_rejoin(code) {
            room = match self.rejoins_left.checked_sub(1) {
                Some(left) => {
                    self.rejoins_left = left;
                    RoomErrorCode::RejoinSuggested
                }
                None if self.ours => RoomErrorCode::RejoinSuggested,
                None => RoomErrorCode::Evicted,
            };
        }
        let text = format!("{code}: {message}");
        let messages = single(self.frame(Message::RoomError {
            code: room,
            message: text,
        }));
        PutOut {
            messages,
            closes_socket: self.dialect == Dialect::V0,
        }
    }

    fn push_update(&mut self, updates: Vec<Bytes>, messages: &mut Vec<WireMessage>) {
        let batch = Some(self.next_batch());
        messages.extend(single(self.frame(Message::DocUpdate { updates, batch })));
    }

    fn push_fragments(&mut self, update: &Bytes, messages: &mut Vec<WireMessage>) {
        let batch = self.next_batch();
        let header = Message::FragmentHeader {
            batch,
            fragment_count: update.len().div_ceil(FRAME_OUT_PAYLOAD_BYTES) as u64,
            total_bytes: update.len() as u64,
        };
        messages.extend(single(self.frame(header)));
        for (index, start) in (0_u64..).zip((0..update.len()).step_by(FRAME_OUT_PAYLOAD_BYTES)) {
            let end = update.len().min(start + FRAME_OUT_PAYLOAD_BYTES);
            let bytes = update.slice(start..end);
            messages.extend(single(self.frame(Message::Fragment {
                batch,
                index,
                bytes,
            })));
        }
    }

    /// The server's batches are numbered within a subscription, which is where a client tells
    /// fragments apart.
    fn next_batch(&mut self) -> BatchId {
        self.batches_sent += 1;
        BatchId(self.batches_sent.to_be_bytes())
    }

    fn text(&self, speaks: bool, text: ServerText) -> Vec<WireMessage> {
        if speaks {
            vec![WireMessage::Text(text.to_json())]
        } else {
            Vec::new()
        }
    }

    fn frame(&self, message: Message) -> Frame {
        Frame {
            subscription: self.subscription.clone(),
            message,
        }
    }
}

/// A client was put out of a room.
#[derive(Debug)]
pub struct PutOut {
    /// To be sent.
    pub messages: Vec<WireMessage>,
    /// Whether the socket has to be closed: a v0 client reads the message as a refused batch and
    /// would believe that it is still in.
    pub closes_socket: bool,
}

/// Encodes a frame whose payload is known to fit. Messages for people are cut, so nothing a caller
/// passes makes this fail.
pub(crate) fn single(mut frame: Frame) -> Vec<WireMessage> {
    if let Message::JoinError { message, .. }
    | Message::RoomError { message, .. }
    | Message::UpdateErrorV0 { message, .. } = &mut frame.message
    {
        cut(message);
    }
    let bytes = frame
        .encode()
        .expect("texts are cut and payloads are packed below the frame limit");
    vec![WireMessage::Binary(bytes)]
}

/// Bytes of a message for the person.
const MESSAGE_BYTES_MAX: usize = 1024;

fn cut(message: &mut String) {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
}

/// What became of a batch, in a dialect. A v0 client knows no acks, and no batch ids but those of
/// fragments.
fn status_message(
    dialect: Dialect,
    subscription: &Subscription,
    batch: BatchId,
    status: UpdateStatus,
    text: &str,
) -> Vec<WireMessage> {
    let message = match (dialect, status) {
        (Dialect::V0, UpdateStatus::Ok) => return Vec::new(),
        (Dialect::V0, _) => Message::UpdateErrorV0 {
            status,
            message: text.to_owned(),
            batch: Some(batch),
        },
        (Dialect::V1, _) => Message::Ack { batch, status },
    };
    single(Frame {
        subscription: subscription.clone(),
        message,
    })
}

/// A refused batch: the stock status, and for our clients what lies behind it.
pub(crate) fn batch_refusal(
    ours: bool,
    dialect: Dialect,
    subscription: &Subscription,
    batch: BatchId,
    code: ErrorCode,
    message: &str,
) -> Vec<WireMessage> {
    let status = WireRefusal::of(code).status;
    let mut messages = status_message(dialect, subscription, batch, status, message);
    if ours {
        let mut message = message.to_owned();
        cut(&mut message);
        let document = subscription.document.clone();
        let text = ServerText::Nack {
            document,
            batch,
            code,
            advice: code.advice(),
            message,
        };
        messages.push(WireMessage::Text(text.to_json()));
    }
    messages
}

/// The answer to a refused join.
pub(crate) fn join_refusal(
    subscription: &Subscription,
    code: ErrorCode,
    message: &str,
) -> Vec<WireMessage> {
    let join = WireRefusal::of(code).join;
    let app_code = (join == JoinErrorCode::AppError).then(|| code.as_str().to_owned());
    let subscription = subscription.clone();
    let message = Message::JoinError {
        code: join,
        message: message.to_owned(),
        receiver_version: None,
        app_code,
    };
    single(Frame {
        subscription,
        message,
    })
}
