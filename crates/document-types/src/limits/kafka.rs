//! Bounds of the log, and of the log in Kafka.

use std::time::Duration;

use super::DOCUMENT_ID_BYTES_MAX;

/// Bytes of a log's id.
pub const LOG_ID_BYTES_MAX: usize = 512;
/// The largest record the log accepts.
pub const LOG_RECORD_BYTES_MAX: usize = 1024 * 1024;
/// The largest record with its document's name and the batch around it, in bytes: what the topic's
/// `max.message.bytes` has to be at least. Kafka's default leaves 12 bytes beside the record.
pub const KAFKA_MESSAGE_BYTES_MAX: usize = LOG_RECORD_BYTES_MAX + 64 * 1024;
/// Partitions of a topic; a node may keep each one's newest entry.
pub const KAFKA_PARTITIONS_MAX: u32 = 1_024;
/// Replicas of a topic at least: with one broker gone, two still take what is acknowledged.
pub const KAFKA_REPLICAS_MIN: usize = 3;
/// Brokers that have a record at least before it is acknowledged (`min.insync.replicas`).
pub const KAFKA_IN_SYNC_REPLICAS_MIN: u64 = 2;
/// How long the topic keeps records at least, within which the archiver has to have them.
pub const KAFKA_RETENTION_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Appends that may wait for their acknowledgement.
pub const KAFKA_QUEUE_COUNT_MAX: usize = 8_192;
/// Record bytes that may wait for their acknowledgement.
pub const KAFKA_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Requests to one broker that are on their way at once; more and Kafka would not keep their order.
pub const KAFKA_REQUESTS_IN_FLIGHT_MAX: usize = 5;
/// How long an append may take before its result is unknown. It stays enqueued.
pub const KAFKA_APPEND_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a broker may wait for its replicas before it says that they did not answer.
pub const KAFKA_REPLICATION_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a broker may take to answer before the request is sent again.
pub const KAFKA_REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a question about a partition, a trim or a read of what is there may take.
pub const KAFKA_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest pause before a broker that is away is connected to again.
pub const KAFKA_RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a broker keeps a fetch that has nothing to return. A partition that a node begins to
/// follow waits for the end of the fetch before it.
pub const KAFKA_FETCH_WAIT_MAX: Duration = Duration::from_millis(50);
/// Bytes that one consumer fetches ahead of its readers.
pub const KAFKA_FETCH_QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of the newest entries that a node keeps of the partitions that it follows.
pub const KAFKA_RECENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Reads of what is no longer kept that may be at the brokers at once, each with its own consumer.
pub const KAFKA_CATCH_UP_READS_MAX: usize = 4;
/// Questions about partitions that may be at the brokers at once.
pub const KAFKA_QUESTIONS_MAX: usize = 16;
/// How long a partition is followed that nobody reads.
pub const KAFKA_UNREAD_TAIL_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a thread waits for Kafka's news before it looks whether it shall end.
pub const KAFKA_POLL_TIME_MAX: Duration = Duration::from_millis(100);
/// How long closing waits for what is enqueued to be written.
pub const KAFKA_CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often the client's own figures become metrics.
pub const KAFKA_STATISTICS_INTERVAL: Duration = Duration::from_secs(5);
/// Before a partition's leader is asked again that was only just found, or is still looked for.
pub const KAFKA_LEADER_PAUSE: Duration = Duration::from_millis(100);
/// Silence after which a member of a consumer group counts as gone, and the others get its partitions.
pub const KAFKA_GROUP_SESSION_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a member says that it is there.
pub const KAFKA_GROUP_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

const _: () = {
    assert!(LOG_RECORD_BYTES_MAX + DOCUMENT_ID_BYTES_MAX + 1024 < KAFKA_MESSAGE_BYTES_MAX);
    assert!(KAFKA_MESSAGE_BYTES_MAX < KAFKA_FETCH_QUEUE_BYTES_MAX);
};
