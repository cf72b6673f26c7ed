use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::wire;
use crate::{
    CounterSpan, DeviceId, Digest, DocumentId, Frontiers, HlcTimestamp, IdError, NodeEpoch, NodeId,
    OpId, PeerId, Principal, RegionId, SessionId, TraceContext, UserId,
};

/// Why bytes are not a record that this code reads.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not the protobuf message.
    #[error("the record is not a protobuf message")]
    Malformed(#[from] prost::DecodeError),
    /// A newer program wrote the record, in a way an older one would misread.
    #[error(
        "the record has version {found}, and this program reads up to {known}: upgrade this node \
         before it reads this log"
    )]
    NewerVersion {
        /// The record's version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A field that must be there is missing or empty.
    #[error("the record's field `{field}` is missing")]
    Missing {
        /// The field's name in the contract.
        field: &'static str,
    },
    /// An id breaks the rules for ids.
    #[error("the record's field `{field}` is not an id")]
    BadId {
        /// The field's name in the contract.
        field: &'static str,
        /// The rule that is broken.
        #[source]
        source: IdError,
    },
    /// A value is out of its bounds.
    #[error("the record's field `{field}` is out of bounds")]
    OutOfBounds {
        /// The field's name in the contract.
        field: &'static str,
    },
}

/// One record of the log, checked.
///
/// Decoding and encoding again loses the fields that this version does not know, so whoever passes a
/// record on passes on the bytes that it read.
#[derive(Clone, Debug, PartialEq)]
pub struct OpRecord {
    /// Who appended it, and as which of its records.
    pub position: NodePosition,
    /// W3C trace context of what the record as a whole comes from, empty if there is none. Updates
    /// have their own.
    pub traceparent: String,
    /// What it says.
    pub body: Body,
    /// How long a beat the room needs that its updates come from; zero if it does not beat. In whole
    /// milliseconds.
    pub beat: Duration,
}

/// A record's place among the records of the node that appended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePosition {
    /// The node's region.
    pub region: RegionId,
    /// The node.
    pub node: NodeId,
    /// The node's life.
    pub epoch: NodeEpoch,
    /// The record's number in this partition and epoch, from 1 without gaps.
    pub sequence: u64,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Updates of a document, in order.
    Updates(Document<Vec<StampedUpdate>>),
    /// The node lives; or the filler for a number whose record was definitely not written.
    Heartbeat(HlcTimestamp),
    /// Operations that an operator took out.
    VoidSpans(Document<VoidedSpans>),
    /// A change of permission.
    Grant(Document<Grant>),
    /// A key epoch or generation.
    Epoch(Document<wire::Epoch>),
}

/// A body that belongs to a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<T> {
    /// The document.
    pub id: DocumentId,
    /// What is said of it.
    pub content: T,
}

/// Time and origin given to an update by the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The server's time.
    pub hlc: HlcTimestamp,
    /// Who wrote it.
    pub author: Principal,
    /// The connection it came through.
    pub session: SessionId,
    /// Follows one batch of a client through every log line.
    pub correlation_id: String,
    /// Its append, in the trace of its keystroke; none if it is not traced.
    pub trace: Option<TraceContext>,
}

/// One update with its stamp.
#[derive(Clone, Debug, PartialEq)]
pub struct StampedUpdate {
    /// Time and origin.
    pub stamp: Stamp,
    /// The operations in it, never empty.
    pub span: CounterSpan,
    /// The operations of other peers that it was written on top of.
    pub dependencies: Frontiers,
    /// What the gate saw in it.
    pub kinds: Vec<wire::OperationKind>,
    /// BLAKE3 of the payload.
    pub digest: Digest,
    /// A region-keyed MAC; reserved and empty.
    pub receipt: Bytes,
    /// Bytes of text that it inserts.
    pub inserted_text_bytes: u32,
    /// The engine's bytes, or where they are.
    pub payload: Payload,
}

/// Where an update's bytes are.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Here.
    Inline(Bytes),
    /// In the blob store.
    Blob(wire::BlobReference),
    /// Here, for the document's members only.
    Ciphertext(wire::CiphertextRecord),
}

/// Operations that an operator took out of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct VoidedSpans {
    /// When.
    pub hlc: HlcTimestamp,
    /// By whom.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Which.
    pub spans: Vec<CounterSpan>,
}

/// A change of one user's permission on a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// When.
    pub hlc: HlcTimestamp,
    /// By whom.
    pub granted_by: UserId,
    /// Whose.
    pub user: UserId,
    /// To what.
    pub role: wire::Role,
}

impl OpRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Bytes {
        Bytes::from(self.to_wire().encode_to_vec())
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`]; a newer version is refused before anything else is looked at.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let record = wire::OpRecord::decode(bytes)?;
        if record.version > super::VERSION {
            return Err(RecordError::NewerVersion {
                found: record.version,
                known: super::VERSION,
            });
        }
        if record.version == 0 {
            return Err(RecordError::Missing { field: "version" });
        }
        Self::from_wire(record)
    }

    /// The document that the record belongs to; heartbeats belong to none.
    pub fn document(&self) -> Option<&DocumentId> {
        match &self.body {
            Body::Updates(body) => Some(&body.id),
            Body::VoidSpans(body) => Some(&body.id),
            Body::Grant(body) => Some(&body.id),
            Body::Epoch(body) => Some(&body.id),
            Body::Heartbeat(_) => None,
        }
    }

    fn to_wire(&self) -> wire::OpRecord {
        let body = match &self.body {
            Body::Updates(batch) => wire::Body::Updates(wire::UpdateBatch {
                updates: batch.content.iter().map(StampedUpdate::to_wire).collect(),
            }),
            Body::Heartbeat(hlc) => wire::Body::Heartbeat(wire::Heartbeat { hlc: hlc.as_u64() }),
            Body::VoidSpans(voided) => wire::Body::VoidSpans(wire::VoidSpans {
                hlc: voided.content.hlc.as_u64(),
                operator: voided.content.operator.clone(),
                reason: voided.content.reason.clone(),
                spans: voided
                    .content
                    .spans
                    .iter()
                    .map(|span| span_to_wire(*span))
                    .collect(),
            }),
            Body::Grant(grant) => wire::Body::Grant(wire::Grant {
                hlc: grant.content.hlc.as_u64(),
                granted_by: grant.content.granted_by.to_string(),
                user: grant.content.user.to_string(),
                role: grant.content.role.into(),
            }),
            Body::Epoch(epoch) => wire::Body::Epoch(epoch.content.clone()),
        };
        wire::OpRecord {
            version: super::VERSION,
            document: self.document().map(ToString::to_string).unwrap_or_default(),
            region: self.position.region.to_string(),
            node: self.position.node.0,
            node_epoch: self.position.epoch.0,
            node_sequence: self.position.sequence,
            traceparent: self.traceparent.clone(),
            body: Some(body),
            beat_ms: u32::try_from(self.beat.as_millis()).unwrap_or(u32::MAX),
        }
    }

    fn from_wire(record: wire::OpRecord) -> Result<Self, RecordError> {
        let position = NodePosition {
            region: id("region", RegionId::parse(&record.region))?,
            node: NodeId(record.node),
            epoch: NodeEpoch(record.node_epoch),
            sequence: record.node_sequence,
        };
        let document = || id("document", DocumentId::parse(&record.document));
        let body = match record.body.ok_or(RecordError::Missing { field: "body" })? {
            wire::Body::Updates(batch) => Body::Updates(Document {
                id: document()?,
                content: batch
                    .updates
                    .into_iter()
                    .map(StampedUpdate::from_wire)
                    .collect::<Result<_, _>>()?,
            }),
            wire::Body::Heartbeat(heartbeat) => {
                Body::Heartbeat(HlcTimestamp::from_u64(heartbeat.hlc))
            }
            wire::Body::VoidSpans(voided) => Body::VoidSpans(Document {
                id: document()?,
                content: VoidedSpans {
                    hlc: HlcTimestamp::from_u64(voided.hlc),
                    operator: voided.operator,
                    reason: voided.reason,
                    spans: voided
                        .spans
                        .iter()
                        .map(|span| span_from_wire(span.peer, span.counter_start, span.counter_end))
                        .collect::<Result<_, _>>()?,
                },
            }),
            wire::Body::Grant(grant) => Body::Grant(Document {
                id: document()?,
                content: Grant {
                    hlc: HlcTimestamp::from_u64(grant.hlc),
                    granted_by: id("granted_by", UserId::parse(&grant.granted_by))?,
                    user: id("user", UserId::parse(&grant.user))?,
                    role: grant.role(),
                },
            }),
            wire::Body::Epoch(epoch) => Body::Epoch(Document {
                id: document()?,
                content: epoch,
            }),
        };
        Ok(Self {
            position,
            traceparent: record.traceparent,
            body,
            beat: Duration::from_millis(record.beat_ms.into()),
        })
    }
}

impl StampedUpdate {
    /// The message that stands for this update, in the log and in the store.
    pub fn to_wire(&self) -> wire::StampedUpdate {
        wire::StampedUpdate {
            hlc: self.stamp.hlc.as_u64(),
            author: self.stamp.author.user.to_string(),
            device: self.stamp.author.device.to_string(),
            session: self.stamp.session.to_string(),
            peer: self.span.peer.0,
            counter_start: self.span.start,
            counter_end: self.span.end,
            dependencies: self
                .dependencies
                .iter()
                .map(|dependency| wire::OpId {
                    peer: dependency.peer.0,
                    counter: dependency.counter,
                })
                .collect(),
            kinds: self.kinds.iter().map(|kind| i32::from(*kind)).collect(),
            digest: Bytes::copy_from_slice(&self.digest.0),
            correlation_id: self.stamp.correlation_id.clone(),
            receipt: self.receipt.clone(),
            inserted_text_bytes: self.inserted_text_bytes,
            traceparent: self
                .stamp
                .trace
                .map(|trace| trace.to_string())
                .unwrap_or_default(),
            payload: Some(match &self.payload {
                Payload::Inline(bytes) => wire::Payload::Inline(bytes.clone()),
                Payload::Blob(reference) => wire::Payload::Blob(reference.clone()),
                Payload::Ciphertext(record) => wire::Payload::Ciphertext(record.clone()),
            }),
        }
    }

    /// Checks the message that stands for an update.
    ///
    /// # Errors
    /// [`RecordError`] names the field that is wrong.
    pub fn from_wire(update: wire::StampedUpdate) -> Result<Self, RecordError> {
        let kinds = update.kinds().collect();
        Ok(Self {
            stamp: Stamp {
                hlc: HlcTimestamp::from_u64(update.hlc),
                author: Principal {
                    user: id("author", UserId::parse(&update.author))?,
                    device: id("device", DeviceId::parse(&update.device))?,
                },
                session: id("session", SessionId::parse(&update.session))?,
                correlation_id: update.correlation_id,
                trace: TraceContext::parse(&update.traceparent),
            },
            span: span_from_wire(update.peer, update.counter_start, update.counter_end)?,
            dependencies: update
                .dependencies
                .iter()
                .map(|dependency| OpId {
                    peer: PeerId(dependency.peer),
                    counter: dependency.counter,
                })
                .collect(),
            kinds,
            digest: Digest::from_slice(&update.digest)
                .ok_or(RecordError::OutOfBounds { field: "digest" })?,
            receipt: update.receipt,
            inserted_text_bytes: update.inserted_text_bytes,
            payload: match update
                .payload
                .ok_or(RecordError::Missing { field: "payload" })?
            {
                wire::Payload::Inline(bytes) => Payload::Inline(bytes),
                wire::Payload::Blob(reference) => Payload::Blob(reference),
                wire::Payload::Ciphertext(record) => Payload::Ciphertext(record),
            },
        })
    }
}

fn id<T>(field: &'static str, parsed: Result<T, IdError>) -> Result<T, RecordError> {
    parsed.map_err(|source| RecordError::BadId { field, source })
}

fn span_to_wire(span: CounterSpan) -> wire::CounterSpan {
    wire::CounterSpan {
        peer: span.peer.0,
        counter_start: span.start,
        counter_end: span.end,
    }
}

fn span_from_wire(peer: u64, start: u32, end: u32) -> Result<CounterSpan, RecordError> {
    if end <= start {
        return Err(RecordError::OutOfBounds {
            field: "counter_end",
        });
    }
    Ok(CounterSpan {
        peer: PeerId(peer),
        start,
        end,
    })
}
