use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use document_types::limits::DOCUMENTS_PER_SOCKET_MAX;
use document_types::{BatchId, ErrorCode, TraceContext, VersionVector};

use crate::decode::DecodeError;
use crate::fragments::{FragmentOutcome, FragmentRefusal, Reassembly};
use crate::frame::{Frame, JoinErrorCode, Magic, Message, Subscription, UpdateStatus, WireMessage};
use crate::join::{ClientPayload, PayloadError};
use crate::speaker::{Dialect, batch_refusal, join_refusal, single};
use crate::text::{ClientText, TextError};
use crate::traces::{Heard, TraceReport, Traces, hear};
use crate::version_encoding::decode_version;

/// What one socket may do, and has done so far: the documents it joined, the fragments it is in the
/// middle of, the dialect it speaks. It reads the socket's messages and decides what they ask for;
/// it sends nothing and waits for nothing. Its clock is the time since the socket was opened, which
/// the caller passes in.
#[derive(Debug)]
pub struct Session {
    subscriptions: BTreeSet<Subscription>,
    reassembly: Reassembly,
    traces: Traces,
    dialect: Dialect,
    ours: bool,
    batches_named: u64,
    joined_once: bool,
}

/// What one message led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// To be sent at once.
    pub replies: Vec<WireMessage>,
    /// To be done.
    pub request: Option<Request>,
}

/// What a client asks of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Join a document or its presence. A subscription that is joined already is joined anew.
    Join {
        /// What.
        subscription: Subscription,
        /// What the client says of itself.
        payload: ClientPayload,
        /// What its replica knows.
        version: VersionVector,
    },
    /// Take a batch: updates for a document's room, or entries for its presence.
    Offer {
        /// For what; it is joined.
        subscription: Subscription,
        /// The batch.
        batch: Batch,
    },
    /// The client could not use something that it was sent.
    Complain {
        /// Of which subscription.
        subscription: Subscription,
        /// What was wrong.
        status: UpdateStatus,
    },
    /// Take note of how long a traced batch has taken the client.
    Traced {
        /// For what; it is joined.
        subscription: Subscription,
        /// How long.
        report: TraceReport,
    },
    /// Leave. The session has forgotten the subscription already.
    Leave {
        /// What.
        subscription: Subscription,
    },
}

/// What a client sends together and is answered together.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The client's name for it, or ours for a client of protocol v0.
    pub id: BatchId,
    /// The engine's updates, or encoded ephemeral entries.
    pub updates: Vec<Bytes>,
    /// The trace that the client wants it to be a part of.
    pub trace: Option<TraceContext>,
    /// How to answer.
    pub dialect: Dialect,
}

/// How a socket breaks the protocol; it is closed then.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// A binary message is no frame.
    #[error("a binary message is no frame")]
    Frame(#[from] DecodeError),
    /// A text message is none that a client may send.
    #[error("a text message is none that a client may send")]
    Text(#[from] TextError),
    /// A message that only servers send.
    #[error("only servers answer joins")]
    ServersMessage,
}

impl Violation {
    /// The error code that decides how the socket is closed.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Frame(DecodeError::FrameTooLarge { .. } | DecodeError::TooManyUpdates { .. })
            | Self::Text(TextError::TooLarge { .. }) => ErrorCode::TooLarge,
            Self::Frame(_) | Self::Text(_) | Self::ServersMessage => ErrorCode::ProtocolViolation,
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A socket that has just been opened.
    pub fn new() -> Self {
        Self {
            subscriptions: BTreeSet::new(),
            reassembly: Reassembly::from_client(),
            traces: Traces::default(),
            dialect: Dialect::V1,
            ours: false,
            batches_named: 0,
            joined_once: false,
        }
    }

    /// Whether the socket has ever asked to join something.
    pub fn has_joined_once(&self) -> bool {
        self.joined_once
    }

    /// Whether the client has announced itself as one of ours.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// When [`Session::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.reassembly.next_deadline()
    }

    /// Drops what is overdue at `now` and says so to the client.
    pub fn expire(&mut self, now: Duration) -> Vec<WireMessage> {
        let overdue = self.reassembly.expire(now);
        overdue
            .into_iter()
            .flat_map(|(subscription, batch)| {
                let message = "the fragments did not all arrive in time";
                self.refuse_batch(&subscription, batch, ErrorCode::FragmentTimeout, message)
            })
            .collect()
    }

    /// Takes note that a subscription has ended for a reason of the server's.
    pub fn forget(&mut self, subscription: &Subscription) {
        self.subscriptions.remove(subscription);
        self.reassembly.forget(subscription);
        self.traces.forget(&subscription.document);
    }

    /// Reads a text message.
    ///
    /// # Errors
    /// [`Violation`] if no client may send it.
    pub fn receive_text(&mut self, text: &str) -> Result<Received, Violation> {
        match text {
            "ping" => return Ok(Received::reply(WireMessage::Text("pong".into()))),
            "pong" => return Ok(Received::default()),
            _ => {}
        }
        let Some((document, heard)) = hear(ClientText::parse(text)?) else {
            return Ok(Received::default());
        };
        let subscription = Subscription {
            magic: Magic::Loro,
            document,
        };
        if !self.subscriptions.contains(&subscription) {
            return Ok(Received::default());
        }
        Ok(match heard {
            Heard::Trace(batch, context) => {
                self.traces.remember(subscription.document, batch, context);
                Received::default()
            }
            Heard::Report(report) => Received::request(Request::Traced {
                subscription,
                report,
            }),
        })
    }

    /// Reads a binary message that came at `now`.
    ///
    /// # Errors
    /// [`Violation`] if no client may send it.
    pub fn receive_binary(&mut self, bytes: &Bytes, now: Duration) -> Result<Received, Violation> {
        let Frame {
            subscription,
            message,
        } = Frame::decode(bytes)?;
        Ok(match message {
            Message::JoinRequest { payload, version } => {
                self.join(subscription, &payload, &version)
            }
            Message::DocUpdate { updates, batch } => {
                let batch = batch.unwrap_or_else(|| self.name_v0_batch());
                self.offer(subscription, batch, updates)
            }
            Message::FragmentHeader {
                batch,
                fragment_count,
                total_bytes,
            } => {
                if !self.subscriptions.contains(&subscription) {
                    return Ok(self.not_joined(subscription, batch));
                }
                match self
                    .reassembly
                    .begin(&subscription, batch, fragment_count, total_bytes, now)
                {
                    Ok(()) => Received::default(),
                    Err(refusal) => self.refuse_fragments(&subscription, batch, refusal),
                }
            }
            Message::Fragment {
                batch,
                index,
                bytes,
            } => match self.reassembly.add(&subscription, batch, index, &bytes) {
                FragmentOutcome::Pending | FragmentOutcome::Ignored => Received::default(),
                FragmentOutcome::Complete(update) => self.offer(subscription, batch, vec![update]),
                FragmentOutcome::Refused(refusal) => {
                    self.refuse_fragments(&subscription, batch, refusal)
                }
            },
            Message::Ack {
                status: UpdateStatus::Ok,
                ..
            } => Received::default(),
            Message::Ack { status, .. } => Received::request(Request::Complain {
                subscription,
                status,
            }),
            // A v0 client's UpdateError: it could not import, or its fragments timed out.
            Message::RoomError { .. } | Message::UpdateErrorV0 { .. } => {
                let status = UpdateStatus::Unknown;
                Received::request(Request::Complain {
                    subscription,
                    status,
                })
            }
            // A stock client that can't use the answer to its join says so like this.
            Message::JoinError { .. } | Message::Leave => self.leave(subscription),
            Message::JoinResponseOk { .. } => return Err(Violation::ServersMessage),
        })
    }

    fn join(&mut self, subscription: Subscription, payload: &[u8], version: &Bytes) -> Received {
        self.joined_once = true;
        let refuse = |code: ErrorCode, message: &str| {
            Received::replies(join_refusal(&subscription, code, message))
        };
        match subscription.magic {
            Magic::Loro | Magic::Ephemeral | Magic::EphemeralPersisted => {}
            Magic::EncryptedLoro | Magic::Yjs | Magic::YjsAwareness | Magic::Flock => {
                return refuse(
                    ErrorCode::UnsupportedVersion,
                    "this kind is not served here",
                );
            }
        }
        let payload = match ClientPayload::parse(payload) {
            Ok(payload) => payload,
            Err(error) => {
                let code = match error {
                    PayloadError::TooLarge { .. } => ErrorCode::TooLarge,
                    PayloadError::Version { .. } => ErrorCode::UnsupportedVersion,
                    PayloadError::Malformed(_) | PayloadError::ReservedPeer { .. } => {
                        ErrorCode::ProtocolViolation
                    }
                };
                return refuse(code, &error.to_string());
            }
        };
        // Presence has no version; stock clients send an empty one, and whatever it is means nothing.
        let version = match subscription.magic {
            Magic::Loro => decode_version(version),
            _ => Ok(VersionVector::new()),
        };
        let Ok(version) = version else {
            return Received::replies(single(Frame {
                subscription,
                message: Message::JoinError {
                    code: JoinErrorCode::VersionUnknown,
                    message: "the version can't be read; join with an empty one".into(),
                    receiver_version: None,
                    app_code: None,
                },
            }));
        };
        if !self.subscriptions.contains(&subscription)
            && self.subscriptions.len() == DOCUMENTS_PER_SOCKET_MAX
        {
            return refuse(
                ErrorCode::Overloaded,
                "this connection has joined too many documents",
            );
        }
        self.ours |= matches!(payload, ClientPayload::CollabEdit(_));
        self.reassembly.forget(&subscription);
        self.subscriptions.insert(subscription.clone());
        Received::request(Request::Join {
            subscription,
            payload,
            version,
        })
    }

    fn leave(&mut self, subscription: Subscription) -> Received {
        if !self.subscriptions.contains(&subscription) {
            return Received::default();
        }
        self.forget(&subscription);
        Received::request(Request::Leave { subscription })
    }

    fn offer(&mut self, subscription: Subscription, id: BatchId, updates: Vec<Bytes>) -> Received {
        if !self.subscriptions.contains(&subscription) {
            return self.not_joined(subscription, id);
        }
        let trace = match subscription.magic {
            Magic::Loro => self.traces.take(&subscription.document, id),
            _ => None,
        };
        let batch = Batch {
            id,
            updates,
            trace,
            dialect: self.dialect,
        };
        Received::request(Request::Offer {
            subscription,
            batch,
        })
    }

    /// Answers a batch for something that is not joined. That is no violation: a client sends on
    /// until it reads that it was put out.
    fn not_joined(&self, subscription: Subscription, batch: BatchId) -> Received {
        let message = "the document is not joined";
        Received::replies(self.refuse_batch(&subscription, batch, ErrorCode::Unavailable, message))
    }

    fn refuse_fragments(
        &self,
        subscription: &Subscription,
        batch: BatchId,
        refusal: FragmentRefusal,
    ) -> Received {
        let message = refusal.to_string();
        Received::replies(self.refuse_batch(subscription, batch, refusal.code(), &message))
    }

    fn refuse_batch(
        &self,
        subscription: &Subscription,
        batch: BatchId,
        code: ErrorCode,
        message: &str,
    ) -> Vec<WireMessage> {
        batch_refusal(self.ours, self.dialect, subscription, batch, code, message)
    }

    /// A batch without an id comes from a client of protocol v0, and so do all others from it. Its
    /// batches are given names, for the log's sake: a v0 client can't be told of them.
    fn name_v0_batch(&mut self) -> BatchId {
        self.dialect = Dialect::V0;
        self.batches_named += 1;
        BatchId(self.batches_named.to_be_bytes())
    }
}

impl Received {
    fn reply(message: WireMessage) -> Self {
        Self::replies(vec![message])
    }

    fn replies(replies: Vec<WireMessage>) -> Self {
        Self {
            replies,
            request: None,
        }
    }

    fn request(request: Request) -> Self {
        Self {
            replies: Vec::new(),
            request: Some(request),
        }
    }
}
