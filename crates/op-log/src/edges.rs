//! What every adapter does at its edges in the same way.

use document_types::limits::LOG_RECORD_BYTES_MAX;
use document_types::{LogOffset, LogPartition};
use tokio::time::Instant;

use crate::{AppendError, ReadError, metric_names};

/// That a record of so many bytes may be appended to the partition.
pub(crate) fn check_append(
    partition: LogPartition,
    partition_count: u32,
    record_bytes: usize,
) -> Result<(), AppendError> {
    if partition.0 >= partition_count {
        return Err(AppendError::NoSuchPartition {
            partition,
            partition_count,
        });
    }
    if record_bytes > LOG_RECORD_BYTES_MAX {
        return Err(AppendError::TooLarge {
            bytes: record_bytes,
            bytes_max: LOG_RECORD_BYTES_MAX,
        });
    }
    Ok(())
}

/// That the log has the partition.
pub(crate) fn check_partition(
    partition: LogPartition,
    partition_count: u32,
) -> Result<(), ReadError> {
    if partition.0 < partition_count {
        return Ok(());
    }
    Err(ReadError::NoSuchPartition {
        partition,
        partition_count,
    })
}

/// That a read may begin at `from` where there is what stands from `trim_point` to before `tail`.
pub(crate) fn check_offset(
    from: LogOffset,
    trim_point: LogOffset,
    tail: LogOffset,
) -> Result<(), ReadError> {
    if from < trim_point {
        return Err(ReadError::Trimmed { trim_point });
    }
    if from > tail {
        return Err(ReadError::BeyondTail { tail });
    }
    Ok(())
}

/// Counts an append that ends with this result.
pub(crate) fn count_append(started: Instant, result: &Result<LogOffset, AppendError>) {
    let outcome = match result {
        Ok(_) => {
            metrics::histogram!(metric_names::APPEND_LATENCY_MS)
                .record(started.elapsed().as_secs_f64() * 1_000.0);
            return;
        }
        Err(AppendError::Unknown(_)) => "unknown",
        Err(AppendError::Failed(_)) => "failed",
        Err(_) => "refused",
    };
    metrics::counter!(metric_names::APPEND_ERRORS, "outcome" => outcome).increment(1);
}
