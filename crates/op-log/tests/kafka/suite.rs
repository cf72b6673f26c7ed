use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use document_types::{DocumentId, LogOffset, LogPartition};
use futures::future::join_all;
use op_log::conformance::read_to_tail;
use op_log::{
    AppendError, KafkaLogOptions, KafkaOpLog, KafkaOpenError, OpLog, ReadError, ReadLimit,
};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::topic::new_topic;

const FIRST: LogPartition = LogPartition(0);
const START: LogOffset = LogOffset(0);

/// A log in a topic of its own.
async fn new_log() -> (Arc<dyn OpLog>, ()) {
    let options = new_topic(&[]).await;
    (Arc::new(KafkaOpLog::open(&options).await.unwrap()), ())
}

op_log::conformance_tests!(
    #[cfg_attr(
        all(),
        tokio::test(flavor = "multi_thread"),
        ignore = "needs Kafka: cargo xtask test --only kafka"
    )]
    new_log
);

fn document() -> DocumentId {
    DocumentId::parse("doc").unwrap()
}

async fn open(options: &KafkaLogOptions) -> Arc<KafkaOpLog> {
    Arc::new(KafkaOpLog::open(options).await.unwrap())
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn what_one_process_appends_another_reads() {
    let options = new_topic(&[]).await;
    let (writer, reader) = (open(&options).await, open(&options).await);
    // One reader waits, one comes later and has to catch up.
    let mut waiting = reader.read(FIRST, START, ReadLimit::default());
    assert!(futures::poll!(&mut waiting).is_pending());
    for number in 0..100_u64 {
        let appended = writer.append(FIRST, &document(), Bytes::from(number.to_string()));
        assert_eq!(appended.await.unwrap(), LogOffset(number));
    }
    assert_eq!(waiting.await.unwrap()[0].record, "0");
    let later: Arc<dyn OpLog> = open(&options).await;
    let limit = ReadLimit {
        entries_max: 7,
        ..ReadLimit::default()
    };
    assert_eq!(read_to_tail(&later, FIRST, START, limit).await.len(), 100);
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_log_has_the_same_id_for_all_and_another_has_another() {
    let (options, others) = (new_topic(&[]).await, new_topic(&[]).await);
    let log = open(&options).await;
    assert_eq!(log.id(), open(&options).await.id());
    assert_ne!(log.id(), open(&others).await.id());
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn many_readers_of_many_positions_see_the_same() {
    let options = new_topic(&[]).await;
    let log: Arc<dyn OpLog> = open(&options).await;
    let readers = (0..20_usize).map(|reader| {
        let log = Arc::clone(&log);
        async move {
            let limit = ReadLimit {
                entries_max: 1 + reader * 5,
                ..ReadLimit::default()
            };
            let (mut seen, mut next) = (Vec::new(), START);
            while seen.len() < 1_000 {
                for entry in log.read(FIRST, next, limit).await.unwrap() {
                    assert_eq!(entry.offset, next);
                    next = next.next();
                    seen.push(entry.record);
                }
            }
            seen
        }
    });
    let appends = async {
        let appends = (0..1_000)
            .map(|number| log.append(FIRST, &document(), Bytes::from(number.to_string())));
        for appended in join_all(appends).await {
            appended.unwrap();
        }
    };
    let (seen, ()) = tokio::join!(join_all(readers), appends);
    let expected: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    for seen in seen {
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn what_another_process_trimmed_is_reported_as_trimmed() {
    let options = new_topic(&[]).await;
    let (trimming, reading) = (open(&options).await, open(&options).await);
    for _ in 0..3 {
        let appended = trimming.append(FIRST, &document(), Bytes::from_static(b"a"));
        appended.await.unwrap();
    }
    // The reader knows the tail, so the next read goes straight to the brokers.
    reading
        .read(FIRST, START, ReadLimit::default())
        .await
        .unwrap();
    trimming.trim(FIRST, LogOffset(2)).await.unwrap();
    let read = reading.read(FIRST, START, ReadLimit::default()).await;
    let expected = LogOffset(2);
    assert!(
        matches!(read, Err(ReadError::Trimmed { trim_point }) if trim_point == expected),
        "{read:?}"
    );
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn closing_writes_what_is_enqueued_and_refuses_the_rest() {
    let options = new_topic(&[]).await;
    let log = open(&options).await;
    let enqueued: Vec<_> = (0..100)
        .map(|_| log.append(FIRST, &document(), Bytes::from_static(b"enqueued")))
        .collect();
    let mut waiting = log.read(LogPartition(1), START, ReadLimit::default());
    assert!(futures::poll!(&mut waiting).is_pending());
    log.close().await;
    for result in join_all(enqueued).await {
        result.unwrap();
    }
    assert!(matches!(waiting.await, Err(ReadError::Closed)));
    let late = log.append(FIRST, &document(), Bytes::new()).await;
    assert!(matches!(late, Err(AppendError::Closed)));
    assert!(matches!(log.tail(FIRST).await, Err(ReadError::Closed)));
    let next: Arc<dyn OpLog> = open(&options).await;
    let entries = read_to_tail(&next, FIRST, START, ReadLimit::default()).await;
    assert_eq!(entries.len(), 100);
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn more_than_may_wait_is_refused_as_overload_and_the_rest_is_written() {
    let options = new_topic(&[]).await;
    let log = open(&options).await;
    let record = Bytes::from(vec![1; 500_000]);
    let appends = (0..200).map(|_| log.append(FIRST, &document(), record.clone()));
    let (mut written_count, mut refused_count) = (0, 0);
    for result in join_all(appends).await {
        match result {
            Ok(_) => written_count += 1,
            Err(AppendError::Overloaded { waiting_count }) => {
                assert!(waiting_count > 0);
                refused_count += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(refused_count > 0);
    assert_eq!(log.tail(FIRST).await.unwrap(), LogOffset(written_count));
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_message_that_is_none_of_ours_is_reported_and_not_passed_over() {
    let options = new_topic(&[]).await;
    let log = open(&options).await;
    let mut waiting = log.read(FIRST, START, ReadLimit::default());
    assert!(futures::poll!(&mut waiting).is_pending());
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap_servers)
        .create()
        .unwrap();
    let foreign = FutureRecord::<str, str>::to(&options.topic)
        .partition(0)
        .payload("x");
    producer
        .send(foreign, Duration::from_secs(10))
        .await
        .unwrap();
    let read = waiting.await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    let read = log.read(FIRST, START, ReadLimit::default()).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_topic_that_may_lose_records_opens_for_development_only() {
    let options = new_topic(&[("cleanup.policy", "compact")]).await;
    open(&options).await;
    let production = KafkaLogOptions {
        development: false,
        ..options
    };
    let error = KafkaOpLog::open(&production).await.err().unwrap();
    let KafkaOpenError::Unfit { shortcomings, .. } = &error else {
        panic!("{error:?}");
    };
    let settings: Vec<_> = shortcomings.iter().map(|found| found.setting).collect();
    assert_eq!(
        settings,
        [
            "replication factor",
            "min.insync.replicas",
            "cleanup.policy"
        ]
    );

    let other_count = KafkaLogOptions {
        partition_count: 3,
        development: true,
        ..production.clone()
    };
    let error = KafkaOpLog::open(&other_count).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("partition count is 2; 3 is configured"),
        "{error}"
    );

    let no_topic = KafkaLogOptions {
        topic: "no-such-topic".to_owned(),
        ..production
    };
    let error = KafkaOpLog::open(&no_topic).await.err().unwrap();
    assert!(
        matches!(error, KafkaOpenError::NoSuchTopic { .. }),
        "{error:?}"
    );
}
