//! The log's metrics, by name.

/// Histogram, milliseconds: from the call of an append until its caller has the result.
pub const APPEND_LATENCY_MS: &str = "collabedit_op_log_append_latency_ms";
/// Counter: appends that ended in an error, labelled with `outcome`: `failed`, `unknown` or `refused`
/// (overloaded, too large, closed).
pub const APPEND_ERRORS: &str = "collabedit_op_log_append_errors_total";
/// Histogram, milliseconds: writing one group and syncing it.
pub const GROUP_WRITE_MS: &str = "collabedit_op_log_group_write_ms";
/// Histogram: entries in one group.
pub const GROUP_ENTRIES: &str = "collabedit_op_log_group_entries";
/// Counter, bytes: what groups took on the disk.
pub const WRITTEN_BYTES: &str = "collabedit_op_log_written_bytes_total";
/// Counter, labelled with `from`: reads answered from `memory`, from the `disk` or by the `brokers`.
pub const READS: &str = "collabedit_op_log_reads_total";
/// Gauge: segments that trimming has not removed yet.
pub const SEGMENTS: &str = "collabedit_op_log_segments";
/// Gauge: appends that wait for Kafka's acknowledgement.
pub const KAFKA_QUEUE_ENTRIES: &str = "collabedit_op_log_kafka_queue_entries";
/// Gauge: Kafka brokers that the producer is connected to.
pub const KAFKA_BROKERS_CONNECTED: &str = "collabedit_op_log_kafka_brokers_connected";
/// Counter: producers that could not go on and were replaced.
pub const KAFKA_PRODUCERS_REPLACED: &str = "collabedit_op_log_kafka_producers_replaced_total";
