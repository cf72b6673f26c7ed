//! The record's bytes and meaning, pinned by the vectors in `schemas/op-log/v1`, which the TypeScript
//! tests read as well. `UPDATE_GOLDEN=1` writes them anew after a deliberate change.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use document_types::record::wire;
use document_types::record::{Body, OpRecord, RecordError};
use prost::Message;
use serde_json::{Value, json};

fn vectors_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas/op-log/v1")
}

fn update(payload: wire::Payload) -> wire::StampedUpdate {
    wire::StampedUpdate {
        hlc: (1_790_000_000_000 << 16) | 7,
        author: "usr_ada".into(),
        device: "dev_laptop".into(),
        session: "ses_1".into(),
        peer: 0xfeed_beef_cafe_f00d,
        counter_start: 40,
        counter_end: 42,
        dependencies: vec![wire::OpId {
            peer: 7,
            counter: 39,
        }],
        kinds: vec![
            wire::OperationKind::Insert.into(),
            wire::OperationKind::Style.into(),
        ],
        digest: Bytes::from(vec![0xab; 32]),
        correlation_id: "ses_1/0000000000000001".into(),
        receipt: Bytes::new(),
        inserted_text_bytes: 2,
        traceparent: String::new(),
        payload: Some(payload),
    }
}

fn record(document: &str, body: wire::Body) -> wire::OpRecord {
    wire::OpRecord {
        version: 1,
        document: document.into(),
        region: "eu-west-1".into(),
        node: 3,
        node_epoch: 12,
        node_sequence: 345,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        body: Some(body),
        beat_ms: 0,
    }
}

/// Every kind of record, by the name of its vector.
fn records() -> Vec<(&'static str, wire::OpRecord)> {
    let batch = |payload| {
        wire::Body::Updates(wire::UpdateBatch {
            updates: vec![update(payload)],
        })
    };
    let traced = wire::Body::Updates(wire::UpdateBatch {
        updates: vec![wire::StampedUpdate {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            ..update(wire::Payload::Inline(Bytes::from_static(b"loro")))
        }],
    });
    let blob = wire::BlobReference {
        pointer: "blobs/ab/cd".into(),
        sha256: Bytes::from(vec![0xcd; 32]),
        length_bytes: 15_000_000,
    };
    let ciphertext = wire::CiphertextRecord {
        key_id: "k1".into(),
        record: Bytes::from_static(&[1, 2, 3]),
    };
    let voided = wire::VoidSpans {
        hlc: 9 << 16,
        operator: "usr_operator".into(),
        reason: "it stopped every reader".into(),
        spans: vec![wire::CounterSpan {
            peer: 7,
            counter_start: 1,
            counter_end: 3,
        }],
    };
    let grant = wire::Grant {
        hlc: 10 << 16,
        granted_by: "usr_ada".into(),
        user: "usr_bob".into(),
        role: wire::Role::Viewer.into(),
    };
    let epoch = wire::Epoch {
        hlc: 11 << 16,
        generation: 2,
        key_id: "k2".into(),
    };
    vec![
        (
            "updates-inline",
            record(
                "doc_1",
                batch(wire::Payload::Inline(Bytes::from_static(b"loro"))),
            ),
        ),
        ("updates-traced", record("doc_1", traced)),
        (
            "updates-on-a-beat",
            wire::OpRecord {
                beat_ms: 120,
                ..record(
                    "doc_1",
                    batch(wire::Payload::Inline(Bytes::from_static(b"loro"))),
                )
            },
        ),
        (
            "updates-blob",
            record("doc_1", batch(wire::Payload::Blob(blob))),
        ),
        (
            "updates-ciphertext",
            record("doc_1", batch(wire::Payload::Ciphertext(ciphertext))),
        ),
        (
            "heartbeat",
            record("", wire::Body::Heartbeat(wire::Heartbeat { hlc: 8 << 16 })),
        ),
        ("void-spans", record("doc_1", wire::Body::VoidSpans(voided))),
        ("grant", record("doc_1", wire::Body::Grant(grant))),
        ("epoch", record("doc_1", wire::Body::Epoch(epoch))),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The record as the vectors' JSON says it: names of the contract, 64-bit numbers as text, bytes as
/// hexadecimal, enumerations by number, and nothing that has its default value.
fn meaning(record: &wire::OpRecord) -> Value {
    let mut json = json!({
        "version": record.version,
        "region": record.region,
        "node": record.node,
        "node_epoch": record.node_epoch.to_string(),
        "node_sequence": record.node_sequence.to_string(),
        "traceparent": record.traceparent,
    });
    if !record.document.is_empty() {
        json["document"] = json!(record.document);
    }
    if record.beat_ms != 0 {
        json["beat_ms"] = json!(record.beat_ms);
    }
    match record.body.as_ref().unwrap() {
        wire::Body::Updates(batch) => {
            let updates: Vec<_> = batch.updates.iter().map(update_meaning).collect();
            json["updates"] = json!({ "updates": updates });
        }
        wire::Body::Heartbeat(body) => json["heartbeat"] = json!({ "hlc": body.hlc.to_string() }),
        wire::Body::VoidSpans(body) => {
            let spans: Vec<_> = body
                .spans
                .iter()
                .map(|span| {
                    json!({
                        "peer": span.peer.to_string(),
                        "counter_start": span.counter_start,
                        "counter_end": span.counter_end,
                    })
                })
                .collect();
            json["void_spans"] = json!({
                "hlc": body.hlc.to_string(),
                "operator": body.operator,
                "reason": body.reason,
                "spans": spans,
            });
        }
        wire::Body::Grant(body) => {
            json["grant"] = json!({
                "hlc": body.hlc.to_string(),
                "granted_by": body.granted_by,
                "user": body.user,
                "role": body.role,
            });
        }
        wire::Body::Epoch(body) => {
            json["epoch"] = json!({
                "hlc": body.hlc.to_string(),
                "generation": body.generation.to_string(),
                "key_id": body.key_id,
            });
        }
    }
    json
}

fn update_meaning(update: &wire::StampedUpdate) -> Value {
    let dependencies: Vec<_> = update
        .dependencies
        .iter()
        .map(|id| json!({ "peer": id.peer.to_string(), "counter": id.counter }))
        .collect();
    let mut json = json!({
        "hlc": update.hlc.to_string(),
        "author": update.author,
        "device": update.device,
        "session": update.session,
        "peer": update.peer.to_string(),
        "counter_start": update.counter_start,
        "counter_end": update.counter_end,
        "dependencies": dependencies,
        "kinds": update.kinds,
        "digest": hex(&update.digest),
        "correlation_id": update.correlation_id,
        "inserted_text_bytes": update.inserted_text_bytes,
    });
    if !update.traceparent.is_empty() {
        json["traceparent"] = json!(update.traceparent);
    }
    match update.payload.as_ref().unwrap() {
        wire::Payload::Inline(bytes) => json["inline"] = json!(hex(bytes)),
        wire::Payload::Blob(blob) => {
            json["blob"] = json!({
                "pointer": blob.pointer,
                "sha256": hex(&blob.sha256),
                "length_bytes": blob.length_bytes.to_string(),
            });
        }
        wire::Payload::Ciphertext(record) => {
            json["ciphertext"] = json!({ "key_id": record.key_id, "record": hex(&record.record) });
        }
    }
    json
}

#[test]
fn every_vector_has_its_bytes_and_its_meaning() {
    let dir = vectors_dir();
    for (name, record) in records() {
        let (bin, text) = (
            dir.join(format!("{name}.bin")),
            dir.join(format!("{name}.json")),
        );
        #[allow(clippy::disallowed_methods)] // A switch for whoever runs the test.
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        if update {
            fs::write(&bin, record.encode_to_vec()).unwrap();
            let pretty = serde_json::to_string_pretty(&meaning(&record)).unwrap();
            fs::write(&text, pretty + "\n").unwrap();
        }
        let bytes = fs::read(&bin).unwrap();
        assert_eq!(
            bytes,
            record.encode_to_vec(),
            "{name}: the bytes have changed"
        );
        let told: Value = serde_json::from_slice(&fs::read(&text).unwrap()).unwrap();
        assert_eq!(meaning(&record), told, "{name}: the meaning has changed");
        let decoded = OpRecord::decode(Bytes::from(bytes.clone())).unwrap();
        assert_eq!(
            decoded.encode(),
            bytes,
            "{name}: checking and encoding again changes it"
        );
    }
}

#[test]
fn a_newer_version_is_refused_with_a_word_on_what_to_do() {
    let (_, mut newer) = records().remove(0);
    newer.version = 2;
    let refused = OpRecord::decode(newer.encode_to_vec().into()).unwrap_err();
    assert!(matches!(
        refused,
        RecordError::NewerVersion { found: 2, known: 1 }
    ));
    assert!(refused.to_string().contains("upgrade this node"));
}

#[test]
fn fields_of_the_future_do_not_hinder_a_reader() {
    let (_, known) = records().remove(0);
    let mut bytes = known.encode_to_vec();
    // Field 99, length-delimited: what a later version may add without raising `version`.
    bytes.extend([0x9a, 0x06, 3, b'n', b'e', b'w']);
    let decoded = OpRecord::decode(Bytes::from(bytes)).unwrap();
    assert!(matches!(decoded.body, Body::Updates(_)));
}

#[test]
fn broken_records_name_the_field() {
    let broken = |change: fn(&mut wire::StampedUpdate)| {
        let (_, mut record) = records().remove(0);
        if let Some(wire::Body::Updates(batch)) = &mut record.body {
            change(&mut batch.updates[0]);
        }
        OpRecord::decode(record.encode_to_vec().into())
            .unwrap_err()
            .to_string()
    };
    assert!(broken(|update| update.counter_end = update.counter_start).contains("counter_end"));
    assert!(broken(|update| update.digest = Bytes::from_static(b"short")).contains("digest"));
    assert!(broken(|update| update.author = String::new()).contains("author"));
    assert!(broken(|update| update.payload = None).contains("payload"));
}

#[test]
fn a_trace_context_that_is_none_does_not_spoil_its_update() {
    let (_, mut record) = records().remove(0);
    if let Some(wire::Body::Updates(batch)) = &mut record.body {
        batch.updates[0].traceparent = "of a later version".into();
    }
    let decoded = OpRecord::decode(record.encode_to_vec().into()).unwrap();
    let Body::Updates(batch) = decoded.body else {
        panic!("{decoded:?}")
    };
    assert_eq!(batch.content[0].stamp.trace, None);
}
