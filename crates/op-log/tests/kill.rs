//! Real processes that are killed while they append, on a disk that keeps what is not synced in the
//! process's memory only, so that the kill loses what a power cut would.
#![allow(clippy::unwrap_used)] // Tests.
#![allow(clippy::disallowed_methods)] // The child learns its task from its environment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use clock::Random;
use disk::{Disk, FaultyDisk, FaultyDiskOptions, RealDisk};
use document_types::{DocumentId, LogOffset, LogPartition};
use futures::future::join_all;
use op_log::conformance::read_to_tail;
use op_log::{EmbeddedLogOptions, EmbeddedOpLog, OpLog, OpenError, ReadLimit};

const PARTITION_COUNT: u32 = 3;
/// What the parent tells its child: the directory, the seed, and whether syncs are lies.
const DIRECTORY: &str = "KILL_TEST_DIRECTORY";
const SEED: &str = "KILL_TEST_SEED";
const LIES: &str = "KILL_TEST_LIES";

fn open(disk: Arc<dyn Disk>, seed: u64) -> Result<Arc<dyn OpLog>, OpenError> {
    let options = EmbeddedLogOptions {
        segment_bytes: 64 * 1024,
        ..EmbeddedLogOptions::new(PARTITION_COUNT)
    };
    Ok(Arc::new(EmbeddedOpLog::open(
        disk,
        &options,
        &Random::from_seed(seed),
    )?))
}

/// What an acknowledgement said: partition, offset, and the record's text.
type Acknowledged = BTreeMap<(u32, u64), String>;

/// Runs a child on `directory`, kills it after so many acknowledgements, and returns all it gave.
fn run_and_kill(directory: &Path, seed: u64, lies: bool, ack_count: u64) -> Acknowledged {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["appends_until_it_is_killed", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(SEED, seed.to_string())
        .env(LIES, lies.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Acknowledged::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // After the kill, what the child had written to the pipe before is read as well.
    while let Some(Ok(line)) = lines.next() {
        let fields: Vec<_> = line.split(' ').collect();
        if let ["ack", partition, offset, record] = fields[..] {
            let place = (partition.parse().unwrap(), offset.parse().unwrap());
            acknowledged.insert(place, record.to_owned());
            if acknowledged.len() as u64 == ack_count {
                child.kill().unwrap();
            }
        }
    }
    assert!(
        !child.wait().unwrap().success(),
        "a child ends by being killed"
    );
    assert!(
        acknowledged.len() as u64 >= ack_count,
        "the child ended before it was killed"
    );
    acknowledged
}

/// The acknowledged records that the log of `directory` does not have.
async fn lost(directory: &Path, acknowledged: &Acknowledged) -> Result<Acknowledged, OpenError> {
    let log = open(Arc::new(RealDisk::open(directory).unwrap()), 1)?;
    let mut lost = acknowledged.clone();
    for partition in 0..PARTITION_COUNT {
        let start = LogOffset(0);
        let limit = ReadLimit::default();
        for entry in read_to_tail(&log, LogPartition(partition), start, limit).await {
            let place = (partition, entry.offset.0);
            if lost
                .get(&place)
                .is_some_and(|record| record.as_bytes() == entry.record)
            {
                lost.remove(&place);
            }
        }
    }
    Ok(lost)
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_it_acknowledged() {
    let random = Random::from_seed(11);
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::new();
    for seed in 0..25 {
        let ack_count = 1 + random.below(300);
        acknowledged.extend(run_and_kill(directory.path(), seed, false, ack_count));
        let lost = lost(directory.path(), &acknowledged).await.unwrap();
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    }
}

/// The planted bug: were the log to forget its syncs, the test above would fail.
#[tokio::test]
async fn the_kill_test_notices_a_log_that_does_not_sync() {
    for seed in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let acknowledged = run_and_kill(directory.path(), seed, true, 100);
        let is_noticed = match lost(directory.path(), &acknowledged).await {
            Ok(lost) => !lost.is_empty(),
            Err(OpenError::Damaged(_)) => true,
            Err(error) => panic!("seed {seed}: {error:?}"),
        };
        assert!(is_noticed, "seed {seed}");
    }
}

/// The process that the other tests kill: this test as they start it. By itself it does nothing.
#[tokio::test]
async fn appends_until_it_is_killed() {
    if std::env::var_os(DIRECTORY).is_none() {
        return;
    }
    let variable = |name| std::env::var(name).unwrap();
    let seed: u64 = variable(SEED).parse().unwrap();
    let lies: bool = variable(LIES).parse().unwrap();
    let mut options = FaultyDiskOptions::new(seed);
    if lies {
        // Tearing brings everything to the disk in the end, and would hide what is not synced.
        options.tear_chance = 0.0;
    }
    let disk = Arc::new(FaultyDisk::open(variable(DIRECTORY), options).unwrap());
    let log = open(Arc::clone(&disk) as _, seed).unwrap();
    disk.set_lies_about_syncs(lies);
    let appenders = (0..8_u32).map(|appender| {
        let (log, document) = (Arc::clone(&log), DocumentId::parse("doc").unwrap());
        async move {
            for number in 0_u64.. {
                let partition = appender % PARTITION_COUNT;
                let padding = "x".repeat(usize::try_from(number * 37 % 1_500).unwrap());
                let record = format!("{seed}/{appender}/{number}/{padding}");
                let appended = log.append(
                    LogPartition(partition),
                    &document,
                    Bytes::from(record.clone()),
                );
                let offset = appended.await.unwrap();
                let line = format!("ack {partition} {offset} {record}\n");
                // One write, so that the line is there or not.
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        }
    });
    join_all(appenders).await;
}
