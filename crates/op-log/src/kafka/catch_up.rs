use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use document_types::limits::{
    KAFKA_ANSWER_TIME_MAX, KAFKA_CATCH_UP_READS_MAX, KAFKA_POLL_TIME_MAX,
};
use document_types::{LogOffset, LogPartition};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::{Reports, consumer_config, entry, kafka_offset, kafka_partition};
use super::{blocking, is_out_of_range, is_passing};
use crate::{Cause, LogEntry, ReadLimit};

/// Reads what is older than what the tails keep, with a few consumers that take turns.
#[derive(Clone)]
pub(super) struct CatchUp(Arc<Pool>);

struct Pool {
    config: ClientConfig,
    topic: String,
    /// One for each read at a time. Closed with the log.
    permits: Arc<Semaphore>,
    /// Those that no read uses, at most as many as there are permits.
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    consumer: BaseConsumer<Reports>,
    /// Where it goes on by itself, if it does: the next read is often the rest of the last.
    position: Option<(LogPartition, LogOffset)>,
    /// The entry there, if the last read had no room for it.
    held: Option<LogEntry>,
}

pub(super) enum CatchUpError {
    /// The offset is not in the log.
    OutOfRange(Cause),
    Unavailable(Cause),
    Closed,
}

/// Nothing came.
#[derive(Debug, thiserror::Error)]
#[error("the brokers have not answered within {} s", .0.as_secs())]
struct NoAnswer(Duration);

impl CatchUp {
    pub(super) fn new(client: &ClientConfig, topic: &str) -> Self {
        Self(Arc::new(Pool {
            config: consumer_config(client),
            topic: topic.to_owned(),
            permits: Arc::new(Semaphore::new(KAFKA_CATCH_UP_READS_MAX)),
            idle: Mutex::default(),
        }))
    }

    /// The entries from `from` on, which is below `tail`, up to `limit`.
    pub(super) async fn read(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
        tail: LogOffset,
    ) -> Result<Vec<LogEntry>, CatchUpError> {
        let Ok(permit) = Arc::clone(&self.0.permits).acquire_owned().await else {
            return Err(CatchUpError::Closed);
        };
        let pool = Arc::clone(&self.0);
        blocking(move || {
            // Held to the end of the work, which goes on when the read is dropped.
            let _permit = permit;
            let mut reader = pool
                .reader(partition, from)
                .map_err(|error| CatchUpError::Unavailable(Arc::new(error)))?;
            let read = pool.read(&mut reader, partition, from, limit, tail);
            let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if !pool.permits.is_closed() && idle.len() < KAFKA_CATCH_UP_READS_MAX {
                idle.push(reader);
            }
            read
        })
        .await
    }

    /// Blocks while the consumers end.
    pub(super) fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(idle);
    }
}

impl Pool {
    /// A reader, that which stands there already if there is one.
    fn reader(&self, partition: LogPartition, from: LogOffset) -> Result<Reader, KafkaError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let stands_there = |reader: &Reader| reader.position == Some((partition, from));
        if let Some(index) = idle.iter().position(stands_there) {
            return Ok(idle.swap_remove(index));
        }
        if let Some(reader) = idle.pop() {
            return Ok(reader);
        }
        drop(idle);
        let consumer: BaseConsumer<Reports> = self.config.create_with_context(Reports)?;
        // Otherwise it would learn only at its next look, up to a second later, who leads.
        consumer.fetch_metadata(Some(&self.topic), KAFKA_ANSWER_TIME_MAX)?;
        Ok(Reader {
            consumer,
            position: None,
            held: None,
        })
    }

    fn read(
        &self,
        reader: &mut Reader,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
        tail: LogOffset,
    ) -> Result<Vec<LogEntry>, CatchUpError> {
        if reader.position != Some((partition, from)) {
            reader.held = None;
            self.assign(reader, partition, from)
                .map_err(|error| CatchUpError::Unavailable(Arc::new(error)))?;
        }
        // Whatever goes wrong, the next read begins anew.
        reader.position = None;
        let entries = self.gather(reader, limit)?;
        let next = entries.last().map_or(from, |last| last.offset.next());
        if next < tail {
            reader.position = Some((partition, next));
        } else {
            // At the tail it would go on asking for nothing.
            reader.held = None;
            let _ = reader.consumer.unassign();
        }
        Ok(entries)
    }

    fn assign(
        &self,
        reader: &Reader,
        partition: LogPartition,
        from: LogOffset,
    ) -> Result<(), KafkaError> {
        let mut assignment = TopicPartitionList::new();
        let offset = Offset::Offset(kafka_offset(from));
        assignment.add_partition_offset(&self.topic, kafka_partition(partition), offset)?;
        reader.consumer.assign(&assignment)
    }

    /// What comes first, and what has been fetched with it. Blocks.
    fn gather(&self, reader: &mut Reader, limit: ReadLimit) -> Result<Vec<LogEntry>, CatchUpError> {
        let deadline = Instant::now() + KAFKA_ANSWER_TIME_MAX;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            let next = match reader.held.take() {
                Some(held) => held,
                None if self.permits.is_closed() => return Err(CatchUpError::Closed),
                None => {
                    let wait = if entries.is_empty() {
                        KAFKA_POLL_TIME_MAX
                    } else {
                        Duration::ZERO
                    };
                    match reader.consumer.poll(wait) {
                        Some(Ok(message)) => entry(&message)
                            .map_err(|foreign| CatchUpError::Unavailable(Arc::new(foreign)))?,
                        None if !entries.is_empty() => return Ok(entries),
                        None if Instant::now() > deadline => {
                            let error = NoAnswer(KAFKA_ANSWER_TIME_MAX);
                            return Err(CatchUpError::Unavailable(Arc::new(error)));
                        }
                        None => continue,
                        Some(Err(error)) if is_passing(&error) => continue,
                        Some(Err(error)) if is_out_of_range(&error) => {
                            return Err(CatchUpError::OutOfRange(Arc::new(error)));
                        }
                        Some(Err(error)) => {
                            return Err(CatchUpError::Unavailable(Arc::new(error)));
                        }
                    }
                }
            };
            if !limit.admits(entries.len(), bytes, next.record.len()) {
                reader.held = Some(next);
                return Ok(entries);
            }
            bytes += next.record.len();
            entries.push(next);
        }
    }
}
