//! What every [`OrderedKv`] has to do, as one suite of plain functions.
//!
//! Each function takes an empty store and panics where the store breaks the rule in its name. An
//! adapter's tests call [`all`] with a way to make such stores.

#![allow(clippy::unwrap_used)] // A suite says what is wrong by panicking.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use clock::Random;
use document_types::limits::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};

use crate::ordered_kv::{KeyRange, KeyValue, KvError, OrderedKv, Pages, RangeOptions, Transaction};
use crate::transact::transact;

/// A store under test.
pub type Store = Arc<dyn OrderedKv>;

/// Runs the whole suite, each rule on a store of its own.
pub async fn all<F: Future<Output = Store>>(mut empty_store: impl FnMut() -> F) {
    reads_its_own_writes(empty_store().await).await;
    reads_one_snapshot(empty_store().await).await;
    sees_every_commit_that_returned(empty_store().await).await;
    refuses_a_commit_whose_reads_were_overwritten(empty_store().await).await;
    refuses_a_commit_when_a_gap_that_it_read_was_filled(empty_store().await).await;
    lets_commits_through_that_do_not_conflict(empty_store().await).await;
    ignores_snapshot_reads_and_unread_rest_of_pages(empty_store().await).await;
    keeps_added_conflicts(empty_store().await).await;
    reads_alone_always_commit(empty_store().await).await;
    pages_ranges_both_ways(empty_store().await).await;
    clears_ranges_in_the_order_of_the_calls(empty_store().await).await;
    refuses_what_is_too_large(empty_store().await).await;
    gives_growing_versions(empty_store().await).await;
    abandons_what_is_dropped(empty_store().await).await;
    counts_exactly_under_contention(empty_store().await).await;
    behaves_like_a_map(empty_store().await, 0x5eed).await;
}

/// A transaction sees what it wrote itself, over what was there, and nobody else does.
pub async fn reads_its_own_writes(store: Store) {
    put(&store, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    let own = begin(&store).await;
    own.set(b"b", b"2");
    own.set(b"bb", b"2");
    own.clear(b"c");
    assert_eq!(own.get(b"b").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(own.get(b"c").await.unwrap(), None);
    assert_eq!(
        read_all(&*own, false).await,
        pairs(&[("a", "1"), ("b", "2"), ("bb", "2")])
    );
    assert_eq!(
        read_all(&*own, true).await,
        pairs(&[("bb", "2"), ("b", "2"), ("a", "1")])
    );
    let other = begin(&store).await;
    assert_eq!(
        read_all(&*other, false).await,
        pairs(&[("a", "1"), ("b", "1"), ("c", "1")])
    );
}

/// All reads of a transaction are of one version, whatever is committed meanwhile.
pub async fn reads_one_snapshot(store: Store) {
    put(&store, &[("a", "1"), ("b", "1")]).await;
    let reader = begin(&store).await;
    let version = reader.read_version().await.unwrap();
    assert_eq!(reader.get(b"a").await.unwrap().as_deref(), Some(&b"1"[..]));
    put(&store, &[("a", "2"), ("b", "2"), ("c", "2")]).await;
    assert_eq!(reader.get(b"b").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(reader.get_snapshot(b"c").await.unwrap(), None);
    assert_eq!(
        read_all(&*reader, false).await,
        pairs(&[("a", "1"), ("b", "1")])
    );
    assert_eq!(reader.read_version().await.unwrap(), version);
}

/// A transaction that begins after a commit returned sees it.
pub async fn sees_every_commit_that_returned(store: Store) {
    for round in 0..100_u32 {
        let writer = begin(&store).await;
        writer.set(b"round", &round.to_be_bytes());
        let version = writer.commit().await.unwrap();
        let reader = begin(&store).await;
        assert_eq!(
            reader.get(b"round").await.unwrap().unwrap().as_ref(),
            round.to_be_bytes()
        );
        assert!(reader.read_version().await.unwrap() >= version);
    }
}

/// Of two transactions that read and write one key the second to commit is refused.
pub async fn refuses_a_commit_whose_reads_were_overwritten(store: Store) {
    let (first, second) = (begin(&store).await, begin(&store).await);
    for transaction in [&first, &second] {
        assert_eq!(transaction.get(b"a").await.unwrap(), None);
        transaction.set(b"a", b"1");
    }
    first.commit().await.unwrap();
    assert!(matches!(second.commit().await, Err(KvError::NotCommitted)));
}

/// A range that was read counts with its gaps, whether others fill, change or clear them.
pub async fn refuses_a_commit_when_a_gap_that_it_read_was_filled(store: Store) {
    type Change = fn(&dyn Transaction);
    let changes: [Change; 3] = [
        |transaction| transaction.set(b"bb", b"new"),
        |transaction| transaction.clear(b"b"),
        |transaction| transaction.clear_range(&KeyRange::new("a0", "b0")),
    ];
    for change in changes {
        put(&store, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
        let reader = begin(&store).await;
        read_all(&*reader, false).await;
        reader.set(b"elsewhere", b"1");
        let writer = begin(&store).await;
        change(&*writer);
        writer.commit().await.unwrap();
        assert!(matches!(reader.commit().await, Err(KvError::NotCommitted)));
    }
}

/// Blind writes to one key, and reads and writes of different keys, all commit.
pub async fn lets_commits_through_that_do_not_conflict(store: Store) {
    let (first, second) = (begin(&store).await, begin(&store).await);
    first.get(b"a").await.unwrap();
    second.get(b"b").await.unwrap();
    first.set(b"x", b"1");
    second.set(b"x", b"2");
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    let reader = begin(&store).await;
    assert_eq!(
        reader.get(b"x").await.unwrap().as_deref(),
        Some(&b"2"[..]),
        "the later one wins"
    );
}

/// Snapshot reads conflict with nothing, and of a page only what it returned counts.
pub async fn ignores_snapshot_reads_and_unread_rest_of_pages(store: Store) {
    put(&store, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    let reader = begin(&store).await;
    reader.get_snapshot(b"a").await.unwrap();
    let all = KeyRange::new("a", "z");
    let snapshot = RangeOptions {
        snapshot: true,
        ..RangeOptions::default()
    };
    reader.get_range(&all, snapshot).await.unwrap();
    let last = RangeOptions {
        limit: 1,
        reverse: true,
        snapshot: false,
    };
    assert_eq!(reader.get_range(&all, last).await.unwrap().entries.len(), 1);
    reader.set(b"elsewhere", b"1");
    put(&store, &[("a", "2"), ("b", "2"), ("bb", "2")]).await;
    reader.commit().await.unwrap();
}

/// Conflicts that were added count like reads and writes.
pub async fn keeps_added_conflicts(store: Store) {
    let (reader, writer) = (begin(&store).await, begin(&store).await);
    reader.read_version().await.unwrap();
    writer.read_version().await.unwrap();
    reader.add_read_conflict_key(b"a");
    reader.set(b"elsewhere", b"1");
    writer.add_write_conflict_key(b"a");
    writer.commit().await.unwrap();
    assert!(matches!(reader.commit().await, Err(KvError::NotCommitted)));

    let (reader, writer) = (begin(&store).await, begin(&store).await);
    reader.read_version().await.unwrap();
    reader.add_read_conflict_range(&KeyRange::new("k", "m"));
    reader.set(b"elsewhere", b"1");
    writer.add_write_conflict_range(&KeyRange::new("l", "z"));
    writer.commit().await.unwrap();
    assert!(matches!(reader.commit().await, Err(KvError::NotCommitted)));
}

/// A transaction that only read commits, even if what it read has changed.
pub async fn reads_alone_always_commit(store: Store) {
    let reader = begin(&store).await;
    reader.get(b"a").await.unwrap();
    put(&store, &[("a", "1")]).await;
    reader.commit().await.unwrap();
}

/// Ranges are read page by page, forwards and backwards, own writes included.
pub async fn pages_ranges_both_ways(store: Store) {
    let writer = begin(&store).await;
    for number in (0..500_u32).step_by(2) {
        writer.set(&number.to_be_bytes(), b"even");
    }
    writer.commit().await.unwrap();
    let reader = begin(&store).await;
    for number in (101..300_u32).step_by(2) {
        reader.set(&number.to_be_bytes(), b"odd");
    }
    let range = KeyRange::new(
        Bytes::copy_from_slice(&100_u32.to_be_bytes()),
        Bytes::copy_from_slice(&200_u32.to_be_bytes()),
    );
    for (limit, reverse) in [
        (1, false),
        (7, false),
        (100, false),
        (7, true),
        (1_000, true),
    ] {
        let options = RangeOptions {
            limit,
            reverse,
            snapshot: false,
        };
        let mut pages = Pages::new(&*reader, range.clone(), options);
        let mut numbers = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            assert!(page.len() <= limit);
            numbers.extend(page.iter().map(|entry| {
                u32::from_be_bytes(
                    entry
                        .key
                        .as_ref()
                        .try_into()
                        .expect("keys here have 4 bytes"),
                )
            }));
        }
        let mut expected: Vec<u32> = (100..200).collect();
        if reverse {
            expected.reverse();
        }
        assert_eq!(numbers, expected);
    }
}

/// A range clears what was set before it, and not what is set after it.
pub async fn clears_ranges_in_the_order_of_the_calls(store: Store) {
    put(&store, &[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]).await;
    let writer = begin(&store).await;
    writer.set(b"bb", b"gone");
    writer.clear_range(&KeyRange::new("b", "d"));
    writer.set(b"c", b"kept");
    let expected = pairs(&[("a", "1"), ("c", "kept"), ("d", "1")]);
    assert_eq!(read_all(&*writer, false).await, expected);
    writer.commit().await.unwrap();
    assert_eq!(read_all(&*begin(&store).await, false).await, expected);
}

/// Keys, values and transactions at their limits are taken, and over them refused whole.
pub async fn refuses_what_is_too_large(store: Store) {
    let longest_key = vec![b'k'; KEY_BYTES_MAX];
    let writer = begin(&store).await;
    writer.set(&longest_key, &vec![0; VALUE_BYTES_MAX]);
    writer.commit().await.unwrap();

    let writer = begin(&store).await;
    writer.set(b"small", b"1");
    writer.set(&vec![b'k'; KEY_BYTES_MAX + 1], b"");
    assert!(matches!(
        writer.commit().await,
        Err(KvError::KeyTooLarge { .. })
    ));

    let writer = begin(&store).await;
    writer.set(b"small", b"1");
    writer.set(b"v", &vec![0; VALUE_BYTES_MAX + 1]);
    assert!(matches!(
        writer.commit().await,
        Err(KvError::ValueTooLarge { .. })
    ));

    let writer = begin(&store).await;
    writer.set(b"small", b"1");
    for number in 0..=TRANSACTION_BYTES_MAX / VALUE_BYTES_MAX {
        writer.set(&number.to_be_bytes(), &vec![0; VALUE_BYTES_MAX]);
    }
    assert!(writer.approximate_size_bytes().await.unwrap() > TRANSACTION_BYTES_MAX);
    assert!(matches!(
        writer.commit().await,
        Err(KvError::TransactionTooLarge { .. })
    ));
    assert_eq!(begin(&store).await.get(b"small").await.unwrap(), None);
}

/// Later commits have larger versions, and `sync` answers with one that covers them.
pub async fn gives_growing_versions(store: Store) {
    let mut last = begin(&store).await.read_version().await.unwrap();
    for round in 0..50_u8 {
        let writer = begin(&store).await;
        writer.set(b"round", &[round]);
        let version = writer.commit().await.unwrap();
        assert!(version > last);
        last = version;
    }
    assert!(store.sync().await.unwrap() >= last);
}

/// A transaction that is dropped leaves nothing behind, not even a conflict.
pub async fn abandons_what_is_dropped(store: Store) {
    let reader = begin(&store).await;
    reader.get(b"a").await.unwrap();
    reader.set(b"b", b"1");
    let dropped = begin(&store).await;
    dropped.set(b"a", b"1");
    drop(dropped);
    reader.commit().await.unwrap();
    assert_eq!(begin(&store).await.get(b"a").await.unwrap(), None);
}

/// Increments by several tasks at once are all counted, once each.
pub async fn counts_exactly_under_contention(store: Store) {
    let increment = |store: Store, seed: u64| async move {
        let random = Random::from_seed(seed);
        let mut done = 0_u64;
        while done < 25 {
            let incremented = transact(&*store, &random, |transaction| async move {
                let count = transaction.get(b"count").await?.map_or(0, |bytes| bytes[0]);
                tokio::task::yield_now().await;
                transaction.set(b"count", &[count + 1]);
                transaction.commit().await
            });
            match incremented.await {
                Ok(_) => done += 1,
                Err(KvError::NotCommitted) => {}
                Err(error) => panic!("the only retryable error here is a conflict, not {error}"),
            }
        }
    };
    futures::future::join_all((0..8).map(|seed| increment(Arc::clone(&store), seed))).await;
    let count = begin(&store).await.get(b"count").await.unwrap().unwrap();
    assert_eq!(count.as_ref(), [200]);
}

/// Random transactions one after the other do to the store what they do to a map.
pub async fn behaves_like_a_map(store: Store, seed: u64) {
    let random = Random::from_seed(seed);
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let key = || {
        vec![
            b'a',
            u8::try_from(random.below(50)).expect("it is below 50"),
        ]
    };
    for _ in 0..200 {
        let transaction = begin(&store).await;
        let mut changed = model.clone();
        for _ in 0..random.below(10) {
            match random.below(4) {
                0 => {
                    let key = key();
                    transaction.clear(&key);
                    changed.remove(&key);
                }
                1 => {
                    let (begin, end) = (key(), key());
                    transaction.clear_range(&KeyRange::new(begin.clone(), end.clone()));
                    changed.retain(|key, _| !(begin <= *key && *key < end));
                }
                _ => {
                    let (key, value) = (key(), random.next_u64().to_be_bytes());
                    transaction.set(&key, &value);
                    changed.insert(key, value.to_vec());
                }
            }
            assert_same(&read_all(&*transaction, random.chance(0.5)).await, &changed);
        }
        if random.chance(0.8) {
            transaction.commit().await.unwrap();
            model = changed;
        }
        assert_same(&read_all(&*begin(&store).await, false).await, &model);
    }
}

fn assert_same(found: &[KeyValue], model: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let found: BTreeMap<_, _> = found
        .iter()
        .map(|entry| (entry.key.to_vec(), entry.value.to_vec()))
        .collect();
    assert_eq!(&found, model);
}

async fn begin(store: &Store) -> Box<dyn Transaction> {
    store.begin().await.unwrap()
}

async fn put(store: &Store, entries: &[(&str, &str)]) {
    let writer = begin(store).await;
    for (key, value) in entries {
        writer.set(key.as_bytes(), value.as_bytes());
    }
    writer.commit().await.unwrap();
}

async fn read_all(transaction: &dyn Transaction, reverse: bool) -> Vec<KeyValue> {
    let options = RangeOptions {
        limit: 3,
        reverse,
        snapshot: false,
    };
    let mut pages = Pages::new(transaction, KeyRange::new("a", "e"), options);
    let mut entries = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        entries.extend(page);
    }
    entries
}

fn pairs(entries: &[(&str, &str)]) -> Vec<KeyValue> {
    entries
        .iter()
        .map(|(key, value)| KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
        })
        .collect()
}
