//! The document's transactions over both adapters.
#![allow(clippy::cast_possible_truncation)] // The numbers here are small.

mod appending;
mod catching_up;
mod folding;
mod merging;
mod nodes_and_positions;

use std::sync::Arc;

use bytes::Bytes;
use clock::Random;
use disk::RealDisk;
use document_types::record::{OperationKind, Payload, Stamp, StampedUpdate};
use document_types::{
    CounterSpan, DeviceId, Digest, DocumentId, HlcTimestamp, LogOffset, LogPartition, LogSource,
    OpId, PeerId, Principal, RegionId, SessionId, UserId,
};
use uuid::Uuid;

use super::*;
use crate::keyspace::SnapshotId;
use crate::{EmbeddedKv, Faults, SimulatedKv, SimulatedStore};

/// Runs a test over the embedded and over the simulated store.
macro_rules! over_both {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        mod $name {
            #[tokio::test]
            async fn embedded() {
                let root = tempfile::tempdir().unwrap();
                super::$name(super::super::embedded(root.path()).await).await;
            }

            #[tokio::test(start_paused = true)]
            async fn simulated() {
                super::$name(super::super::simulated().await).await;
            }
        }
    )* };
}
use over_both;

async fn embedded(root: &std::path::Path) -> DocumentStore {
    let kv = EmbeddedKv::open(&RealDisk::open(root).unwrap(), 32 * 1024 * 1024).unwrap();
    DocumentStore::open(Arc::new(kv), Random::from_seed(1))
        .await
        .unwrap()
}

async fn simulated() -> DocumentStore {
    let kv = SimulatedStore::new().handle(Random::from_seed(1), Faults::NONE);
    DocumentStore::open(Arc::new(kv), Random::from_seed(1))
        .await
        .unwrap()
}

fn document() -> DocumentId {
    DocumentId::parse("doc_1").unwrap()
}

fn source(region: &str) -> LogSource {
    LogSource {
        region: RegionId::parse(region).unwrap(),
        partition: LogPartition(3),
    }
}

fn author(peer: u64) -> Principal {
    Principal {
        user: UserId::parse(&format!("usr_{peer}")).unwrap(),
        device: DeviceId::parse("dev_1").unwrap(),
    }
}

fn span(peer: u64, start: u32, end: u32) -> CounterSpan {
    CounterSpan {
        peer: PeerId(peer),
        start,
        end,
    }
}

/// An update over `span` with `payload`, on top of `dependencies` (peer and counter).
fn update(span: CounterSpan, dependencies: &[(u64, u32)], payload: Bytes) -> StampedUpdate {
    StampedUpdate {
        stamp: Stamp {
            hlc: HlcTimestamp::new(1_000_000 + u64::from(span.start), 0),
            author: author(span.peer.0),
            session: SessionId::parse("ses_1").unwrap(),
            correlation_id: String::new(),
            trace: None,
        },
        span,
        dependencies: dependencies
            .iter()
            .map(|(peer, counter)| OpId {
                peer: PeerId(*peer),
                counter: *counter,
            })
            .collect(),
        kinds: vec![OperationKind::Insert],
        digest: Digest::of(&payload),
        receipt: Bytes::new(),
        inserted_text_bytes: span.len(),
        payload: Payload::Inline(payload),
    }
}

/// A small update whose payload is made of its span.
fn small(peer: u64, start: u32, end: u32) -> StampedUpdate {
    let over = span(peer, start, end);
    update(over, &[], Bytes::from(over.to_string()))
}

/// A record at `offset` of which everything is let in.
fn admitted(offset: u64, updates: Vec<StampedUpdate>) -> RecordOutcome {
    RecordOutcome {
        offset: LogOffset(offset),
        admitted: updates
            .into_iter()
            .map(|update| Admitted {
                update,
                waited_as: None,
            })
            .collect(),
        ..RecordOutcome::default()
    }
}

/// Appends records to the document behind what is there.
async fn append(store: &DocumentStore, records: &[RecordOutcome]) -> Head {
    let from = source("local");
    let loaded = store.load_admission(&document()).await.unwrap();
    let outcome = store
        .append(&document(), &from, loaded.position(&from), records)
        .await
        .unwrap();
    match outcome {
        AppendOutcome::Appended { head, .. } => head,
        AppendOutcome::PositionMoved => panic!("nobody else writes here"),
    }
}

/// Appends `count` updates of one operation each by one peer, behind what it has.
async fn append_ops(store: &DocumentStore, peer: u64, count: u32) -> Head {
    let loaded = store.load_admission(&document()).await.unwrap();
    let start = loaded.admission.version().end(PeerId(peer));
    let next = loaded
        .applied
        .get(&source("local"))
        .map_or(0, |applied| applied.0 + 1);
    let updates = (start..start + count)
        .map(|at| small(peer, at, at + 1))
        .collect();
    append(store, &[admitted(next, updates)]).await
}

fn snapshot_id(number: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(number))
}

/// A stand-in for the engine's snapshot: all updates in merge order, encoded one after the other.
/// The store does not look into either.
fn fold_bytes(input: &FoldInput) -> Bytes {
    let mut bytes = input.snapshot.clone().unwrap_or_default().to_vec();
    for update in &input.tail {
        update
            .to_wire()
            .encode_length_delimited(&mut bytes)
            .unwrap();
    }
    Bytes::from(bytes)
}

fn unfold(mut bytes: Bytes) -> Vec<StampedUpdate> {
    let mut updates = Vec::new();
    while !bytes.is_empty() {
        let update =
            document_types::record::wire::StampedUpdate::decode_length_delimited(&mut bytes);
        updates.push(StampedUpdate::from_wire(update.unwrap()).unwrap());
    }
    updates
}

/// Folds the document's tail into a snapshot with this id.
async fn fold(store: &DocumentStore, id: SnapshotId) -> Option<FoldOutcome> {
    let input = store.begin_fold(&document()).await.unwrap()?;
    let bytes = fold_bytes(&input);
    store
        .write_snapshot(&document(), id, &bytes, &input.version, 0)
        .await
        .unwrap();
    let folded = FoldedSnapshot::new(id, &bytes);
    Some(
        store
            .finish_fold(&document(), &input, folded)
            .await
            .unwrap(),
    )
}

/// How many keys the store has in `range`.
async fn count_keys(store: &DocumentStore, range: crate::ordered_kv::KeyRange) -> usize {
    let transaction = store.kv.begin().await.unwrap();
    let mut pages = crate::ordered_kv::Pages::new(
        &*transaction,
        range,
        crate::ordered_kv::RangeOptions::default(),
    );
    let mut count = 0;
    while let Some(page) = pages.next().await.unwrap() {
        count += page.len();
    }
    count
}

/// Services run the store's methods on tasks, so their futures have to be `Send`.
#[tokio::test(start_paused = true)]
async fn methods_can_run_on_tasks() {
    fn is_send<F: Future + Send>(future: F) -> F {
        future
    }
    let store = simulated().await;
    let (document, from) = (document(), source("local"));
    let loaded = is_send(store.load_admission(&document)).await.unwrap();
    let records = [admitted(0, vec![small(1, 0, 1)])];
    let at = loaded.position(&from);
    is_send(store.append(&document, &from, at, &records))
        .await
        .unwrap();
    is_send(store.span_digests(&document, span(1, 0, 1)))
        .await
        .unwrap();
    let input = is_send(store.begin_fold(&document)).await.unwrap().unwrap();
    let bytes = fold_bytes(&input);
    let id = snapshot_id(1);
    is_send(store.write_snapshot(&document, id, &bytes, &input.version, 0))
        .await
        .unwrap();
    let folded = FoldedSnapshot::new(id, &bytes);
    is_send(store.finish_fold(&document, &input, folded))
        .await
        .unwrap();
    is_send(store.sweep_snapshots(&document, 0)).await.unwrap();
    let limits = CatchUpLimits::default();
    is_send(store.catch_up(&document, &input.version, None, limits))
        .await
        .unwrap();
    is_send(store.list_documents(None, 10)).await.unwrap();
    is_send(store.mark_degraded(&document, "", 0))
        .await
        .unwrap();
    is_send(store.set_merged(&from, LogOffset(0)))
        .await
        .unwrap();
    is_send(store.take_node_epoch(document_types::NodeId(1)))
        .await
        .unwrap();
}

fn stormy(store: &SimulatedStore, seed: u64, chance: f64) -> SimulatedKv {
    store.handle(Random::from_seed(seed), Faults::stormy(chance))
}
