//! The vocabulary of CollabEdit: ids, versions, log positions, limits, error codes and the record
//! that the operation log carries.
//!
//! Everything here is a value. Nothing here does I/O, waits, reads a clock or draws a random number,
//! so every other crate may depend on this one and it depends on none of them.

mod digest;
mod error_code;
mod hlc_timestamp;
mod ids;
pub mod limits;
mod log_position;
mod principal;
pub mod record;
mod trace;
mod version;

pub use digest::Digest;
pub use error_code::{Advice, ErrorCode};
pub use hlc_timestamp::HlcTimestamp;
pub use ids::{
    BatchId, DeviceId, DocumentId, IdError, NodeEpoch, NodeId, PeerId, RegionId, SessionId, UserId,
};
pub use log_position::{LogOffset, LogPartition, LogSource, partition_of};
pub use principal::{Permission, Principal};
pub use trace::{SpanId, TraceContext, TraceId, TraceRatio, TraceRatioError};
pub use version::{Counter, CounterSpan, Frontiers, OpId, VersionVector};
