//! Whether the logs are those that a store goes on from.

use document_store::values::Log;
use document_store::{DocumentStore, StoreError};
use document_types::{LogOffset, LogPartition, LogSource, RegionId};
use op_log::{OpLog, ReadError, RegionalLogs};

/// Why a store can't go on from a log.
#[derive(Debug, thiserror::Error)]
pub enum LogCheckError {
    /// The store failed, or knows another log; see [`StoreError::OtherLog`].
    #[error("the store does not take this log")]
    Store(#[from] StoreError),
    /// The log can't say what it holds.
    #[error("the log can't be read")]
    Log(#[from] ReadError),
    /// The log has given up what the store has not merged.
    #[error(
        "the log begins at offset {trim_point} of {place}, and the store has merged what is below \
         {merged_end}: what lies between is lost to this store; start it from a copy of one that is \
         further"
    )]
    Trimmed {
        /// The region whose log it is, and the partition.
        place: LogSource,
        /// The offset after the last record that is merged.
        merged_end: LogOffset,
        /// The first offset that the log still holds.
        trim_point: LogOffset,
    },
    /// The log ends before what the store has merged.
    #[error(
        "the log ends at offset {tail} of {place}, and the store has merged what is below \
         {merged_end}: the log has lost records, or was made anew under the same name"
    )]
    Shorter {
        /// The region whose log it is, and the partition.
        place: LogSource,
        /// The offset after the last record that is merged.
        merged_end: LogOffset,
        /// The first unwritten offset of the log.
        tail: LogOffset,
    },
}

/// Checks that each of `logs` is the one of its region that `store` has merged, and still holds all that
/// the store lacks. A store that has merged none of a region keeps to this one from now on.
///
/// # Errors
/// [`LogCheckError`] says what does not fit.
pub async fn check_logs(logs: &RegionalLogs, store: &DocumentStore) -> Result<(), LogCheckError> {
    for (region, log) in logs.iter() {
        check_log(region, &**log, store).await?;
    }
    Ok(())
}

async fn check_log(
    region: &RegionId,
    log: &dyn OpLog,
    store: &DocumentStore,
) -> Result<(), LogCheckError> {
    let partition_count = log.partition_count();
    let bound = Log {
        id: log.id().to_owned(),
        partition_count,
    };
    store.bind_log(region, &bound).await?;
    for partition in (0..partition_count).map(LogPartition) {
        let source = LogSource {
            region: region.clone(),
            partition,
        };
        let merged = store.merged(&source).await?;
        let merged_end = merged.map_or(LogOffset(0), LogOffset::next);
        let trim_point = log.trim_point(partition).await?;
        if merged_end < trim_point {
            return Err(LogCheckError::Trimmed {
                place: source,
                merged_end,
                trim_point,
            });
        }
        let tail = log.tail(partition).await?;
        if merged_end > tail {
            return Err(LogCheckError::Shorter {
                place: source,
                merged_end,
                tail,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use clock::Random;
    use document_store::{Faults, SimulatedStore};
    use document_types::DocumentId;
    use op_log::{FaultChances, SimulatedLog, SimulatedOpLog};
    use std::sync::Arc;

    const FIRST: LogPartition = LogPartition(0);

    fn region() -> RegionId {
        RegionId::parse("here").unwrap()
    }

    fn new_log(partition_count: u32) -> SimulatedOpLog {
        let random = Random::from_seed(1);
        SimulatedLog::new(partition_count, &random, FaultChances::NONE).connect()
    }

    async fn new_store() -> DocumentStore {
        let kv = SimulatedStore::new().handle(Random::from_seed(1), Faults::NONE);
        let store = DocumentStore::open(Arc::new(kv), Random::from_seed(1));
        store.await.unwrap()
    }

    async fn append(log: &dyn OpLog, count: usize) {
        let document = DocumentId::parse("doc").unwrap();
        for _ in 0..count {
            log.append(FIRST, &document, Bytes::new()).await.unwrap();
        }
    }

    async fn merged_to(store: &DocumentStore, last: u64) {
        let source = LogSource {
            region: region(),
            partition: FIRST,
        };
        store.set_merged(&source, LogOffset(last)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_holds_what_the_store_lacks_will_do() {
        let (log, store) = (new_log(2), new_store().await);
        check_log(&region(), &log, &store).await.unwrap();
        append(&log, 5).await;
        log.trim(FIRST, LogOffset(3)).await.unwrap();
        for last in [2, 4] {
            merged_to(&store, last).await;
            check_log(&region(), &log, &store).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_gave_up_what_the_store_lacks_is_refused() {
        let (log, store) = (new_log(2), new_store().await);
        append(&log, 5).await;
        log.trim(FIRST, LogOffset(3)).await.unwrap();
        let refused = check_log(&region(), &log, &store).await.unwrap_err();
        assert!(
            matches!(refused, LogCheckError::Trimmed { .. }),
            "{refused}"
        );
        merged_to(&store, 1).await;
        let refused = check_log(&region(), &log, &store).await.unwrap_err();
        assert!(
            matches!(
                refused,
                LogCheckError::Trimmed {
                    merged_end: LogOffset(2),
                    trim_point: LogOffset(3),
                    ..
                }
            ),
            "{refused}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_ends_before_the_store_is_refused() {
        let (log, store) = (new_log(2), new_store().await);
        append(&log, 2).await;
        merged_to(&store, 2).await;
        let refused = check_log(&region(), &log, &store).await.unwrap_err();
        assert!(
            matches!(refused, LogCheckError::Shorter { .. }),
            "{refused}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_with_other_partitions_is_another_log() {
        let (log, store) = (new_log(2), new_store().await);
        check_log(&region(), &log, &store).await.unwrap();
        let refused = check_log(&region(), &new_log(3), &store).await.unwrap_err();
        assert!(matches!(refused, LogCheckError::Store(_)), "{refused}");
    }
}
