use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use document_types::{DocumentId, LogOffset, LogPartition};
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::Instant;

use super::appender::{Appender, acknowledged};
use super::client::client_config;
use super::recent::Recent;
use super::tails::{Plan, Tails};
use super::topic::{Layout, shortcomings};
use super::{KafkaLogOptions, KafkaOpLog, KafkaOpenError};
use crate::{LogEntry, ReadLimit};

/// The settings that we tell people to use.
fn described() -> BTreeMap<String, String> {
    include_str!("../../../../infra/kafka/doc_changes.properties")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

const LAYOUT: Layout = Layout {
    partition_count: 64,
    replica_count: 3,
};

#[test]
fn the_topic_that_is_described_passes_the_check() {
    assert_eq!(shortcomings(64, &LAYOUT, &described()), []);
}

#[test]
fn every_setting_that_loses_records_is_found_and_the_remedy_named() {
    for (setting, value) in [
        ("max.message.bytes", "1048588"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "86400000"),
        ("retention.bytes", "1073741824"),
        ("message.timestamp.type", "CreateTime"),
    ] {
        let mut settings = described();
        assert!(
            settings
                .insert(setting.to_owned(), value.to_owned())
                .is_some()
        );
        let found = shortcomings(64, &LAYOUT, &settings);
        assert_eq!(found.len(), 1, "{found:?}");
        let text = found[0].to_string();
        assert!(
            text.starts_with(&format!("{setting} is {value}; set it to")),
            "{text}"
        );
        // A setting that the broker does not tell is none that can be relied upon.
        settings.remove(setting);
        assert_eq!(shortcomings(64, &LAYOUT, &settings).len(), 1);
    }
    let layout = Layout {
        partition_count: 32,
        replica_count: 2,
    };
    let found: Vec<_> = shortcomings(64, &layout, &described())
        .iter()
        .map(|shortcoming| (shortcoming.setting, shortcoming.only_for_development))
        .collect();
    assert_eq!(
        found,
        [("partition count", false), ("replication factor", true)]
    );
}

#[test]
fn the_clients_understand_their_settings() {
    let client = client_config("127.0.0.1:1");
    for config in [
        super::client::producer_config(&client),
        super::client::consumer_config(&client),
    ] {
        config.create_native_config().unwrap();
    }
}

#[tokio::test]
async fn a_log_without_brokers_does_not_open_and_says_why() {
    let options = KafkaLogOptions {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        topic: "doc_changes".to_owned(),
        partition_count: 0,
        development: false,
    };
    let none = KafkaOpLog::open(&options).await;
    assert!(matches!(
        none,
        Err(KafkaOpenError::InvalidPartitionCount { .. })
    ));
    let options = KafkaLogOptions {
        partition_count: 2,
        ..options
    };
    let error = KafkaOpLog::open(&options).await.err().unwrap();
    assert!(
        error.to_string().contains("no Kafka broker answers"),
        "{error}"
    );
}

fn entry(offset: u64, bytes: usize) -> LogEntry {
    LogEntry {
        offset: LogOffset(offset),
        document: DocumentId::parse("doc").unwrap(),
        record: vec![0; bytes].into(),
    }
}

fn offsets(recent: &Recent, from: u64) -> Vec<u64> {
    let entries = recent.read(LogOffset(from), ReadLimit::default());
    entries.iter().map(|entry| entry.offset.0).collect()
}

#[test]
fn the_newest_entries_stay_and_the_oldest_go() {
    let mut recent = Recent::new(LogOffset(5));
    for offset in [5, 6, 7] {
        recent.add(entry(offset, 1_000), 2_500);
    }
    assert_eq!((recent.start(), recent.end()), (LogOffset(6), LogOffset(8)));
    assert_eq!(offsets(&recent, 6), [6, 7]);
    assert_eq!(offsets(&recent, 7), [7]);
    // One that came before changes nothing; one above the bound stays alone.
    recent.add(entry(6, 1_000), 2_500);
    recent.add(entry(8, 10_000), 2_500);
    assert_eq!((recent.start(), recent.end()), (LogOffset(8), LogOffset(9)));
    recent.trim(LogOffset(9));
    assert_eq!((recent.start(), recent.end()), (LogOffset(9), LogOffset(9)));
}

/// A cluster that is part of the client, with a topic `log` of two partitions, and an appender to it.
fn mock_cluster() -> (
    MockCluster<'static, DefaultProducerContext>,
    ClientConfig,
    Appender,
) {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("log", 2, 1).unwrap();
    let config = client_config(&cluster.bootstrap_servers());
    let appender = Appender::new(&config, "log").unwrap();
    (cluster, config, appender)
}

const SECOND: LogPartition = LogPartition(1);

fn enqueue(appender: &Appender, record: &str) -> DeliveryFuture {
    let document = DocumentId::parse("doc").unwrap();
    appender
        .enqueue(SECOND, &document, record.as_bytes())
        .unwrap()
}

#[tokio::test]
async fn a_tail_that_nobody_reads_is_given_up_and_followed_again_when_it_is_read() {
    let (_cluster, config, appender) = mock_cluster();
    let tails = Tails::new(&config, "log", 2, Duration::from_millis(50)).unwrap();
    let tails = Arc::new(tails);
    let running = Arc::clone(&tails);
    let running = tokio::task::spawn_blocking(move || running.run());
    let plan = |from| tails.plan(SECOND, LogOffset(from), ReadLimit::default());
    for tail in 0..3 {
        assert!(matches!(plan(tail), Ok(Plan::Look)));
        tails
            .found(SECOND, LogOffset(tail), LogOffset(tail))
            .unwrap();
        // While somebody waits it is followed, however long that takes.
        let mut changes = tails.changes(SECOND);
        assert!(matches!(plan(tail), Ok(Plan::WaitAtTail)));
        let offset = acknowledged(enqueue(&appender, "x"), Instant::now()).await;
        assert_eq!(offset.unwrap(), LogOffset(tail));
        changes.changed().await.unwrap();
        let Ok(Plan::Recent(entries)) = plan(tail) else {
            panic!("the entry is there");
        };
        assert_eq!(entries[0].offset, LogOffset(tail));
        // The change is that it is given up.
        drop(changes);
        while tails.is_followed(SECOND) {
            tokio::task::yield_now().await;
        }
        assert!(matches!(plan(tail), Ok(Plan::CatchUp(_))));
    }
    tails.close();
    running.await.unwrap();
    tokio::task::spawn_blocking(move || drop((tails, appender)))
        .await
        .unwrap();
}

#[tokio::test]
async fn requests_that_fail_change_no_order_and_double_nothing() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR__TRANSPORT as LOST, RD_KAFKA_RESP_ERR_NO_ERROR as NONE,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as REFUSED,
    };
    let (cluster, _, appender) = mock_cluster();
    let round_trip = Duration::from_millis(20);
    cluster.broker_round_trip_time(1, round_trip).unwrap();
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[NONE, REFUSED, NONE, NONE, LOST, NONE, REFUSED, NONE, LOST],
    );
    let (started, mut deliveries) = (Instant::now(), Vec::new());
    // At a typist's pace, so that several requests are on their way when one fails.
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    for number in 0..200_u64 {
        deliveries.push(enqueue(&appender, &number.to_string()));
        pace.tick().await;
    }
    let mut offsets = Vec::new();
    for delivery in deliveries {
        offsets.push(acknowledged(delivery, started).await.unwrap());
    }
    assert!(offsets.iter().copied().eq((0..200).map(LogOffset)));
    tokio::task::spawn_blocking(move || drop(appender))
        .await
        .unwrap();
}
