//! Blobs in a directory, in a process that is killed while it stores them, over a disk that then has
//! only what was synced: what somebody was told is there is there, and whole.
#![allow(clippy::unwrap_used)] // Tests.
#![allow(clippy::disallowed_methods)] // A test tells its child by the environment what to do.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use blob_store::conformance::content;
use blob_store::{BlobError, BlobId, BlobStore};
use bytes::Bytes;
use clock::Random;
use disk::{FaultyDisk, FaultyDiskOptions, RealDisk};
use tokio::task::JoinSet;

const DIRECTORY: &str = "BLOB_KILL_DIRECTORY";
const SEED: &str = "BLOB_KILL_SEED";
const LIES: &str = "BLOB_KILL_LIES";
/// Tasks of a child, two of which store each blob and one of which looks whether it is there.
const TASKS: u64 = 6;

/// The blob of this number, of one sector to many.
fn blob(number: u64) -> Bytes {
    let length = 100 + number * 7919 % 60_000;
    content(number, usize::try_from(length).unwrap())
}

/// Runs a child on `directory`, kills it once it has said of so many blobs that they are there, and
/// returns all of which it has said so.
fn run_and_kill(directory: &Path, seed: u64, lies: bool, count: usize) -> BTreeSet<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["stores_until_it_is_killed", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(SEED, seed.to_string())
        .env(LIES, lies.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut there = BTreeSet::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // After the kill, what the child had written to the pipe before is read as well.
    while let Some(Ok(line)) = lines.next() {
        let Some(number) = line.strip_prefix("there ") else {
            continue;
        };
        there.insert(number.parse().unwrap());
        if there.len() == count {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "a child ends by being killed");
    assert!(there.len() >= count, "the child ended before it was killed");
    there
}

/// Those of the blobs that are not there, or not whole. Of all others, there may be none or the whole.
async fn lost(directory: &Path, there: &BTreeSet<u64>) -> BTreeSet<u64> {
    let disk = Arc::new(RealDisk::open(directory).unwrap());
    let store = BlobStore::on_disk(disk).unwrap();
    let mut lost = BTreeSet::new();
    let last = there.last().copied().unwrap_or_default();
    for number in 0..last + TASKS {
        match store.get(BlobId::of(&blob(number)).await).await {
            Ok(found) => assert_eq!(found, blob(number)),
            Err(BlobError::NotFound { .. }) if !there.contains(&number) => {}
            Err(BlobError::NotFound { .. } | BlobError::Damaged { .. }) => {
                lost.insert(number);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    lost
}

#[tokio::test]
async fn a_killed_process_has_lost_no_blob_that_it_said_is_there() {
    let random = Random::from_seed(11);
    for seed in 0..60 {
        let directory = tempfile::tempdir().unwrap();
        let count = usize::try_from(1 + random.below(100)).unwrap();
        let there = run_and_kill(directory.path(), seed, false, count);
        let lost = lost(directory.path(), &there).await;
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    }
}

/// The planted bug: were blobs not synced, the test above would fail.
#[tokio::test]
async fn the_kill_test_notices_a_store_that_does_not_sync() {
    for seed in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let there = run_and_kill(directory.path(), seed, true, 50);
        let lost = lost(directory.path(), &there).await;
        assert!(!lost.is_empty(), "seed {seed}");
    }
}

/// The process that the other tests kill: this test as they start it. By itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn stores_until_it_is_killed() {
    if std::env::var_os(DIRECTORY).is_none() {
        return;
    }
    let variable = |name| std::env::var(name).unwrap();
    let lies: bool = variable(LIES).parse().unwrap();
    let mut options = FaultyDiskOptions::new(variable(SEED).parse().unwrap());
    if lies {
        // Tearing brings everything to the disk in the end, and would hide what is not synced.
        options.tear_chance = 0.0;
    }
    let disk = Arc::new(FaultyDisk::open(variable(DIRECTORY), options).unwrap());
    let store = BlobStore::on_disk(Arc::clone(&disk) as _).unwrap();
    disk.set_lies_about_syncs(lies);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            // Two blobs are on their way at once.
            for number in (task % 2..).step_by(2) {
                let bytes = blob(number);
                if task < 4 {
                    store.put(bytes).await.unwrap();
                } else {
                    let id = BlobId::of(&bytes).await;
                    while !store.exists(id).await.unwrap() {}
                }
                let line = format!("there {number}\n");
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    tasks.join_all().await;
}
