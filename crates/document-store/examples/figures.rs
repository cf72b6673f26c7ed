//! Prints what the embedded store takes for what services do most: committing, loading a document
//! with many peers, catching a replica up. Run it with
//! `cargo run --release -p document-store --example figures`.
#![allow(clippy::unwrap_used)] // A program for people at a terminal.
#![allow(clippy::disallowed_methods)] // It measures, so it reads the clock.

#[path = "../tests/foundationdb/records.rs"]
mod records;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Random;
use disk::RealDisk;
use document_store::{
    AppendOutcome, CatchUpContent, CatchUpLimits, DocumentStore, EmbeddedKv, OrderedKv,
};
use document_types::{DocumentId, VersionVector};
use prost::Message;
use records::{record, source, update};

const PEERS: u64 = 20_000;
const UPDATES: u32 = 50_000;

#[tokio::main]
async fn main() {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(root.path()).unwrap();
    let kv = Arc::new(EmbeddedKv::open(&disk, 256 * 1024 * 1024).unwrap());
    let store = DocumentStore::open(kv.clone(), Random::from_seed(1))
        .await
        .unwrap();

    commits(&kv).await;
    appends(&store).await;
    many_peers(&store).await;
    catch_up(&store).await;
    let begun = Instant::now();
    drop((store, kv));
    println!(
        "close                             {:>10.1?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    drop(EmbeddedKv::open(&disk, 256 * 1024 * 1024).unwrap());
    println!(
        "open                              {:>10.1?}",
        begun.elapsed()
    );
}

async fn commits(kv: &EmbeddedKv) {
    let mut latencies = Vec::new();
    for number in 0..5_000_u32 {
        let begun = Instant::now();
        let transaction = kv.begin().await.unwrap();
        transaction.get(&number.to_be_bytes()).await.unwrap();
        transaction.set(&number.to_be_bytes(), &[7; 100]);
        transaction.commit().await.unwrap();
        latencies.push(begun.elapsed());
    }
    report("transaction of one key, unsynced", latencies);
    let mut latencies = Vec::new();
    for number in 0..50_u32 {
        let transaction = kv.begin().await.unwrap();
        transaction.set(&number.to_be_bytes(), &[8; 100]);
        transaction.commit().await.unwrap();
        let begun = Instant::now();
        kv.sync().await.unwrap();
        latencies.push(begun.elapsed());
    }
    report("sync", latencies);
}

async fn appends(store: &DocumentStore) {
    let document = DocumentId::parse("doc_appends").unwrap();
    let mut position = store
        .load_admission(&document)
        .await
        .unwrap()
        .position(&source());
    let mut latencies = Vec::new();
    for number in 0..3_000_u32 {
        let record = record(u64::from(number), vec![update(1, number, 100)]);
        let begun = Instant::now();
        position = appended(
            store
                .append(&document, &source(), position, &[record])
                .await
                .unwrap(),
        );
        latencies.push(begun.elapsed());
    }
    report("append of one update, unsynced", latencies);
}

async fn many_peers(store: &DocumentStore) {
    let document = DocumentId::parse("doc_peers").unwrap();
    let mut position = store
        .load_admission(&document)
        .await
        .unwrap()
        .position(&source());
    for batch in 0..PEERS / 500 {
        let updates = (0..500)
            .map(|peer| update(spread(batch * 500 + peer), 0, 30))
            .collect();
        let records = [record(batch, updates)];
        position = appended(
            store
                .append(&document, &source(), position, &records)
                .await
                .unwrap(),
        );
    }
    let mut latencies = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let loaded = store.load_admission(&document).await.unwrap();
        latencies.push(begun.elapsed());
        assert_eq!(loaded.admission.version().len() as u64, PEERS);
    }
    report("load of a document of 20,000 peers", latencies);
}

async fn catch_up(store: &DocumentStore) {
    let document = DocumentId::parse("doc_long").unwrap();
    let mut position = store
        .load_admission(&document)
        .await
        .unwrap()
        .position(&source());
    for batch in 0..UPDATES / 500 {
        let updates = (batch * 500..(batch + 1) * 500)
            .map(|at| update(1, at, 100))
            .collect();
        let records = [record(u64::from(batch), updates)];
        position = appended(
            store
                .append(&document, &source(), position, &records)
                .await
                .unwrap(),
        );
    }
    let begun = Instant::now();
    let (mut steps, mut updates, mut bytes) = (0, 0, 0);
    let mut cursor = None;
    loop {
        let limits = CatchUpLimits::default();
        let step = store
            .catch_up(&document, &VersionVector::new(), cursor, limits)
            .await
            .unwrap();
        steps += 1;
        if let CatchUpContent::Updates(found) = &step.content {
            updates += found.len();
            bytes += found
                .iter()
                .map(|update| update.to_wire().encoded_len())
                .sum::<usize>();
        }
        cursor = Some(step.cursor);
        if step.complete.is_some() {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "catch-up over {updates} updates      {steps} steps, {:.0} updates/s, {:.1} MB/s",
        updates as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
}

fn appended(outcome: AppendOutcome) -> document_store::StatePosition {
    match outcome {
        AppendOutcome::Appended { position, .. } => position,
        AppendOutcome::PositionMoved => unreachable!("nobody else writes here"),
    }
}

fn report(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 100];
    println!(
        "{what:<34}p50 {:>9.1?}   p99 {:>9.1?}   max {:>9.1?}",
        at(50),
        at(99),
        at(100)
    );
}

/// Peer ids as clients draw them: anywhere in 64 bits.
fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
