//! Prints what a store in FoundationDB takes for what services do most: committing, appending to a
//! document, loading one, catching a replica up. Run it against a cluster that nobody else uses, with
//! `cargo run --release -p document-store --features foundationdb --example foundationdb_figures --
//! CLUSTER_FILE`.
#![allow(clippy::unwrap_used)] // A program for people at a terminal.
#![allow(clippy::disallowed_methods)] // It measures, so it reads the clock.

#[path = "../tests/foundationdb/records.rs"]
mod records;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Random;
use document_store::ordered_kv::{KeyRange, Pages, RangeOptions};
use document_store::{
    AppendOutcome, CatchUpContent, CatchUpLimits, DocumentStore, FoundationDbKv,
    FoundationDbNetwork, FoundationDbOptions, OrderedKv,
};
use document_types::{DocumentId, VersionVector};
use futures::future::join_all;
use prost::Message;
use records::{record, source, update};

/// All keys that this writes begin with it.
const PREFIX: &[u8] = b"figures";

fn main() {
    let cluster_file = std::env::args_os()
        .nth(1)
        .expect("the cluster file is the argument");
    let options = FoundationDbOptions {
        cluster_file: cluster_file.into(),
        prefix: PREFIX.into(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    FoundationDbNetwork::run(|network| {
        let kv = Arc::new(FoundationDbKv::open(network, &options).unwrap());
        runtime.block_on(measure(kv));
    })
    .unwrap();
}

async fn measure(kv: Arc<FoundationDbKv>) {
    clear(&kv).await;
    commits(&kv).await;
    let store = DocumentStore::open(kv.clone(), Random::from_seed(1))
        .await
        .unwrap();
    appends(&store, "doc_ones", 1).await;
    appends(&store, "doc_tens", 10).await;
    appends_side_by_side(&store).await;
    catch_up(&store).await;
    chunks(&kv).await;
    clear(&kv).await;
}

async fn clear(kv: &FoundationDbKv) {
    let transaction = kv.begin().await.unwrap();
    transaction.clear_range(&KeyRange::new("", vec![0xff]));
    transaction.commit().await.unwrap();
}

async fn commits(kv: &FoundationDbKv) {
    let mut latencies = Vec::new();
    for number in 0..1_000_u32 {
        let begun = Instant::now();
        let transaction = kv.begin().await.unwrap();
        transaction.set(&number.to_be_bytes(), &[7; 100]);
        transaction.commit().await.unwrap();
        latencies.push(begun.elapsed());
    }
    report("commit of one key, blind", latencies);
    let (mut reads, mut latencies) = (Vec::new(), Vec::new());
    for number in 0..1_000_u32 {
        let begun = Instant::now();
        let transaction = kv.begin().await.unwrap();
        transaction.get(&number.to_be_bytes()).await.unwrap();
        reads.push(begun.elapsed());
        transaction.set(&number.to_be_bytes(), &[8; 100]);
        transaction.commit().await.unwrap();
        latencies.push(begun.elapsed());
    }
    report("first read of a transaction", reads);
    report("read and commit of one key", latencies);
    let mut latencies = Vec::new();
    for _ in 0..1_000 {
        let begun = Instant::now();
        kv.sync().await.unwrap();
        latencies.push(begun.elapsed());
    }
    report("sync", latencies);
}

/// What the merger does for a document in which one edits: transactions one after the other.
async fn appends(store: &DocumentStore, document: &str, updates: u32) {
    let latencies = append_all(store, document, updates, 1_000).await;
    report(
        &format!("append of {updates} updates of 100 bytes"),
        latencies,
    );
}

/// The same for as many documents as a partition's merger works on at once.
async fn appends_side_by_side(store: &DocumentStore) {
    let begun = Instant::now();
    let documents = (0..8).map(|number| format!("doc_side_{number}"));
    let appended = documents.map(async |document| append_all(store, &document, 10, 200).await);
    let latencies: Vec<_> = join_all(appended).await.concat();
    let rate = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    report("the same in 8 documents at once", latencies);
    println!("{:<36}{rate:>9.0} transactions/s", "");
}

async fn append_all(
    store: &DocumentStore,
    document: &str,
    updates: u32,
    rounds: u32,
) -> Vec<Duration> {
    let document = DocumentId::parse(document).unwrap();
    let loaded = store.load_admission(&document).await.unwrap();
    let mut position = loaded.position(&source());
    let mut latencies = Vec::new();
    for round in 0..rounds {
        let batch = (round * updates..(round + 1) * updates).map(|at| update(1, at, 100));
        let records = [record(u64::from(round), batch.collect())];
        let (source, begun) = (source(), Instant::now());
        let appended = store.append(&document, &source, position, &records);
        match appended.await.unwrap() {
            AppendOutcome::Appended {
                position: after, ..
            } => position = after,
            AppendOutcome::PositionMoved => panic!("nobody else writes here"),
        }
        latencies.push(begun.elapsed());
    }
    latencies
}

async fn catch_up(store: &DocumentStore) {
    let document = DocumentId::parse("doc_tens").unwrap();
    let begun = Instant::now();
    let (mut steps, mut updates, mut bytes) = (0, 0, 0);
    let mut cursor = None;
    loop {
        let (known, limits) = (VersionVector::new(), CatchUpLimits::default());
        let step = store.catch_up(&document, &known, cursor, limits);
        let step = step.await.unwrap();
        steps += 1;
        if let CatchUpContent::Updates(found) = &step.content {
            updates += found.len();
            let lengths = found.iter().map(|update| update.to_wire().encoded_len());
            bytes += lengths.sum::<usize>();
        }
        cursor = Some(step.cursor);
        if step.complete.is_some() {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "catch-up over {updates} updates        {steps} steps, {:.0} updates/s, {:.1} MB/s",
        f64::from(u32::try_from(updates).unwrap()) / seconds,
        bytes as f64 / seconds / 1e6
    );
}

/// Reading a snapshot's chunks: a range of large values.
async fn chunks(kv: &FoundationDbKv) {
    for round in 0..5_u32 {
        let transaction = kv.begin().await.unwrap();
        for number in 0..20_u32 {
            let key = [b"chunk", &(round * 20 + number).to_be_bytes()[..]].concat();
            transaction.set(&key, &[7; 90_000]);
        }
        transaction.commit().await.unwrap();
    }
    let mut latencies = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let transaction = kv.begin().await.unwrap();
        let range = KeyRange::new("chunk", "chunl");
        let mut pages = Pages::new(&*transaction, range, RangeOptions::default());
        let mut bytes = 0;
        while let Some(page) = pages.next().await.unwrap() {
            bytes += page.iter().map(|entry| entry.value.len()).sum::<usize>();
        }
        assert_eq!(bytes, 9_000_000);
        latencies.push(begun.elapsed());
    }
    report("read of 9 MB in chunks of 90 kB", latencies);
}

fn report(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 100];
    println!(
        "{what:<36}p50 {:>9.2?}   p99 {:>9.2?}   max {:>9.2?}",
        at(50),
        at(99),
        at(100)
    );
}
