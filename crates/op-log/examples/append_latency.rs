//! Measures appends to an embedded log beside bare writes and syncs of the same size:
//! `cargo run -p op-log --example append_latency -- DIRECTORY`; or appends to a Kafka topic of 16
//! partitions: `… -- BROKERS TOPIC`.
//!
//! A log can't be faster than its disk syncs; what is worth knowing is how much it adds, and how many
//! appends one sync serves. The kinds take turns, so that a disk that others use is as busy for each.
#![allow(clippy::unwrap_used)] // A program to look at figures with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Random;
use disk::{Disk, DiskFile, RealDisk};
use document_types::{DocumentId, LogPartition};
use futures::future::join_all;
use op_log::{EmbeddedLogOptions, EmbeddedOpLog, OpLog};
use tokio::time::Instant;

const ROUNDS: usize = 20;
const COUNT_PER_ROUND: usize = 100;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().unwrap_or_else(|| ".".to_owned());
    println!("{} each, milliseconds", ROUNDS * COUNT_PER_ROUND);
    match arguments.next() {
        Some(topic) => kafka(root, topic).await,
        None => embedded(root).await,
    }
}

async fn kafka(bootstrap_servers: String, topic: String) {
    let options = op_log::KafkaLogOptions {
        bootstrap_servers,
        topic,
        partition_count: 16,
        development: true,
    };
    let log = op_log::KafkaOpLog::open(&options).await.unwrap();
    for record_bytes in [300, 4_096] {
        for in_flight in [1, 50] {
            let mut latencies = Vec::new();
            for _ in 0..ROUNDS {
                latencies.extend(appends(&log, record_bytes, in_flight).await);
            }
            let name = format!("append, {in_flight} in flight");
            print(&name, record_bytes, latencies);
        }
    }
    log.close().await;
}

async fn embedded(root: String) {
    for record_bytes in [300, 4_096] {
        let directory = tempfile::tempdir_in(&root).unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        let growing = disk.create("growing").unwrap();
        let filled = disk.create("filled").unwrap();
        let zeros = vec![0; ROUNDS * COUNT_PER_ROUND * record_bytes];
        filled.write_at(0, &zeros).unwrap();
        filled.sync_data().unwrap();
        let disk = Arc::new(RealDisk::open(directory.path().join("log")).unwrap());
        let options = EmbeddedLogOptions::new(16);
        let log = EmbeddedOpLog::open(disk, &options, &Random::from_seed(1)).unwrap();

        let mut latencies: [Vec<_>; 4] = Default::default();
        for round in 0..ROUNDS {
            latencies[0].extend(bare(&*growing, record_bytes, round));
            latencies[1].extend(bare(&*filled, record_bytes, round));
            latencies[2].extend(appends(&log, record_bytes, 1).await);
            latencies[3].extend(appends(&log, record_bytes, 50).await);
        }
        let names = [
            "write and sync, growing file",
            "write and sync, into zeros",
            "append, 1 in flight",
            "append, 50 in flight",
        ];
        for (name, latencies) in names.into_iter().zip(latencies) {
            print(name, record_bytes, latencies);
        }
    }
}

/// The latencies of one round of writes to `file`.
fn bare(file: &dyn DiskFile, record_bytes: usize, round: usize) -> Vec<Duration> {
    let record = vec![7; record_bytes];
    let write = |number| {
        let started = Instant::now();
        let offset = (round * COUNT_PER_ROUND + number) * record_bytes;
        file.write_at(offset as u64, &record).unwrap();
        file.sync_data().unwrap();
        started.elapsed()
    };
    (0..COUNT_PER_ROUND).map(write).collect()
}

/// The latencies of one round of appends by so many appenders, each of which waits for its answer.
async fn appends(log: &dyn OpLog, record_bytes: usize, in_flight: usize) -> Vec<Duration> {
    let document = DocumentId::parse("doc").unwrap();
    let record = Bytes::from(vec![7; record_bytes]);
    let appenders = (0..in_flight).map(async |appender| {
        let partition = LogPartition(u32::try_from(appender % 16).unwrap());
        let mut latencies = Vec::new();
        for _ in 0..COUNT_PER_ROUND / in_flight {
            let started = Instant::now();
            log.append(partition, &document, record.clone())
                .await
                .unwrap();
            latencies.push(started.elapsed());
        }
        latencies
    });
    join_all(appenders).await.into_iter().flatten().collect()
}

fn print(what: &str, record_bytes: usize, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let quantile =
        |percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1_000.0;
    let (p50, p95, p99) = (quantile(50), quantile(95), quantile(99));
    println!("{record_bytes:>5} B  {what:<30} p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}");
}
