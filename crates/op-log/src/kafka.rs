//! The log in an Apache Kafka topic.

mod appender;
mod catch_up;
mod client;
mod group;
mod open_error;
mod recent;
mod tails;
mod topic;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use document_types::limits::{
    KAFKA_ANSWER_TIME_MAX, KAFKA_CLOSE_TIME_MAX, KAFKA_LEADER_PAUSE, KAFKA_PARTITIONS_MAX,
    KAFKA_QUESTIONS_MAX, KAFKA_UNREAD_TAIL_TIME_MAX,
};
use document_types::{DocumentId, LogOffset, LogPartition, RegionId};
use futures::FutureExt;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::edges::{check_append, check_offset, check_partition, count_append};
use crate::{AppendFuture, Cause, LogEntry, OpLog, ReadError, ReadLimit, TrimError, metric_names};
use appender::Appender;
use catch_up::{CatchUp, CatchUpError};
use client::{Reports, client_config, kafka_offset, kafka_partition};
pub use group::KafkaGroupMember;
pub use open_error::{KafkaOpenError, Shortcoming};
use tails::{Plan, Tails};

/// How a log in Kafka is opened.
#[derive(Clone, Debug)]
pub struct KafkaLogOptions {
    /// Addresses of some brokers, `host:port`, with commas between; the others are learned from them.
    pub bootstrap_servers: String,
    /// The topic, which has to be there: it is described in `infra/kafka`.
    pub topic: String,
    /// Partitions of the topic, fixed for its life.
    pub partition_count: u32,
    /// Whether a topic will do that may lose what was acknowledged, as one on a single broker may.
    pub development: bool,
}

impl KafkaLogOptions {
    /// How the copy of another region's log is opened: the same topic in the same cluster, under the
    /// name that MirrorMaker 2 gives it by default.
    #[must_use]
    pub fn copy_of(&self, region: &RegionId) -> Self {
        Self {
            topic: format!("{region}.{}", self.topic),
            ..self.clone()
        }
    }
}

/// An [`OpLog`] that is a topic of a Kafka cluster, shared by any number of processes.
///
/// - **Appends** go through one idempotent producer and are acknowledged by all in-sync replicas. It
///   sends each record again until the brokers have answered, for as long as this handle is open;
///   that keeps the order of calls whatever happens. The caller is told [`AppendError::Unknown`](crate::AppendError::Unknown) after
///   [`KAFKA_APPEND_TIME_MAX`](document_types::limits::KAFKA_APPEND_TIME_MAX), while the record stays
///   enqueued in its place.
/// - **Reads at the tail** are served from memory: one consumer follows the partitions that are read,
///   each once, however many readers it has. A partition that nobody reads for a while is dropped.
/// - **Reads of what is older** go to the brokers, a few at a time.
/// - **When brokers are away** a read at the tail goes on waiting, everything else ends in an error
///   that may be retried, and all of it recovers when they are back.
/// - **Trimming** through another handle, or by the topic's retention, is noticed by reads that go to
///   the brokers; what this handle holds in memory it returns nonetheless.
/// - **Memory** is bounded by the limits in [`document_types::limits`] under `KAFKA_…`.
///
/// [`close`](Self::close) writes what is enqueued; dropping the log does not wait for it.
pub struct KafkaOpLog {
    shared: Arc<Shared>,
    /// Polls the tails' consumer.
    tail_thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    id: String,
    topic: String,
    partition_count: u32,
    appender: Appender,
    tails: Tails,
    catch_up: CatchUp,
    admin: AdminClient<Reports>,
    questions: Arc<Semaphore>,
}

/// What a partition holds, by the brokers' word.
struct Bounds {
    trim_point: LogOffset,
    tail: LogOffset,
}

impl KafkaOpLog {
    /// Connects to the brokers, checks that the topic can keep what is acknowledged, and opens it.
    ///
    /// # Errors
    /// [`KafkaOpenError`] says why, and what to do.
    pub async fn open(options: &KafkaLogOptions) -> Result<Self, KafkaOpenError> {
        let partition_count = options.partition_count;
        if !(1..=KAFKA_PARTITIONS_MAX).contains(&partition_count) {
            return Err(KafkaOpenError::InvalidPartitionCount {
                configured: partition_count,
                partitions_max: KAFKA_PARTITIONS_MAX,
            });
        }
        let config = client_config(&options.bootstrap_servers);
        let admin: AdminClient<Reports> = config.create_with_context(Reports)?;
        let topic = options.topic.clone();
        let (admin, described) = blocking(move || {
            let layout = topic::describe(&admin, &topic);
            let described = layout.and_then(|layout| Ok((layout, topic::cluster_id(&admin)?)));
            (admin, described)
        })
        .await;
        let (layout, cluster_id) = described?;
        topic::check(&admin, options, &layout).await?;

        let shared = Shared {
            id: format!("kafka-{cluster_id}/{}", options.topic),
            topic: options.topic.clone(),
            partition_count,
            appender: Appender::new(&config, &options.topic)?,
            tails: Tails::new(
                &config,
                &options.topic,
                partition_count,
                KAFKA_UNREAD_TAIL_TIME_MAX,
            )?,
            catch_up: CatchUp::new(&config, &options.topic),
            admin,
            questions: Arc::new(Semaphore::new(KAFKA_QUESTIONS_MAX)),
        };
        let shared = Arc::new(shared);
        let followed = Arc::clone(&shared);
        let tail_thread = std::thread::Builder::new()
            .name("op-log-kafka-tail".to_owned())
            .spawn(move || followed.tails.run())
            .map_err(KafkaOpenError::Thread)?;
        Ok(Self {
            shared,
            tail_thread: Mutex::new(Some(tail_thread)),
        })
    }

    /// Takes nothing more in and waits, for
    /// [`KAFKA_CLOSE_TIME_MAX`](document_types::limits::KAFKA_CLOSE_TIME_MAX) at most, until what is
    /// enqueued is written; what is not by then ends as [`AppendError::Unknown`](crate::AppendError::Unknown). Reads that wait, and
    /// everything that comes later, get `Closed`.
    pub async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        let tail_thread = self.take_tail_thread();
        blocking(move || shared.close(KAFKA_CLOSE_TIME_MAX, tail_thread)).await;
    }

    fn take_tail_thread(&self) -> Option<JoinHandle<()>> {
        self.tail_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn bounds(&self, partition: LogPartition) -> Result<Bounds, ReadError> {
        check_partition(partition, self.shared.partition_count)?;
        self.shared.ask(partition, |_, bounds| Ok(bounds)).await
    }
}

impl Shared {
    /// Asks the leader for the partition's bounds and does something with them that may block.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        partition: LogPartition,
        then: impl FnOnce(&Self, Bounds) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(self);
        let permit = Arc::clone(&self.questions).acquire_owned().await;
        blocking(move || {
            // Held to the end of the work, which goes on when the caller is dropped.
            let _permit = permit;
            if shared.tails.is_closed() {
                return Err(ReadError::Closed);
            }
            let number = kafka_partition(partition);
            let (first, end) = shared.watermarks(number).map_err(unavailable)?;
            let offset = |number| u64::try_from(number).map(LogOffset);
            let (Ok(trim_point), Ok(tail)) = (offset(first), offset(end)) else {
                return Err(unavailable(NoBounds));
            };
            then(&shared, Bounds { trim_point, tail })
        })
        .await
    }

    /// Where a partition begins and ends, by its leader's word. The client asks whom it takes for the leader
    /// once; while another one is being found it is asked again. Only for threads that may block.
    fn watermarks(&self, number: i32) -> Result<(i64, i64), KafkaError> {
        let deadline = Instant::now() + KAFKA_ANSWER_TIME_MAX;
        let client = self.admin.inner();
        loop {
            match client.fetch_watermarks(&self.topic, number, KAFKA_ANSWER_TIME_MAX) {
                Err(error)
                    if is_leader_moving(&error)
                        && Instant::now() < deadline
                        && !self.tails.is_closed() =>
                {
                    tracing::debug!(
                        partition = number,
                        error = &error as &dyn std::error::Error,
                        "a partition's leader is asked for its bounds again"
                    );
                    Handle::current().block_on(sleep(KAFKA_LEADER_PAUSE));
                }
                answer => return answer,
            }
        }
    }

    /// Finds out what there is for a reader at `from`, and follows the partition if that is its tail.
    async fn look(
        self: &Arc<Self>,
        partition: LogPartition,
        from: LogOffset,
    ) -> Result<(), ReadError> {
        self.ask(partition, move |shared, bounds| {
            check_offset(from, bounds.trim_point, bounds.tail)?;
            shared
                .tails
                .found(partition, from, bounds.tail)
                .map_err(unavailable)
        })
        .await
    }

    fn close(&self, flush_time_max: Duration, tail_thread: Option<JoinHandle<()>>) {
        self.appender.close(flush_time_max);
        self.catch_up.close();
        self.tails.close();
        if let Some(thread) = tail_thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the log's tails panicked");
        }
    }
}

#[async_trait]
impl OpLog for KafkaOpLog {
    fn id(&self) -> &str {
        &self.shared.id
    }

    fn partition_count(&self) -> u32 {
        self.shared.partition_count
    }

    fn append(
        &self,
        partition: LogPartition,
        document: &DocumentId,
        record: Bytes,
    ) -> AppendFuture {
        let started = Instant::now();
        let enqueued = check_append(partition, self.partition_count(), record.len())
            .and_then(|()| self.shared.appender.enqueue(partition, document, &record));
        async move {
            let result = match enqueued {
                Ok(delivery) => appender::acknowledged(delivery, started).await,
                Err(error) => Err(error),
            };
            count_append(started, &result);
            result
        }
        .boxed()
    }

    async fn read(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        check_partition(partition, self.partition_count())?;
        let mut changes = self.shared.tails.changes(partition);
        loop {
            // Marked as seen before the plan is made, so that no change in between is missed.
            changes.borrow_and_update();
            match self.shared.tails.plan(partition, from, limit)? {
                Plan::Recent(entries) => {
                    metrics::counter!(metric_names::READS, "from" => "memory").increment(1);
                    return Ok(entries);
                }
                Plan::WaitAtTail => {
                    // The sender is in `self.shared`, so it lives as long as this borrow.
                    let _ = changes.changed().await;
                    if let Some(cause) = self.shared.tails.failure(partition) {
                        return Err(ReadError::Unavailable(cause));
                    }
                }
                Plan::Look => self.shared.look(partition, from).await?,
                Plan::CatchUp(tail) => {
                    let catch_up = &self.shared.catch_up;
                    match catch_up.read(partition, from, limit, tail).await {
                        Ok(entries) => {
                            metrics::counter!(metric_names::READS, "from" => "brokers")
                                .increment(1);
                            return Ok(entries);
                        }
                        Err(CatchUpError::Closed) => return Err(ReadError::Closed),
                        Err(CatchUpError::Unavailable(cause)) => {
                            return Err(ReadError::Unavailable(cause));
                        }
                        // Either it was trimmed, or the log has lost what it had.
                        Err(CatchUpError::OutOfRange(cause)) => {
                            let bounds = self.bounds(partition).await?;
                            check_offset(from, bounds.trim_point, bounds.tail)?;
                            return Err(ReadError::Unavailable(cause));
                        }
                    }
                }
            }
        }
    }

    async fn tail(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        Ok(self.bounds(partition).await?.tail)
    }

    async fn trim(&self, partition: LogPartition, end: LogOffset) -> Result<(), TrimError> {
        let bounds = self.bounds(partition).await.map_err(TrimError::from_read)?;
        if end > bounds.tail {
            return Err(TrimError::BeyondTail { tail: bounds.tail });
        }
        if end > bounds.trim_point {
            let unavailable = |error: KafkaError| TrimError::Unavailable(Arc::new(error));
            let number = kafka_partition(partition);
            let mut ends = TopicPartitionList::new();
            ends.add_partition_offset(
                &self.shared.topic,
                number,
                Offset::Offset(kafka_offset(end)),
            )
            .map_err(unavailable)?;
            let options = AdminOptions::new().request_timeout(Some(KAFKA_ANSWER_TIME_MAX));
            let trimmed = self.shared.admin.delete_records(&ends, &options).await;
            for element in trimmed.map_err(unavailable)?.elements() {
                element.error().map_err(unavailable)?;
            }
        }
        self.shared.tails.trimmed(partition, end);
        Ok(())
    }

    async fn trim_point(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        Ok(self.bounds(partition).await?.trim_point)
    }
}

impl Drop for KafkaOpLog {
    fn drop(&mut self) {
        let tail_thread = self.take_tail_thread();
        self.shared.close(Duration::ZERO, tail_thread);
    }
}

/// The leader gave offsets that are none.
#[derive(Debug, thiserror::Error)]
#[error("the broker does not say where the partition begins and ends")]
struct NoBounds;

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> ReadError {
    ReadError::Unavailable(Arc::new(cause) as Cause)
}

/// Whether the error only says that brokers can't be reached now: the client goes on trying by itself.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, GroupAuthorizationFailed, OperationTimedOut,
        Resolve,
    };
    // The group is a name that the client asks for; nothing is done in it.
    matches!(
        error.rdkafka_error_code(),
        Some(
            AllBrokersDown
                | BrokerTransportFailure
                | GroupAuthorizationFailed
                | OperationTimedOut
                | Resolve
        )
    )
}

/// Whether the error says that the broker which was asked no longer leads the partition, is gone, or leads
/// it only since a moment ago.
fn is_leader_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        BrokerTransportFailure, DestroyBroker, LeaderNotAvailable, NotLeaderForPartition,
        OffsetNotAvailable,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            BrokerTransportFailure
                | DestroyBroker
                | LeaderNotAvailable
                | NotLeaderForPartition
                | OffsetNotAvailable
        )
    )
}

/// Whether the error says that the offset asked for is not in the log.
fn is_out_of_range(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, LogTruncation, OffsetOutOfRange};
    matches!(
        error.rdkafka_error_code(),
        Some(AutoOffsetReset | LogTruncation | OffsetOutOfRange)
    )
}

/// Runs what blocks where it may. A panic goes on in the caller.
async fn blocking<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(action).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // A blocking task is cancelled only with its runtime, and then nobody waits for it.
            Err(_) => futures::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
