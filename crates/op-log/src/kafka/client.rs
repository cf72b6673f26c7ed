use std::time::Duration;

use bytes::Bytes;
use document_types::limits::{
    KAFKA_FETCH_QUEUE_BYTES_MAX, KAFKA_FETCH_WAIT_MAX, KAFKA_MESSAGE_BYTES_MAX,
    KAFKA_QUEUE_BYTES_MAX, KAFKA_QUEUE_COUNT_MAX, KAFKA_RECONNECT_PAUSE_MAX,
    KAFKA_REPLICATION_TIME_MAX, KAFKA_REQUEST_TIME_MAX, KAFKA_REQUESTS_IN_FLIGHT_MAX,
    KAFKA_STATISTICS_INTERVAL,
};
use document_types::{DocumentId, LogOffset, LogPartition};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Message, Statistics};

use crate::{LogEntry, metric_names};

/// What all clients have in common.
pub(super) fn client_config(bootstrap_servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap_servers)
        .set("client.id", "collabedit")
        .set("allow.auto.create.topics", "false")
        .set("socket.nagle.disable", "true")
        .set("socket.timeout.ms", milliseconds(KAFKA_REQUEST_TIME_MAX))
        .set(
            "reconnect.backoff.max.ms",
            milliseconds(KAFKA_RECONNECT_PAUSE_MAX),
        );
    config
}

pub(super) fn producer_config(client: &ClientConfig) -> ClientConfig {
    let mut config = client.clone();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set(
            "request.timeout.ms",
            milliseconds(KAFKA_REPLICATION_TIME_MAX),
        )
        .set(
            "max.in.flight.requests.per.connection",
            KAFKA_REQUESTS_IN_FLIGHT_MAX.to_string(),
        )
        // For ever. Were the client to give a record up that it has sent, it would go on under a new
        // producer id, and the broker could write the old request after records that came later.
        .set("message.timeout.ms", "0")
        // What waits while a request is on its way goes with the next: the log's group commit.
        .set("linger.ms", "0")
        .set("message.max.bytes", KAFKA_MESSAGE_BYTES_MAX.to_string())
        .set(
            "queue.buffering.max.messages",
            KAFKA_QUEUE_COUNT_MAX.to_string(),
        )
        .set(
            "queue.buffering.max.kbytes",
            (KAFKA_QUEUE_BYTES_MAX / 1024).to_string(),
        )
        .set(
            "statistics.interval.ms",
            milliseconds(KAFKA_STATISTICS_INTERVAL),
        );
    config
}

pub(super) fn consumer_config(client: &ClientConfig) -> ClientConfig {
    let mut config = client.clone();
    config
        // The client wants a group to consume at all. Partitions are assigned directly, and the log
        // remembers no reader's position.
        .set("group.id", "collabedit-readers")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // No other offset than the one asked for will do.
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", milliseconds(KAFKA_FETCH_WAIT_MAX))
        .set(
            "queued.max.messages.kbytes",
            (KAFKA_FETCH_QUEUE_BYTES_MAX / 1024).to_string(),
        )
        .set("fetch.max.bytes", KAFKA_FETCH_QUEUE_BYTES_MAX.to_string())
        .set(
            "fetch.message.max.bytes",
            KAFKA_MESSAGE_BYTES_MAX.to_string(),
        )
        // A full queue is looked at again as soon as an idle partition would be.
        .set("fetch.queue.backoff.ms", milliseconds(KAFKA_FETCH_WAIT_MAX));
    config
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// A log's partition as Kafka counts them. There are at most `KAFKA_PARTITIONS_MAX`.
pub(super) fn kafka_partition(partition: LogPartition) -> i32 {
    i32::try_from(partition.0).unwrap_or(i32::MAX)
}

/// An offset as Kafka counts them; one above what Kafka can count is above every tail.
pub(super) fn kafka_offset(offset: LogOffset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

/// A message that no append of ours wrote.
#[derive(Debug, thiserror::Error)]
#[error(
    "the message at offset {offset} has no document as its key: something else writes to the topic"
)]
pub(super) struct ForeignMessage {
    offset: i64,
}

/// A message as an entry of the log.
pub(super) fn entry(message: &BorrowedMessage<'_>) -> Result<LogEntry, ForeignMessage> {
    let document = message
        .key()
        .and_then(|key| std::str::from_utf8(key).ok())
        .and_then(|key| DocumentId::parse(key).ok());
    let (Some(document), Ok(offset)) = (document, u64::try_from(message.offset())) else {
        return Err(ForeignMessage {
            offset: message.offset(),
        });
    };
    Ok(LogEntry {
        offset: LogOffset(offset),
        document,
        record: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    })
}

/// Where the client's own words and figures go.
#[derive(Clone)]
pub(super) struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters arrives as an error as well; a broker that is away is logged at every attempt.
        tracing::debug!(?level, facility, message, "Kafka's client says");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            reason,
            "Kafka's client reports"
        );
    }

    fn stats(&self, statistics: Statistics) {
        let connected = statistics
            .brokers
            .values()
            .filter(|broker| broker.nodeid >= 0 && broker.state == "UP")
            .count();
        #[allow(clippy::cast_precision_loss)] // Both are far below 2^52.
        {
            metrics::gauge!(metric_names::KAFKA_BROKERS_CONNECTED).set(connected as f64);
            metrics::gauge!(metric_names::KAFKA_QUEUE_ENTRIES).set(statistics.msg_cnt as f64);
        }
    }
}

impl ConsumerContext for Reports {}
