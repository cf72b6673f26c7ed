use std::collections::BTreeMap;
use std::path::Path;

use disk::{FaultyDisk, FaultyDiskOptions, RealDisk};

use super::*;
use crate::conformance;
use crate::ordered_kv::{KeyRange, Pages, RangeOptions};

const CACHE_BYTES: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn it_conforms() {
    let mut roots = Vec::new();
    conformance::all(|| {
        let root = tempfile::tempdir().unwrap();
        let kv = EmbeddedKv::open(&RealDisk::open(root.path()).unwrap(), CACHE_BYTES).unwrap();
        roots.push(root);
        std::future::ready(Arc::new(kv) as Arc<dyn OrderedKv>)
    })
    .await;
}

async fn commit(kv: &EmbeddedKv, number: u64) -> CommitVersion {
    let transaction = kv.begin().await.unwrap();
    // Several keys, far apart, so that a commit that was torn would show.
    for copy in 0..4_u64 {
        let key = [copy.to_be_bytes(), (number % 50).to_be_bytes()].concat();
        transaction.set(&key, &[&number.to_be_bytes()[..], &[0; 500]].concat());
    }
    transaction.set(b"last", &number.to_be_bytes());
    transaction.commit().await.unwrap()
}

/// The number of the last commit that the store holds, after checking that it holds that commit and
/// all before it, whole.
async fn check_prefix(kv: &EmbeddedKv) -> u64 {
    let transaction = kv.begin().await.unwrap();
    let Some(last) = transaction.get(b"last").await.unwrap() else {
        return 0;
    };
    let last = u64::from_be_bytes(last.as_ref().try_into().unwrap());
    let mut expected = BTreeMap::new();
    for number in 1..=last {
        for copy in 0..4_u64 {
            expected.insert(
                [copy.to_be_bytes(), (number % 50).to_be_bytes()].concat(),
                number,
            );
        }
    }
    let range = KeyRange::new(vec![0], vec![1]);
    let mut pages = Pages::new(&*transaction, range, RangeOptions::default());
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await.unwrap() {
        found.extend(page.into_iter().map(|entry| {
            (
                entry.key.to_vec(),
                u64::from_be_bytes(entry.value[..8].try_into().unwrap()),
            )
        }));
    }
    assert_eq!(found, expected);
    last
}

#[tokio::test]
async fn a_clean_end_keeps_every_commit() {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::open(root.path(), FaultyDiskOptions::new(1)).unwrap();
    let kv = EmbeddedKv::open(&disk, CACHE_BYTES).unwrap();
    let mut version = CommitVersion(0);
    for number in 1..=100 {
        version = commit(&kv, number).await;
    }
    drop(kv);
    disk.crash().unwrap();
    let kv = EmbeddedKv::open(&disk, CACHE_BYTES).unwrap();
    assert_eq!(check_prefix(&kv).await, 100);
    assert!(
        commit(&kv, 101).await > version,
        "versions go on where they were"
    );
}

/// Crashes a store again and again at arbitrary commits. Whatever is found is a whole prefix of the
/// commits, and at least what was synced.
async fn crash_repeatedly(root: &Path, seed: u64) -> u64 {
    let random = clock::Random::from_seed(seed);
    let disk = FaultyDisk::open(root, FaultyDiskOptions::new(seed)).unwrap();
    let (mut last, mut lost) = (0, 0);
    for _ in 0..8 {
        let kv = EmbeddedKv::open(&disk, CACHE_BYTES).unwrap();
        assert_eq!(check_prefix(&kv).await, last);
        let mut synced = last;
        for _ in 0..random.below(40) {
            last += 1;
            commit(&kv, last).await;
            if random.chance(0.1) {
                kv.sync().await.unwrap();
                synced = last;
            }
        }
        disk.crash().unwrap();
        drop(kv); // Its files are those of the machine that crashed: its last sync reaches nothing.
        let kv = EmbeddedKv::open(&disk, CACHE_BYTES).unwrap();
        let found = check_prefix(&kv).await;
        assert!(
            synced <= found && found <= last,
            "{synced} <= {found} <= {last}"
        );
        lost += last - found;
        last = found;
        drop(kv);
    }
    lost
}

#[tokio::test]
async fn a_crash_leaves_a_whole_prefix_with_everything_that_was_synced() {
    let mut lost = 0;
    for seed in 0..12 {
        let root = tempfile::tempdir().unwrap();
        lost += crash_repeatedly(root.path(), seed).await;
    }
    assert!(lost > 0, "a crash that loses nothing tests nothing");
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(root.path()).unwrap();
    drop(EmbeddedKv::open(&disk, CACHE_BYTES).unwrap());
    let database = Database::open(root.path().join(FILE_NAME)).unwrap();
    let write = database.begin_write().unwrap();
    write
        .open_table(ABOUT)
        .unwrap()
        .insert(ABOUT_FORMAT, FORMAT + 1)
        .unwrap();
    write.commit().unwrap();
    drop(database);
    let refused = EmbeddedKv::open(&disk, CACHE_BYTES).err().unwrap();
    assert!(
        matches!(refused, KvError::NewerFormat { found: 2, known: 1 }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_is_not_a_store_is_refused() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join(FILE_NAME), vec![7; 64 * 1024]).unwrap();
    let opened = EmbeddedKv::open(&RealDisk::open(root.path()).unwrap(), CACHE_BYTES);
    assert!(matches!(
        opened.err(),
        Some(KvError::Failed {
            maybe_committed: false,
            ..
        })
    ));
}

#[tokio::test]
async fn a_failed_sync_is_an_error_and_loses_no_synced_commit() {
    let root = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::open(root.path(), FaultyDiskOptions::new(3)).unwrap();
    let kv = EmbeddedKv::open(&disk, CACHE_BYTES).unwrap();
    commit(&kv, 1).await;
    kv.sync().await.unwrap();
    commit(&kv, 2).await;
    disk.fail_sync_after(0);
    assert!(matches!(kv.sync().await, Err(KvError::Failed { .. })));
    assert!(
        kv.sync().await.is_err(),
        "after a failed sync nobody may be told that all is well"
    );
    disk.crash().unwrap();
    drop(kv);
    let kv = EmbeddedKv::open(&disk, CACHE_BYTES).unwrap();
    assert!(check_prefix(&kv).await >= 1);
}

#[tokio::test]
async fn a_transaction_that_outlives_its_store_fails_and_blocks_nothing() {
    let root = tempfile::tempdir().unwrap();
    let kv = EmbeddedKv::open(&RealDisk::open(root.path()).unwrap(), CACHE_BYTES).unwrap();
    let transaction = kv.begin().await.unwrap();
    transaction.set(b"a", b"1");
    drop(kv);
    assert!(matches!(transaction.commit().await, Err(KvError::Closed)));
}
