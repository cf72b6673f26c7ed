//! The ordered durable log: the port, its conformance suite, and its embedded, Kafka and simulated
//! adapters.
//!
//! [`OpLog`] is the specification; read it first. [`conformance`] is the same specification as tests,
//! which every adapter runs.

pub mod conformance;
mod edges;
mod embedded;
mod errors;
mod kafka;
pub mod metric_names;
mod op_log;
mod partition_share;
mod regional_logs;
mod simulated;

pub use embedded::{Damage, EmbeddedLogOptions, EmbeddedOpLog, OpenError};
pub use errors::{AppendError, Cause, ReadError, TrimError};
pub use kafka::{KafkaGroupMember, KafkaLogOptions, KafkaOpLog, KafkaOpenError, Shortcoming};
pub use op_log::{AppendFuture, LogEntry, OpLog, ReadLimit};
pub use partition_share::PartitionShare;
pub use regional_logs::{CopyError, RegionalLogs};
pub use simulated::{FaultChances, FaultCounts, SimulatedLog, SimulatedOpLog};
