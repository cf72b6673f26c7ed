use document_types::record::wire::Epoch;
use document_types::record::{
    Grant, NodePosition, OperationKind, Payload, StampedUpdate, VoidedSpans,
};
use document_types::{CounterSpan, HlcTimestamp, OpId};
use op_log::LogEntry;
use serde::Serialize;

/// One line of the output. Ids of 64 bits are texts, since many JSON readers round large numbers.
#[derive(Serialize)]
pub struct Line {
    offset: u64,
    partition: u32,
    document: String,
    /// The operation batch's id: the stamp's milliseconds and counter, then the node that made it.
    op_id: String,
    time_ms: u64,
    region: String,
    node: u32,
    node_epoch: u64,
    node_sequence: u64,
    #[serde(flatten)]
    content: Content,
}

/// What is particular to one kind of record.
#[derive(Serialize)]
pub struct Content {
    #[serde(skip)]
    hlc: HlcTimestamp,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Kind {
    Update(Box<Update>),
    Heartbeat,
    VoidSpans {
        operator: String,
        reason: String,
        spans: Vec<Span>,
    },
    Grant {
        granted_by: String,
        user: String,
        role: String,
    },
    Epoch {
        generation: u64,
        key_id: String,
    },
}

#[derive(Serialize)]
struct Update {
    kinds: Vec<&'static str>,
    dependencies: Vec<String>,
    author: String,
    device: String,
    session: String,
    correlation_id: String,
    /// Only of a traced one.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    span: Span,
    digest: String,
    payload: &'static str,
    payload_bytes: u64,
    inserted_text_bytes: u32,
    /// Only where there is some.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Serialize)]
struct Span {
    peer: String,
    start: u32,
    end: u32,
}

impl Line {
    /// The line for `content`, which stands in `entry` of `partition`.
    pub fn new(
        entry: &LogEntry,
        partition: u32,
        position: &NodePosition,
        content: Content,
    ) -> Self {
        Self {
            offset: entry.offset.0,
            partition,
            document: entry.document.to_string(),
            op_id: format!("{}@{}", content.hlc, position.node),
            time_ms: content.hlc.millis(),
            region: position.region.to_string(),
            node: position.node.0,
            node_epoch: position.epoch.0,
            node_sequence: position.sequence,
            content,
        }
    }
}

impl Content {
    /// An update and the text that it inserts, if it does.
    pub fn update(update: &StampedUpdate, text: Option<String>) -> Self {
        let (payload, payload_bytes) = match &update.payload {
            Payload::Inline(bytes) => ("inline", bytes.len() as u64),
            Payload::Blob(reference) => ("blob", reference.length_bytes),
            Payload::Ciphertext(ciphertext) => ("ciphertext", ciphertext.record.len() as u64),
        };
        let update_line = Update {
            kinds: update.kinds.iter().copied().map(kind_name).collect(),
            dependencies: update.dependencies.iter().map(OpId::to_string).collect(),
            author: update.stamp.author.user.to_string(),
            device: update.stamp.author.device.to_string(),
            session: update.stamp.session.to_string(),
            correlation_id: update.stamp.correlation_id.clone(),
            trace: update.stamp.trace.map(|context| context.trace.to_string()),
            span: update.span.into(),
            digest: update.digest.to_string(),
            payload,
            payload_bytes,
            inserted_text_bytes: update.inserted_text_bytes,
            text,
        };
        Self {
            hlc: update.stamp.hlc,
            kind: Kind::Update(Box::new(update_line)),
        }
    }

    /// A sign of life.
    pub fn heartbeat(hlc: HlcTimestamp) -> Self {
        Self {
            hlc,
            kind: Kind::Heartbeat,
        }
    }

    /// Operations that an operator took out.
    pub fn void_spans(void: &VoidedSpans) -> Self {
        let kind = Kind::VoidSpans {
            operator: void.operator.clone(),
            reason: void.reason.clone(),
            spans: void.spans.iter().copied().map(Span::from).collect(),
        };
        Self {
            hlc: void.hlc,
            kind,
        }
    }

    /// A change of permission.
    pub fn grant(grant: &Grant) -> Self {
        let kind = Kind::Grant {
            granted_by: grant.granted_by.to_string(),
            user: grant.user.to_string(),
            role: format!("{:?}", grant.role).to_lowercase(),
        };
        Self {
            hlc: grant.hlc,
            kind,
        }
    }

    /// A key epoch or generation.
    pub fn epoch(epoch: &Epoch) -> Self {
        let kind = Kind::Epoch {
            generation: epoch.generation,
            key_id: epoch.key_id.clone(),
        };
        Self {
            hlc: HlcTimestamp::from_u64(epoch.hlc),
            kind,
        }
    }
}

impl From<CounterSpan> for Span {
    fn from(span: CounterSpan) -> Self {
        Self {
            peer: span.peer.to_string(),
            start: span.start,
            end: span.end,
        }
    }
}

fn kind_name(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Unspecified => "unspecified",
        OperationKind::Insert => "insert",
        OperationKind::Delete => "delete",
        OperationKind::Style => "style",
        OperationKind::Move => "move",
        OperationKind::Set => "set",
        OperationKind::CreateContainer => "create_container",
        OperationKind::BlobReference => "blob_reference",
        OperationKind::Other => "other",
    }
}
