//! Names of this service's metrics.

/// Histogram, milliseconds: reading a document's current state.
pub const READ_MS: &str = "collabedit_history_read_ms";
/// Gauge: estimated bytes of the documents that are kept in memory.
pub const REPLICA_BYTES: &str = "collabedit_history_replica_bytes";
