//! Names of this service's metrics. None carries a document id.

/// Counter: updates that were acknowledged.
pub const UPDATES_ACKNOWLEDGED: &str = "collabedit_collaboration_updates_acknowledged_total";
/// Counter, by `code`: updates that were refused.
pub const UPDATES_REFUSED: &str = "collabedit_collaboration_updates_refused_total";
/// Counter: updates that the admission fold found void in the log.
pub const UPDATES_VOID: &str = "collabedit_collaboration_updates_void_total";
/// Counter: the same operations came with other content. Somebody's client lies or was cloned.
pub const EQUIVOCATIONS: &str = "collabedit_collaboration_equivocations_total";
/// Counter: appends that were tried again.
pub const APPEND_RETRIES: &str = "collabedit_collaboration_append_retries_total";
/// Histogram, milliseconds: from a batch's arrival at the gate to its acknowledgement.
pub const ACK_LATENCY_MS: &str = "collabedit_collaboration_ack_latency_ms";
/// Histogram, milliseconds: the dry run of what one flush holds.
pub const DRY_RUN_MS: &str = "collabedit_collaboration_dry_run_ms";
/// Counter, microseconds: processor time that dry runs have spent on what was offered.
pub const DRY_RUN_CPU_US: &str = "collabedit_collaboration_dry_run_cpu_us_total";
/// Histogram: updates in one record.
pub const RECORD_UPDATES: &str = "collabedit_collaboration_record_updates";
/// Gauge: rooms that are open.
pub const ROOMS_OPEN: &str = "collabedit_collaboration_rooms_open";
/// Gauge: sessions in all rooms.
pub const SESSIONS: &str = "collabedit_collaboration_sessions";
/// Counter: sessions that lost their stream because they read too slowly.
pub const SLOW_CONSUMERS: &str = "collabedit_collaboration_slow_consumers_total";
/// Counter: updates that the dry run found harmful.
pub const HARMFUL_UPDATES: &str = "collabedit_collaboration_harmful_updates_total";
/// Counter: operations that another region lacked, and that were offered to it.
pub const OPERATIONS_HEALED: &str = "collabedit_collaboration_operations_healed_total";
/// Counter: documents that could not be compared with another region.
pub const COMPARISONS_FAILED: &str = "collabedit_collaboration_comparisons_failed_total";
