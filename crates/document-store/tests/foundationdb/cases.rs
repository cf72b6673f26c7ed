//! What only a real cluster can show, besides the conformance suite.

use std::cell::Cell;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Random;
use document_store::ordered_kv::{KeyRange, Pages, RangeOptions, Transaction};
use document_store::{
    AppendOutcome, DocumentStore, FoundationDbKv, FoundationDbNetwork, FoundationDbOpenError,
    FoundationDbOptions, KvError, OrderedKv, conformance, transact,
};
use document_types::DocumentId;
use document_types::limits::{
    FOUNDATIONDB_TRANSACTION_TIME_MAX, KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX,
};
use futures::future::LocalBoxFuture;
use tokio::time::timeout;

use super::cluster::Cluster;
use super::harness::CHILD;
use super::records::{record, source, update};

/// Increments of each process that counts.
const INCREMENTS: u32 = 50;
/// How long a condition may take that time brings about.
const PATIENCE: Duration = Duration::from_secs(30);

type Case = for<'a> fn(&'a Cluster<'_>) -> LocalBoxFuture<'a, ()>;

macro_rules! cases {
    ($($name:ident)*) => { &[$((stringify!($name), |cluster| Box::pin($name(cluster)))),*] };
}

pub const CASES: &[(&str, Case)] = cases! {
    it_conforms
    a_conflict_is_tried_again
    a_lasting_conflict_is_given_up
    processes_count_together
    a_range_larger_than_a_page_is_read_whole
    values_larger_than_a_page_are_read_whole
    sizes_are_refused_with_what_they_were
    stores_of_one_cluster_do_not_see_each_other
    a_transaction_that_is_too_old_is_told_so
    a_cluster_that_is_away_is_an_error_in_time
    what_can_not_be_opened_is_told_so
    documents_are_appended_once
};

async fn it_conforms(cluster: &Cluster<'_>) {
    conformance::all(|| std::future::ready(cluster.new_store() as conformance::Store)).await;
}

async fn a_conflict_is_tried_again(cluster: &Cluster<'_>) {
    let (store, runs) = (cluster.new_store(), Cell::new(0));
    transact(&*store, &Random::from_seed(1), |transaction| {
        runs.set(runs.get() + 1);
        let (store, is_first) = (Arc::clone(&store), runs.get() == 1);
        async move {
            let found = transaction.get(b"key").await?;
            if is_first {
                set(&store, b"key", b"theirs").await;
            }
            transaction.set(b"found", &found.unwrap_or_default());
            transaction.commit().await
        }
    })
    .await
    .unwrap();
    assert_eq!(runs.get(), 2);
    assert_eq!(get(&store, b"found").await.as_deref(), Some(&b"theirs"[..]));
}

async fn a_lasting_conflict_is_given_up(cluster: &Cluster<'_>) {
    let (store, random) = (cluster.new_store(), Random::from_seed(1));
    let result = transact(&*store, &random, |transaction| {
        let store = Arc::clone(&store);
        async move {
            transaction.get(b"key").await?;
            set(&store, b"key", b"theirs").await;
            transaction.set(b"key", b"ours");
            transaction.commit().await
        }
    });
    assert!(matches!(result.await, Err(KvError::NotCommitted)));
    assert_eq!(get(&store, b"key").await.as_deref(), Some(&b"theirs"[..]));
}

async fn processes_count_together(cluster: &Cluster<'_>) {
    let prefix = cluster.new_prefix();
    let hexadecimal: String = prefix.iter().map(|byte| format!("{byte:02x}")).collect();
    let children: Vec<_> = (1..=2_u32)
        .map(|number| {
            Command::new(std::env::current_exe().unwrap())
                .args([CHILD, &hexadecimal, &number.to_string()])
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let store = cluster.store_at(&prefix);
    count(&store, 0).await;
    for mut child in children {
        let ended = tokio::task::spawn_blocking(move || child.wait());
        assert!(ended.await.unwrap().unwrap().success());
    }
    let counted = get(&store, b"count").await.unwrap();
    assert_eq!(number(&counted), 3 * INCREMENTS);
}

/// What a process does that [`processes_count_together`] starts.
pub async fn count_as_child(cluster: &Cluster<'_>, process: u32) {
    count(&cluster.shared_store(), process).await;
}

/// Increments the one count of all processes, each increment once, even if the result of its commit
/// was unknown.
async fn count(store: &FoundationDbKv, process: u32) {
    let random = Random::from_seed(u64::from(process));
    for increment in 0..INCREMENTS {
        let done = [process.to_be_bytes(), increment.to_be_bytes()].concat();
        loop {
            let counted = transact(store, &random, |transaction| {
                let done = done.clone();
                async move {
                    if transaction.get(&done).await?.is_some() {
                        return Ok(());
                    }
                    let count = transaction.get(b"count").await?;
                    let count = count.map_or(0, |count| number(&count));
                    transaction.set(b"count", &(count + 1).to_be_bytes());
                    transaction.set(&done, b"");
                    transaction.commit().await.map(drop)
                }
            });
            match counted.await {
                Ok(()) => break,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    }
}

async fn a_range_larger_than_a_page_is_read_whole(cluster: &Cluster<'_>) {
    const ENTRIES: u32 = 3_000;
    let store = cluster.new_store();
    for first in (0..ENTRIES).step_by(1_000) {
        let transaction = store.begin().await.unwrap();
        for entry in first..first + 1_000 {
            transaction.set(&entry.to_be_bytes(), &[7; 1_000]);
        }
        transaction.commit().await.unwrap();
    }
    let transaction = store.begin().await.unwrap();
    for reverse in [false, true] {
        let pages = read_pages(&*transaction, usize::MAX, reverse).await;
        assert!(pages.len() > 1, "it is larger than a page");
        let mut numbers: Vec<_> = pages.concat();
        if reverse {
            numbers.reverse();
        }
        assert_eq!(numbers, (0..ENTRIES).collect::<Vec<_>>());
    }
    let pages = read_pages(&*transaction, 100, false).await;
    assert!(pages.iter().all(|page| page.len() <= 100));
    assert_eq!(pages.concat().len(), ENTRIES as usize);
}

async fn values_larger_than_a_page_are_read_whole(cluster: &Cluster<'_>) {
    let store = cluster.new_store();
    let transaction = store.begin().await.unwrap();
    for entry in 0..50_u32 {
        transaction.set(&entry.to_be_bytes(), &[7; VALUE_BYTES_MAX]);
    }
    transaction.commit().await.unwrap();
    let transaction = store.begin().await.unwrap();
    let pages = read_pages(&*transaction, 1_000, false).await;
    assert_eq!(pages.concat(), (0..50).collect::<Vec<_>>());
    // However large it is, a page has one, or nobody could read on; the last may say that there is no more.
    let (_, before) = pages.split_last().unwrap();
    assert!(before.iter().all(|page| !page.is_empty()));
}

async fn sizes_are_refused_with_what_they_were(cluster: &Cluster<'_>) {
    let store = cluster.new_store();
    let longest = vec![0xff; KEY_BYTES_MAX];
    set(&store, &longest, b"1").await;
    assert_eq!(get(&store, &longest).await.as_deref(), Some(&b"1"[..]));
    let transaction = store.begin().await.unwrap();
    transaction.clear_range(&KeyRange::of_key(&longest));
    transaction.add_read_conflict_key(&longest);
    transaction.commit().await.unwrap();
    assert_eq!(get(&store, &longest).await, None);

    let too_long = vec![0xff; KEY_BYTES_MAX + 1];
    type Write = fn(&dyn Transaction, &[u8]);
    let writes: [Write; 5] = [
        |transaction, key| transaction.set(key, b""),
        |transaction, key| transaction.clear(key),
        |transaction, key| transaction.clear_range(&KeyRange::of_key(key)),
        |transaction, key| transaction.add_read_conflict_key(key),
        |transaction, key| transaction.add_write_conflict_key(key),
    ];
    for write in writes {
        let transaction = store.begin().await.unwrap();
        transaction.set(b"small", b"1");
        write(&*transaction, &too_long);
        let read = transaction.get(b"small").await;
        assert!(matches!(read, Err(KvError::KeyTooLarge { bytes }) if bytes > KEY_BYTES_MAX));
        let committed = transaction.commit().await;
        assert!(matches!(committed, Err(KvError::KeyTooLarge { .. })));
    }

    let transaction = store.begin().await.unwrap();
    transaction.set(b"small", b"1");
    transaction.set(b"large", &[0; VALUE_BYTES_MAX + 1]);
    let committed = transaction.commit().await;
    assert!(
        matches!(committed, Err(KvError::ValueTooLarge { bytes }) if bytes == VALUE_BYTES_MAX + 1)
    );

    let transaction = store.begin().await.unwrap();
    transaction.set(b"small", b"1");
    for entry in 0..=TRANSACTION_BYTES_MAX / VALUE_BYTES_MAX {
        transaction.set(&entry.to_be_bytes(), &[0; VALUE_BYTES_MAX]);
    }
    let committed = transaction.commit().await;
    assert!(
        matches!(committed, Err(KvError::TransactionTooLarge { bytes }) if bytes > TRANSACTION_BYTES_MAX)
    );
    assert_eq!(get(&store, b"small").await, None);
}

async fn stores_of_one_cluster_do_not_see_each_other(cluster: &Cluster<'_>) {
    let stores = [
        cluster.new_store(),
        cluster.new_store(),
        cluster.new_store(),
    ];
    for key in [&b""[..], b"\x00", b"key", b"\xff\xff\xff"] {
        set(&stores[1], key, b"middle").await;
    }
    let all = KeyRange::new("", vec![0xff; 4]);
    for (store, count) in stores.iter().zip([0, 4, 0]) {
        let transaction = store.begin().await.unwrap();
        let page = transaction.get_range(&all, RangeOptions::default()).await;
        assert_eq!(page.unwrap().entries.len(), count);
    }
    for neighbour in [&stores[0], &stores[2]] {
        let transaction = neighbour.begin().await.unwrap();
        transaction.clear_range(&all);
        transaction.commit().await.unwrap();
    }
    let transaction = stores[1].begin().await.unwrap();
    let page = transaction.get_range(&all, RangeOptions::default()).await;
    assert_eq!(page.unwrap().entries.len(), 4);
}

async fn a_transaction_that_is_too_old_is_told_so(cluster: &Cluster<'_>) {
    let store = cluster.new_store();
    let (reader, writer) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    for transaction in [&reader, &writer] {
        transaction.get(b"key").await.unwrap();
    }
    writer.set(b"key", b"late");
    // Versions, by which the cluster tells age, go on with commits.
    let grows_old = async {
        for number in 0_u64.. {
            set(&store, b"clock", &number.to_be_bytes()).await;
            // A key that was not read yet: what was is not read again.
            match reader.get(&number.to_be_bytes()).await {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
        unreachable!("numbers don't end");
    };
    let error = timeout(PATIENCE, grows_old).await.unwrap();
    assert!(matches!(error, KvError::TransactionTooOld), "{error}");
    let error = writer.commit().await.unwrap_err();
    // The client's own time may be over, too, and then it does not ask the cluster.
    let says_so = matches!(
        error,
        KvError::TransactionTooOld | KvError::CommitUnknownResult
    );
    assert!(says_so, "{error}");
    assert_eq!(get(&store, b"key").await, None);
}

async fn a_cluster_that_is_away_is_an_error_in_time(cluster: &Cluster<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("away.cluster");
    // Nothing listens on port 1.
    std::fs::write(&file, "nobody:nothing@127.0.0.1:1").unwrap();
    let options = FoundationDbOptions {
        cluster_file: file,
        prefix: Bytes::from_static(b"t"),
    };
    let store = FoundationDbKv::open(cluster.network, &options).unwrap();
    let (reader, writer) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    writer.set(b"key", b"value");
    let answers = async { tokio::join!(reader.get(b"key"), writer.commit(), store.sync()) };
    let time_max = FOUNDATIONDB_TRANSACTION_TIME_MAX + Duration::from_secs(2);
    let (read, committed, synced) = timeout(time_max, answers).await.unwrap();
    assert!(matches!(read, Err(KvError::TransactionTooOld)));
    assert!(matches!(committed, Err(KvError::CommitUnknownResult)));
    assert!(matches!(synced, Err(KvError::TransactionTooOld)));
}

async fn what_can_not_be_opened_is_told_so(cluster: &Cluster<'_>) {
    let again = FoundationDbNetwork::run(|_| ());
    assert!(matches!(again, Err(FoundationDbOpenError::StartedBefore)));
    let open = |file: &str, prefix: &'static [u8]| {
        let options = FoundationDbOptions {
            cluster_file: cluster.file.with_file_name(file),
            prefix: Bytes::from_static(prefix),
        };
        FoundationDbKv::open(cluster.network, &options).map(drop)
    };
    let result = open("no such file", b"t");
    assert!(matches!(
        result,
        Err(FoundationDbOpenError::ClusterFile { .. })
    ));
    let result = open("nul\0", b"t");
    assert!(matches!(
        result,
        Err(FoundationDbOpenError::ClusterFilePath(_))
    ));
    for prefix in [&b""[..], b"\xff", b"123456789"] {
        let result = open("", prefix);
        assert!(matches!(
            result,
            Err(FoundationDbOpenError::InvalidPrefix(_))
        ));
    }
}

async fn documents_are_appended_once(cluster: &Cluster<'_>) {
    let kv = cluster.new_store();
    let open = || DocumentStore::open(kv.clone(), Random::from_seed(1));
    let (store, other) = (open().await.unwrap(), open().await.unwrap());
    let document = DocumentId::parse("doc_1").unwrap();
    let loaded = store.load_admission(&document).await.unwrap();
    let mut position = loaded.position(&source());
    for number in 0..20_u32 {
        let records = [record(u64::from(number), vec![update(1, number, 1_000)])];
        let (source, before) = (source(), position);
        let appended = store.append(&document, &source, before, &records).await;
        match appended.unwrap() {
            AppendOutcome::Appended {
                position: after, ..
            } => position = after,
            AppendOutcome::PositionMoved => panic!("nobody else writes here"),
        }
        // Another merger that has not noticed may not append it again.
        let appended = other.append(&document, &source, before, &records).await;
        assert!(matches!(appended.unwrap(), AppendOutcome::PositionMoved));
    }
    let loaded = other.load_admission(&document).await.unwrap();
    assert_eq!(loaded.position(&source()), position);
    assert_eq!(loaded.head.update_count, 20);
}

/// All keys of the store, which are numbers, page by page.
async fn read_pages(transaction: &dyn Transaction, limit: usize, reverse: bool) -> Vec<Vec<u32>> {
    let options = RangeOptions {
        limit,
        reverse,
        snapshot: true,
    };
    let mut pages = Pages::new(transaction, KeyRange::new("", vec![0xff; 5]), options);
    let mut numbers = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        numbers.push(page.iter().map(|entry| number(&entry.key)).collect());
    }
    numbers
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

async fn set(store: &FoundationDbKv, key: &[u8], value: &[u8]) {
    let transaction = store.begin().await.unwrap();
    transaction.set(key, value);
    transaction.commit().await.unwrap();
}

async fn get(store: &FoundationDbKv, key: &[u8]) -> Option<Bytes> {
    store.begin().await.unwrap().get(key).await.unwrap()
}
