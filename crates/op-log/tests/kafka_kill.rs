//! A real Kafka broker that is killed while records are appended to it. It is a program of its own,
//! since nothing else may use the broker meanwhile; `cargo xtask test --only kafka` runs it.
#![allow(clippy::unwrap_used)] // Tests.

#[path = "kafka/topic.rs"]
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use document_types::{DocumentId, LogOffset, LogPartition};
use futures::future::join_all;
use op_log::conformance::read_to_tail;
use op_log::{AppendError, KafkaOpLog, OpLog, ReadError, ReadLimit};
use test_parts::parts;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use topic::new_topic;

const FIRST: LogPartition = LogPartition(0);
const START: LogOffset = LogOffset(0);
const KILLS: usize = 3;
/// Acknowledgements between two kills.
const ACKS_PER_KILL: usize = 300;
const APPENDERS: u32 = 8;
const IN_FLIGHT: usize = 10;

/// There is one broker: a test has it to itself.
static BROKER: Mutex<()> = Mutex::const_new(());

fn document() -> DocumentId {
    DocumentId::parse("doc").unwrap()
}

/// Appends records one after the other without waiting for each, until it is told to stop; one whose
/// result is an error is appended again until there is an offset. Gives the offsets.
async fn append_on(
    log: Arc<dyn OpLog>,
    appender: u32,
    acks: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, LogOffset> {
    let partition = LogPartition(appender % 2);
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut settling = JoinSet::new();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let permit = Arc::clone(&in_flight).acquire_owned().await.unwrap();
        let record = format!("{appender}/{number}");
        let first = log.append(partition, &document(), Bytes::from(record.clone()));
        let (log, acks) = (Arc::clone(&log), Arc::clone(&acks));
        let settle = async move {
            let _permit = permit;
            let mut result = first.await;
            loop {
                match result {
                    Ok(offset) => {
                        acks.fetch_add(1, Ordering::Relaxed);
                        return (record, offset);
                    }
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
                let again = log.append(partition, &document(), Bytes::from(record.clone()));
                result = again.await;
            }
        };
        settling.spawn(settle);
    }
    settling.join_all().await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_killed_broker_has_lost_nothing_and_kept_the_order() {
    let _broker = BROKER.lock().await;
    let log: Arc<dyn OpLog> = Arc::new(KafkaOpLog::open(&new_topic(&[]).await).await.unwrap());
    let acks = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let appending = (0..APPENDERS).map(|appender| {
        append_on(
            Arc::clone(&log),
            appender,
            Arc::clone(&acks),
            Arc::clone(&stop),
        )
    });
    let killing = async {
        for kill in 1..=KILLS {
            while acks.load(Ordering::Relaxed) < kill * ACKS_PER_KILL {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            parts(&["kill", "kafka"]).await;
            parts(&["up"]).await;
        }
        let last = acks.load(Ordering::Relaxed) + ACKS_PER_KILL;
        while acks.load(Ordering::Relaxed) < last {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (acknowledged, ()) = tokio::join!(join_all(appending), killing);

    let mut duplicate_count = 0;
    for number in 0..2 {
        let partition = LogPartition(number);
        let entries = read_to_tail(&log, partition, START, ReadLimit::default()).await;
        let text = |offset: LogOffset| {
            let entry = &entries[usize::try_from(offset.0).unwrap()];
            String::from_utf8(entry.record.to_vec()).unwrap()
        };
        let mut next = BTreeMap::new();
        for entry in &entries {
            let record = text(entry.offset);
            let (appender, number) = record.split_once('/').unwrap();
            let (appender, number): (usize, u64) =
                (appender.parse().unwrap(), number.parse().unwrap());
            let next: &mut u64 = next.entry(appender).or_default();
            // A record is first met in its place; what comes again is one that was appended again.
            assert!(number <= *next, "{record} came before {appender}/{next}");
            duplicate_count += usize::from(number < *next);
            *next = (*next).max(number + 1);
        }
        for (appender, acknowledged) in acknowledged.iter().enumerate() {
            if appender % 2 != number as usize {
                continue;
            }
            for (record, offset) in acknowledged {
                assert_eq!(&text(*offset), record, "acknowledged at {offset}");
            }
            assert_eq!(next[&appender], acknowledged.len() as u64);
        }
    }
    let ack_count: usize = acknowledged.iter().map(BTreeMap::len).sum();
    println!("{ack_count} acknowledged, {duplicate_count} written again, {KILLS} kills");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn everything_goes_on_when_the_broker_is_back() {
    let _broker = BROKER.lock().await;
    let log: Arc<dyn OpLog> = Arc::new(KafkaOpLog::open(&new_topic(&[]).await).await.unwrap());
    let append = |record: &'static str| log.append(FIRST, &document(), Bytes::from(record));
    append("before").await.unwrap();
    // A read of what is not there yet makes the log follow the partition.
    let (followed, appended) = tokio::join!(
        log.read(FIRST, LogOffset(1), ReadLimit::default()),
        append("followed"),
    );
    assert_eq!(
        (followed.unwrap().len(), appended.unwrap()),
        (1, LogOffset(1))
    );
    let mut waiting = log.read(FIRST, LogOffset(2), ReadLimit::default());
    assert!(futures::poll!(&mut waiting).is_pending());

    parts(&["kill", "kafka"]).await;
    let meanwhile = append("meanwhile").await;
    assert!(
        matches!(meanwhile, Err(AppendError::Unknown(_))),
        "{meanwhile:?}"
    );
    let tail = log.tail(FIRST).await;
    assert!(matches!(tail, Err(ReadError::Unavailable(_))), "{tail:?}");
    let trim = log.trim(FIRST, LogOffset(1)).await;
    assert!(
        matches!(&trim, Err(error) if error.is_retryable()),
        "{trim:?}"
    );
    assert!(
        futures::poll!(&mut waiting).is_pending(),
        "a read at the tail goes on waiting"
    );

    parts(&["up"]).await;
    // What is not known is settled by appending it again; it stands before what came after it.
    append("meanwhile").await.unwrap();
    append("after").await.unwrap();
    assert_eq!(waiting.await.unwrap()[0].record, "meanwhile");
    let entries = read_to_tail(&log, FIRST, START, ReadLimit::default()).await;
    let records: Vec<_> = entries.iter().map(|entry| &entry.record[..]).collect();
    let expected: [&[u8]; 5] = [b"before", b"followed", b"meanwhile", b"meanwhile", b"after"];
    assert_eq!(records, expected);
    log.trim(FIRST, LogOffset(2)).await.unwrap();
}
