use std::error::Error;
use std::sync::Arc;

use document_types::{Advice, LogOffset, LogPartition};

/// What an adapter has to say about a failure. It is shared, as one failed write is the failure of
/// all appends that were in it.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why an append has no offset to show.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The record was not written and never will be. It may be appended again.
    #[error("the record was not written to the log")]
    Failed(#[source] Cause),
    /// The record may be in the log or may get there. Append the same bytes again or read to settle
    /// it; see [`OpLog`](crate::OpLog), Uncertainty.
    #[error("it is not known whether the record was written to the log")]
    Unknown(#[source] Cause),
    /// More is waiting to be written than may wait. The record was not written.
    #[error("{waiting_count} records wait to be written to the log, and no more may")]
    Overloaded {
        /// Records that are waiting.
        waiting_count: usize,
    },
    /// The record is larger than a record may be, and was not written.
    #[error("a record has {bytes} bytes, and {bytes_max} is the most it may have")]
    TooLarge {
        /// Bytes of the record.
        bytes: usize,
        /// The most it may have.
        bytes_max: usize,
    },
    /// The log has no such partition. The record was not written.
    #[error("partition {partition} is not one of the log's {partition_count}")]
    NoSuchPartition {
        /// The partition asked for.
        partition: LogPartition,
        /// How many the log has.
        partition_count: u32,
    },
    /// This handle is closed. The record was not written.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    /// Whether the record may be in the log nonetheless.
    pub fn may_be_written(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// What the caller should do. To retry means to append the same bytes again.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Failed(_) | Self::Unknown(_) | Self::Overloaded { .. } => Advice::Retry,
            Self::TooLarge { .. } | Self::NoSuchPartition { .. } => Advice::Fix,
            Self::Closed => Advice::GiveUp,
        }
    }

    /// Whether appending the same bytes again may succeed.
    pub fn is_retryable(&self) -> bool {
        self.advice() == Advice::Retry
    }
}

/// Why a read, or a question about a partition, has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The entries asked for were given up.
    #[error("the log begins at offset {trim_point}, after the one asked for")]
    Trimmed {
        /// The first offset that can still be read.
        trim_point: LogOffset,
    },
    /// The offset asked for is after the first unwritten one.
    #[error("the log ends at offset {tail}, before the one asked for")]
    BeyondTail {
        /// The first unwritten offset.
        tail: LogOffset,
    },
    /// The log has no such partition.
    #[error("partition {partition} is not one of the log's {partition_count}")]
    NoSuchPartition {
        /// The partition asked for.
        partition: LogPartition,
        /// How many the log has.
        partition_count: u32,
    },
    /// The log can't be read now.
    #[error("the log can't be read")]
    Unavailable(#[source] Cause),
    /// This handle is closed.
    #[error("the log is closed")]
    Closed,
}

impl ReadError {
    /// Whether the same read may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a trim did not take place, or may not have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrimError {
    /// The end is after the first unwritten offset. Nothing was trimmed.
    #[error("the log ends at offset {tail}, before the end of the trim")]
    BeyondTail {
        /// The first unwritten offset.
        tail: LogOffset,
    },
    /// The log has no such partition.
    #[error("partition {partition} is not one of the log's {partition_count}")]
    NoSuchPartition {
        /// The partition asked for.
        partition: LogPartition,
        /// How many the log has.
        partition_count: u32,
    },
    /// The log can't be trimmed now; it may have been or not.
    #[error("the log can't be trimmed")]
    Unavailable(#[source] Cause),
    /// This handle is closed.
    #[error("the log is closed")]
    Closed,
}

impl TrimError {
    /// The same failure, met while looking for what to trim.
    pub(crate) fn from_read(error: ReadError) -> Self {
        match error {
            ReadError::NoSuchPartition {
                partition,
                partition_count,
            } => Self::NoSuchPartition {
                partition,
                partition_count,
            },
            ReadError::BeyondTail { tail } => Self::BeyondTail { tail },
            ReadError::Closed => Self::Closed,
            ReadError::Unavailable(cause) => Self::Unavailable(cause),
            trimmed @ ReadError::Trimmed { .. } => Self::Unavailable(Arc::new(trimmed)),
        }
    }

    /// Whether the same trim may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
