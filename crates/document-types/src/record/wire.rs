//! `op_record.proto`, message by message. See there for what each field means.
#![allow(missing_docs)] // The contract documents each field; a copy of its words would drift.

#[derive(Clone, PartialEq, prost::Message)]
pub struct OpRecord {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(string, tag = "2")]
    pub document: String,
    #[prost(string, tag = "3")]
    pub region: String,
    #[prost(uint32, tag = "4")]
    pub node: u32,
    #[prost(uint64, tag = "5")]
    pub node_epoch: u64,
    #[prost(uint64, tag = "6")]
    pub node_sequence: u64,
    #[prost(string, tag = "7")]
    pub traceparent: String,
    #[prost(oneof = "Body", tags = "8, 9, 10, 11, 12")]
    pub body: Option<Body>,
    #[prost(uint32, tag = "13")]
    pub beat_ms: u32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    #[prost(message, tag = "8")]
    Updates(UpdateBatch),
    #[prost(message, tag = "9")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "10")]
    VoidSpans(VoidSpans),
    #[prost(message, tag = "11")]
    Grant(Grant),
    #[prost(message, tag = "12")]
    Epoch(Epoch),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateBatch {
    #[prost(message, repeated, tag = "1")]
    pub updates: Vec<StampedUpdate>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StampedUpdate {
    #[prost(fixed64, tag = "1")]
    pub hlc: u64,
    #[prost(string, tag = "2")]
    pub author: String,
    #[prost(string, tag = "3")]
    pub device: String,
    #[prost(string, tag = "4")]
    pub session: String,
    #[prost(fixed64, tag = "5")]
    pub peer: u64,
    #[prost(uint32, tag = "6")]
    pub counter_start: u32,
    #[prost(uint32, tag = "7")]
    pub counter_end: u32,
    #[prost(message, repeated, tag = "8")]
    pub dependencies: Vec<OpId>,
    #[prost(enumeration = "OperationKind", repeated, tag = "9")]
    pub kinds: Vec<i32>,
    #[prost(bytes = "bytes", tag = "10")]
    pub digest: bytes::Bytes,
    #[prost(string, tag = "11")]
    pub correlation_id: String,
    #[prost(bytes = "bytes", tag = "12")]
    pub receipt: bytes::Bytes,
    #[prost(oneof = "Payload", tags = "13, 14, 15")]
    pub payload: Option<Payload>,
    #[prost(uint32, tag = "16")]
    pub inserted_text_bytes: u32,
    #[prost(string, tag = "17")]
    pub traceparent: String,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Payload {
    #[prost(bytes = "bytes", tag = "13")]
    Inline(bytes::Bytes),
    #[prost(message, tag = "14")]
    Blob(BlobReference),
    #[prost(message, tag = "15")]
    Ciphertext(CiphertextRecord),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct OpId {
    #[prost(fixed64, tag = "1")]
    pub peer: u64,
    #[prost(uint32, tag = "2")]
    pub counter: u32,
}

/// What an update does, as the gate saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum OperationKind {
    Unspecified = 0,
    Insert = 1,
    Delete = 2,
    Style = 3,
    Move = 4,
    Set = 5,
    CreateContainer = 6,
    BlobReference = 7,
    Other = 8,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BlobReference {
    #[prost(string, tag = "1")]
    pub pointer: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub sha256: bytes::Bytes,
    #[prost(uint64, tag = "3")]
    pub length_bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct CiphertextRecord {
    #[prost(string, tag = "1")]
    pub key_id: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub record: bytes::Bytes,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Heartbeat {
    #[prost(fixed64, tag = "1")]
    pub hlc: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct VoidSpans {
    #[prost(fixed64, tag = "1")]
    pub hlc: u64,
    #[prost(string, tag = "2")]
    pub operator: String,
    #[prost(string, tag = "3")]
    pub reason: String,
    #[prost(message, repeated, tag = "4")]
    pub spans: Vec<CounterSpan>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CounterSpan {
    #[prost(fixed64, tag = "1")]
    pub peer: u64,
    #[prost(uint32, tag = "2")]
    pub counter_start: u32,
    #[prost(uint32, tag = "3")]
    pub counter_end: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Grant {
    #[prost(fixed64, tag = "1")]
    pub hlc: u64,
    #[prost(string, tag = "2")]
    pub granted_by: String,
    #[prost(string, tag = "3")]
    pub user: String,
    #[prost(enumeration = "Role", tag = "4")]
    pub role: i32,
}

/// What a user may do with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Role {
    Unspecified = 0,
    None = 1,
    Viewer = 2,
    Commenter = 3,
    Suggester = 4,
    Editor = 5,
    Owner = 6,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Epoch {
    #[prost(fixed64, tag = "1")]
    pub hlc: u64,
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    #[prost(string, tag = "3")]
    pub key_id: String,
}
