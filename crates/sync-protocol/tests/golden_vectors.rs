//! The codec against the golden vectors, which the TypeScript client reads too.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use document_types::{BatchId, DocumentId, PeerId, Permission, VersionVector};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sync_protocol::{
    ClientPayload, ClientText, Frame, JoinAnswer, JoinErrorCode, Magic, Message, RoomErrorCode,
    ServerText, Subscription, UpdateStatus, WireRefusal, decode_version, encode_version,
};

fn vectors<T: DeserializeOwned>(file: &str) -> T {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/sync-protocol/v1");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn bytes(hex: &str) -> Bytes {
    assert_eq!(hex.len() % 2, 0);
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn batch(hex: &str) -> BatchId {
    BatchId(bytes(hex)[..].try_into().unwrap())
}

#[derive(Deserialize)]
struct FrameVector {
    name: String,
    magic: String,
    document: DocumentId,
    message: MessageVector,
    hex: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum MessageVector {
    JoinRequest {
        payload: String,
        version: String,
    },
    JoinResponseOk {
        permission: String,
        version: String,
        extra: String,
    },
    JoinError {
        code: u8,
        message: String,
        receiver_version: Option<String>,
        app_code: Option<String>,
    },
    DocUpdate {
        updates: Vec<String>,
        batch: Option<String>,
    },
    FragmentHeader {
        batch: String,
        fragment_count: u64,
        total_bytes: u64,
    },
    Fragment {
        batch: String,
        index: u64,
        bytes: String,
    },
    RoomError {
        code: u8,
        message: String,
    },
    Leave,
    Ack {
        batch: String,
        status: u8,
    },
}

impl From<MessageVector> for Message {
    fn from(vector: MessageVector) -> Self {
        match vector {
            MessageVector::JoinRequest { payload, version } => Self::JoinRequest {
                payload: bytes(&payload),
                version: bytes(&version),
            },
            MessageVector::JoinResponseOk {
                permission,
                version,
                extra,
            } => {
                let permission = match permission.as_str() {
                    "read" => Permission::Read,
                    "write" => Permission::Write,
                    other => panic!("no permission: {other}"),
                };
                let (version, extra) = (bytes(&version), bytes(&extra));
                Self::JoinResponseOk {
                    permission,
                    version,
                    extra,
                }
            }
            MessageVector::JoinError {
                code,
                message,
                receiver_version,
                app_code,
            } => {
                let code = JoinErrorCode::from_byte(code);
                let receiver_version = receiver_version.as_deref().map(bytes);
                Self::JoinError {
                    code,
                    message,
                    receiver_version,
                    app_code,
                }
            }
            MessageVector::DocUpdate { updates, batch: id } => Self::DocUpdate {
                updates: updates.iter().map(|update| bytes(update)).collect(),
                batch: id.as_deref().map(batch),
            },
            MessageVector::FragmentHeader {
                batch: id,
                fragment_count,
                total_bytes,
            } => Self::FragmentHeader {
                batch: batch(&id),
                fragment_count,
                total_bytes,
            },
            MessageVector::Fragment {
                batch: id,
                index,
                bytes: fragment,
            } => Self::Fragment {
                batch: batch(&id),
                index,
                bytes: bytes(&fragment),
            },
            MessageVector::RoomError { code, message } => Self::RoomError {
                code: RoomErrorCode::from_byte(code),
                message,
            },
            MessageVector::Leave => Self::Leave,
            MessageVector::Ack { batch: id, status } => Self::Ack {
                batch: batch(&id),
                status: UpdateStatus::from_byte(status),
            },
        }
    }
}

#[test]
fn frames_are_written_and_read_as_published() {
    let vectors: Vec<FrameVector> = vectors("frames.json");
    assert!(vectors.len() >= 18);
    for FrameVector {
        name,
        magic,
        document,
        message,
        hex,
    } in vectors
    {
        let magic = Magic::from_bytes(magic.as_bytes().try_into().unwrap()).unwrap();
        let subscription = Subscription { magic, document };
        let frame = Frame {
            subscription,
            message: message.into(),
        };
        assert_eq!(frame.encode().unwrap(), bytes(&hex), "{name}");
        assert_eq!(Frame::decode(&bytes(&hex)).as_ref(), Ok(&frame), "{name}");
    }
}

#[test]
fn malformed_frames_are_refused() {
    #[derive(Deserialize)]
    struct Malformed {
        name: String,
        hex: String,
    }
    for Malformed { name, hex } in vectors::<Vec<_>>("malformed-frames.json") {
        let read = Frame::decode(&bytes(&hex));
        assert!(read.is_err(), "{name}: {read:?}");
    }
}

#[test]
fn versions_are_written_and_read_as_the_engine_does() {
    #[derive(Deserialize)]
    struct Version {
        name: String,
        ends: BTreeMap<String, u32>,
        hex: String,
    }
    for Version { name, ends, hex } in vectors::<Vec<_>>("versions.json") {
        let version: VersionVector = ends
            .iter()
            .map(|(peer, end)| (PeerId(peer.parse().unwrap()), *end))
            .collect();
        assert_eq!(encode_version(&version), bytes(&hex), "{name}");
        assert_eq!(decode_version(&bytes(&hex)), Ok(version), "{name}");
        let engine = loro::VersionVector::decode(&bytes(&hex)).unwrap();
        assert_eq!(engine.len(), ends.len(), "{name}");
    }
}

#[derive(Deserialize)]
struct Text {
    name: String,
    text: Value,
}

#[test]
fn join_payloads_and_answers_keep_their_form() {
    #[derive(Deserialize)]
    struct Join {
        payloads: Vec<Text>,
        answers: Vec<Text>,
    }
    let Join { payloads, answers } = vectors("join.json");
    for Text { name, text } in payloads {
        let payload = ClientPayload::parse(text.to_string().as_bytes()).unwrap();
        let ClientPayload::CollabEdit(payload) = payload else {
            panic!("{name} announces itself")
        };
        assert_eq!(serde_json::to_value(payload).unwrap(), text, "{name}");
    }
    for Text { name, text } in answers {
        let answer: JoinAnswer = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(answer).unwrap(), text, "{name}");
    }
}

#[test]
fn texts_keep_their_form() {
    #[derive(Deserialize)]
    struct Texts {
        server: Vec<Text>,
        client: Vec<Text>,
    }
    let Texts { server, client } = vectors("texts.json");
    for Text { name, text } in server {
        let read: ServerText = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&read.to_json()).unwrap(),
            text,
            "{name}"
        );
    }
    for Text { name, text } in client {
        let read = ClientText::parse(&text.to_string()).unwrap();
        assert_ne!(read, ClientText::Unknown, "{name}");
        assert_eq!(serde_json::to_value(read).unwrap(), text, "{name}");
    }
}

#[test]
fn error_codes_read_as_written_down() {
    let rows: Vec<BTreeMap<String, Value>> = vectors("error-codes.json");
    for row in rows {
        let code = document_types::ErrorCode::from_name(row["code"].as_str().unwrap()).unwrap();
        let refusal = WireRefusal::of(code);
        let expected = json!({
            "code": code.as_str(),
            "advice": row["advice"],
            "ack": refusal.status.as_byte(),
            "join": refusal.join.as_byte(),
            "room": refusal.room.as_byte(),
            "close": refusal.close.0,
        });
        assert_eq!(serde_json::to_value(&row).unwrap(), expected);
        let nack = json!({
            "type": "nack", "document": "d", "batch": "0000000000000000",
            "code": row["code"], "advice": row["advice"], "message": "",
        });
        let ServerText::Nack {
            code: named,
            advice,
            ..
        } = serde_json::from_value(nack).unwrap()
        else {
            panic!("a nack")
        };
        assert_eq!((named, advice), (code, code.advice()));
    }
}
