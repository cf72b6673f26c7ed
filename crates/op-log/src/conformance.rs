//! [`OpLog`]'s specification as tests. Every adapter runs all of them, by [`conformance_tests!`].
//!
//! Each is given a log of its own that is empty, has at least two partitions, and neither fails nor
//! duplicates by design.
#![allow(clippy::unwrap_used, missing_docs)] // Tests, whose names say what they show.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use document_types::limits::{LOG_ID_BYTES_MAX, LOG_RECORD_BYTES_MAX};
use document_types::{DocumentId, LogOffset, LogPartition};
use futures::future::join_all;
use futures::poll;

use crate::{AppendError, LogEntry, OpLog, ReadError, ReadLimit, TrimError};

/// Makes a test of each conformance test. The first argument is the attribute of the tests, as in
/// `#[tokio::test]`; the second is a path to an `async fn() -> (Arc<dyn OpLog>, T)` that makes a log
/// and something to keep until the test is over, for instance a temporary directory.
#[macro_export]
macro_rules! conformance_tests {
    (#[$attribute:meta] $make_log:path) => {
        $crate::conformance_tests! {
            #[$attribute] $make_log,
            a_log_has_an_id,
            a_new_log_is_empty,
            offsets_are_consecutive_in_each_partition,
            the_order_of_calls_is_the_order_of_records,
            an_append_whose_future_is_dropped_is_written,
            what_was_appended_is_read,
            a_read_begins_where_it_is_told_to,
            a_read_keeps_its_limits_but_returns_one_entry,
            a_read_at_the_tail_waits,
            a_dropped_read_loses_nothing,
            a_read_beyond_the_tail_is_refused,
            an_append_that_resolved_is_below_the_tail,
            the_same_bytes_twice_are_two_entries,
            every_concurrent_append_is_there_once,
            many_entries_are_read_in_pieces,
            the_largest_record_fits_and_a_larger_one_is_refused,
            partitions_that_do_not_exist_are_refused,
            trimming_gives_up_what_is_below,
            trimming_again_or_less_does_nothing,
            trimming_beyond_the_tail_is_refused,
            offsets_go_on_after_everything_was_trimmed,
        }
    };
    (#[$attribute:meta] $make_log:path, $($name:ident,)*) => {
        $(
            #[$attribute]
            async fn $name() {
                let (log, _kept) = $make_log().await;
                $crate::conformance::$name(log).await;
            }
        )*
    };
}

const FIRST: LogPartition = LogPartition(0);
const SECOND: LogPartition = LogPartition(1);
const START: LogOffset = LogOffset(0);

fn document(name: &str) -> DocumentId {
    DocumentId::parse(name).unwrap()
}

async fn append(log: &Arc<dyn OpLog>, partition: LogPartition, record: &str) -> LogOffset {
    let record = Bytes::copy_from_slice(record.as_bytes());
    log.append(partition, &document("doc"), record)
        .await
        .unwrap()
}

/// The entries from `from` to the tail, in as many reads as it takes.
pub async fn read_to_tail(
    log: &Arc<dyn OpLog>,
    partition: LogPartition,
    from: LogOffset,
    limit: ReadLimit,
) -> Vec<LogEntry> {
    let (mut entries, mut next) = (Vec::new(), from);
    let tail = log.tail(partition).await.unwrap();
    while next < tail {
        let read = log.read(partition, next, limit).await.unwrap();
        assert!(!read.is_empty(), "a read returns something");
        for entry in &read {
            assert_eq!(entry.offset, next, "a read has no gaps");
            next = next.next();
        }
        entries.extend(read);
    }
    entries
}

fn records(entries: &[LogEntry]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| std::str::from_utf8(&entry.record).unwrap())
        .collect()
}

pub async fn a_log_has_an_id(log: Arc<dyn OpLog>) {
    let id = log.id().to_owned();
    assert!((1..=LOG_ID_BYTES_MAX).contains(&id.len()));
    log.append(FIRST, &document("a"), Bytes::new())
        .await
        .unwrap();
    assert_eq!(log.id(), id);
}

pub async fn a_new_log_is_empty(log: Arc<dyn OpLog>) {
    for partition in (0..log.partition_count()).map(LogPartition) {
        assert_eq!(log.tail(partition).await.unwrap(), START);
        assert_eq!(log.trim_point(partition).await.unwrap(), START);
    }
}

pub async fn offsets_are_consecutive_in_each_partition(log: Arc<dyn OpLog>) {
    for number in 0..3 {
        assert_eq!(append(&log, FIRST, "a").await, LogOffset(number));
        assert_eq!(append(&log, SECOND, "b").await, LogOffset(number));
    }
    assert_eq!(log.tail(FIRST).await.unwrap(), LogOffset(3));
    assert_eq!(log.tail(SECOND).await.unwrap(), LogOffset(3));
}

pub async fn the_order_of_calls_is_the_order_of_records(log: Arc<dyn OpLog>) {
    let appends: Vec<_> = (0..200)
        .map(|number| log.append(FIRST, &document("doc"), Bytes::from(number.to_string())))
        .collect();
    // Awaiting the last first must not change the order.
    let mut offsets = Vec::new();
    for append in appends.into_iter().rev() {
        offsets.push(append.await.unwrap());
    }
    offsets.reverse();
    assert_eq!(offsets, (0..200).map(LogOffset).collect::<Vec<_>>());
    let entries = read_to_tail(&log, FIRST, START, ReadLimit::default()).await;
    assert_eq!(
        records(&entries),
        (0..200)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    );
}

pub async fn an_append_whose_future_is_dropped_is_written(log: Arc<dyn OpLog>) {
    drop(log.append(FIRST, &document("doc"), Bytes::from_static(b"never polled")));
    assert_eq!(append(&log, FIRST, "awaited").await, LogOffset(1));
    let entries = read_to_tail(&log, FIRST, START, ReadLimit::default()).await;
    assert_eq!(records(&entries), ["never polled", "awaited"]);
}

pub async fn what_was_appended_is_read(log: Arc<dyn OpLog>) {
    let appended = [
        ("doc_1", Bytes::from_static(b"\0\xff binary")),
        ("notes/überblick 7", Bytes::new()),
        (&"x".repeat(128), Bytes::from(vec![7; 100_000])),
    ]
    .map(|(name, record)| (document(name), record));
    for (document, record) in &appended {
        log.append(SECOND, document, record.clone()).await.unwrap();
    }
    let entries = read_to_tail(&log, SECOND, START, ReadLimit::default()).await;
    let read: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.document, entry.record))
        .collect();
    assert_eq!(read, appended);
}

pub async fn a_read_begins_where_it_is_told_to(log: Arc<dyn OpLog>) {
    for record in ["a", "b", "c", "d"] {
        append(&log, FIRST, record).await;
    }
    for (from, expected) in [
        (0, &["a", "b", "c", "d"][..]),
        (2, &["c", "d"]),
        (3, &["d"]),
    ] {
        let entries = read_to_tail(&log, FIRST, LogOffset(from), ReadLimit::default()).await;
        assert_eq!(records(&entries), expected);
    }
}

pub async fn a_read_keeps_its_limits_but_returns_one_entry(log: Arc<dyn OpLog>) {
    for record in ["aaaa", "bbbb", "cccc", "dddd"] {
        append(&log, FIRST, record).await;
    }
    let read = async |entries_max, bytes_max| {
        let limit = ReadLimit {
            entries_max,
            bytes_max,
        };
        log.read(FIRST, START, limit).await.unwrap().len()
    };
    // Fewer are allowed, more are not.
    assert!((1..=3).contains(&read(3, 1_000).await));
    assert!((1..=2).contains(&read(100, 8).await));
    assert!((1..=2).contains(&read(100, 11).await));
    assert_eq!(read(1, 1_000).await, 1);
    assert_eq!(
        read(100, 1).await,
        1,
        "an entry above the limit is returned alone"
    );
    assert_eq!(read(0, 0).await, 1);
}

pub async fn a_read_at_the_tail_waits(log: Arc<dyn OpLog>) {
    append(&log, FIRST, "before").await;
    let mut waiting = log.read(FIRST, LogOffset(1), ReadLimit::default());
    assert!(poll!(&mut waiting).is_pending());
    append(&log, SECOND, "elsewhere").await;
    assert!(
        poll!(&mut waiting).is_pending(),
        "another partition's entry is not one of this"
    );
    append(&log, FIRST, "after").await;
    assert_eq!(records(&waiting.await.unwrap()), ["after"]);
}

pub async fn a_dropped_read_loses_nothing(log: Arc<dyn OpLog>) {
    let mut waiting = log.read(FIRST, START, ReadLimit::default());
    assert!(poll!(&mut waiting).is_pending());
    drop(waiting);
    append(&log, FIRST, "a").await;
    let mut half_way = log.read(FIRST, START, ReadLimit::default());
    let _ = poll!(&mut half_way);
    drop(half_way);
    let entries = log.read(FIRST, START, ReadLimit::default()).await.unwrap();
    assert_eq!(records(&entries), ["a"]);
}

pub async fn a_read_beyond_the_tail_is_refused(log: Arc<dyn OpLog>) {
    append(&log, FIRST, "a").await;
    let beyond = log.read(FIRST, LogOffset(2), ReadLimit::default()).await;
    assert!(
        matches!(beyond, Err(ReadError::BeyondTail { tail: LogOffset(1) })),
        "{beyond:?}"
    );
}

pub async fn an_append_that_resolved_is_below_the_tail(log: Arc<dyn OpLog>) {
    for _ in 0..20 {
        let offset = append(&log, FIRST, "a").await;
        assert!(log.tail(FIRST).await.unwrap() > offset);
        let entries = log.read(FIRST, offset, ReadLimit::default()).await.unwrap();
        assert_eq!(entries[0].offset, offset);
    }
}

pub async fn the_same_bytes_twice_are_two_entries(log: Arc<dyn OpLog>) {
    let (first, second) = (
        append(&log, FIRST, "a").await,
        append(&log, FIRST, "a").await,
    );
    assert_ne!(first, second);
    assert_eq!(log.tail(FIRST).await.unwrap(), LogOffset(2));
}

pub async fn every_concurrent_append_is_there_once(log: Arc<dyn OpLog>) {
    let appenders = (0..8).map(|appender| {
        let log = Arc::clone(&log);
        async move {
            let partition = LogPartition(appender % 2);
            let mut offsets = Vec::new();
            for number in 0..25 {
                let record = format!("{appender}/{number}");
                offsets.push((append(&log, partition, &record).await, record));
            }
            (partition, offsets)
        }
    });
    let mut expected: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (partition, offsets) in join_all(appenders).await {
        expected.entry(partition).or_default().extend(offsets);
    }
    for (partition, expected) in expected {
        let entries = read_to_tail(&log, partition, START, ReadLimit::default()).await;
        let found: BTreeMap<_, _> = entries
            .iter()
            .map(|entry| {
                (
                    entry.offset,
                    String::from_utf8(entry.record.to_vec()).unwrap(),
                )
            })
            .collect();
        assert_eq!(found.len(), 100);
        assert_eq!(found, expected);
    }
}

pub async fn many_entries_are_read_in_pieces(log: Arc<dyn OpLog>) {
    let appends = (0..2_000).map(|number: u32| {
        let partition = LogPartition(number % 2);
        let record = Bytes::from(vec![number.to_le_bytes()[0]; 1_000]);
        log.append(partition, &document("doc"), record)
    });
    for result in join_all(appends).await {
        result.unwrap();
    }
    let limit = ReadLimit {
        entries_max: 7,
        bytes_max: 5_500,
    };
    let entries = read_to_tail(&log, SECOND, START, limit).await;
    assert_eq!(entries.len(), 1_000);
    for (number, entry) in (0_u32..).zip(&entries) {
        assert_eq!(entry.record, vec![(2 * number + 1).to_le_bytes()[0]; 1_000]);
    }
}

pub async fn the_largest_record_fits_and_a_larger_one_is_refused(log: Arc<dyn OpLog>) {
    let largest = Bytes::from(vec![1; LOG_RECORD_BYTES_MAX]);
    let too_large = Bytes::from(vec![1; LOG_RECORD_BYTES_MAX + 1]);
    let refused = log.append(FIRST, &document("doc"), too_large).await;
    assert!(
        matches!(
            refused,
            Err(AppendError::TooLarge { bytes, bytes_max: LOG_RECORD_BYTES_MAX })
                if bytes == LOG_RECORD_BYTES_MAX + 1
        ),
        "{refused:?}"
    );
    assert_eq!(
        log.append(FIRST, &document("doc"), largest.clone())
            .await
            .unwrap(),
        START
    );
    let entries = log.read(FIRST, START, ReadLimit::default()).await.unwrap();
    assert!(entries[0].record == largest);
}

pub async fn partitions_that_do_not_exist_are_refused(log: Arc<dyn OpLog>) {
    let none = LogPartition(log.partition_count());
    let append = log.append(none, &document("doc"), Bytes::new()).await;
    assert!(
        matches!(append, Err(AppendError::NoSuchPartition { .. })),
        "{append:?}"
    );
    let read = log.read(none, START, ReadLimit::default()).await;
    assert!(
        matches!(read, Err(ReadError::NoSuchPartition { .. })),
        "{read:?}"
    );
    assert!(matches!(
        log.tail(none).await,
        Err(ReadError::NoSuchPartition { .. })
    ));
    assert!(matches!(
        log.trim_point(none).await,
        Err(ReadError::NoSuchPartition { .. })
    ));
    assert!(matches!(
        log.trim(none, START).await,
        Err(TrimError::NoSuchPartition { .. })
    ));
}

pub async fn trimming_gives_up_what_is_below(log: Arc<dyn OpLog>) {
    for record in ["a", "b", "c"] {
        append(&log, FIRST, record).await;
        append(&log, SECOND, record).await;
    }
    log.trim(FIRST, LogOffset(2)).await.unwrap();
    assert_eq!(log.trim_point(FIRST).await.unwrap(), LogOffset(2));
    for trimmed in [0, 1] {
        let read = log
            .read(FIRST, LogOffset(trimmed), ReadLimit::default())
            .await;
        assert!(
            matches!(
                read,
                Err(ReadError::Trimmed {
                    trim_point: LogOffset(2)
                })
            ),
            "{read:?}"
        );
    }
    let entries = log
        .read(FIRST, LogOffset(2), ReadLimit::default())
        .await
        .unwrap();
    assert_eq!(records(&entries), ["c"]);
    assert_eq!(
        log.trim_point(SECOND).await.unwrap(),
        START,
        "other partitions stay"
    );
    let entries = read_to_tail(&log, SECOND, START, ReadLimit::default()).await;
    assert_eq!(records(&entries), ["a", "b", "c"]);
}

pub async fn trimming_again_or_less_does_nothing(log: Arc<dyn OpLog>) {
    for record in ["a", "b", "c"] {
        append(&log, FIRST, record).await;
    }
    for end in [2, 2, 1, 0] {
        log.trim(FIRST, LogOffset(end)).await.unwrap();
        assert_eq!(log.trim_point(FIRST).await.unwrap(), LogOffset(2));
    }
}

pub async fn trimming_beyond_the_tail_is_refused(log: Arc<dyn OpLog>) {
    append(&log, FIRST, "a").await;
    let beyond = log.trim(FIRST, LogOffset(2)).await;
    assert!(
        matches!(beyond, Err(TrimError::BeyondTail { tail: LogOffset(1) })),
        "{beyond:?}"
    );
    assert_eq!(log.trim_point(FIRST).await.unwrap(), START);
}

pub async fn offsets_go_on_after_everything_was_trimmed(log: Arc<dyn OpLog>) {
    append(&log, FIRST, "a").await;
    append(&log, FIRST, "b").await;
    log.trim(FIRST, LogOffset(2)).await.unwrap();
    assert_eq!(log.tail(FIRST).await.unwrap(), LogOffset(2));
    let mut waiting = log.read(FIRST, LogOffset(2), ReadLimit::default());
    assert!(poll!(&mut waiting).is_pending());
    assert_eq!(append(&log, FIRST, "c").await, LogOffset(2));
    assert_eq!(records(&waiting.await.unwrap()), ["c"]);
}
