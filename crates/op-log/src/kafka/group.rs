//! Dividing a topic's partitions among the members of a consumer group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use document_types::LogPartition;
use document_types::limits::{
    KAFKA_GROUP_HEARTBEAT_INTERVAL, KAFKA_GROUP_SESSION_TIME_MAX, KAFKA_POLL_TIME_MAX,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::watch;

use super::client::{Reports, client_config};
use super::{KafkaLogOptions, KafkaOpenError, blocking};
use crate::PartitionShare;

/// A member of a consumer group of the log's topic.
///
/// Membership says who reads what, and nothing else: the records are read through the log, and no offset
/// is committed, since the position of what was done lies with what was done. A member that is paused,
/// cut off or slow goes on with what it had until it learns better, which is what a
/// [`PartitionShare`] allows.
pub struct KafkaGroupMember {
    left: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaGroupMember {
    /// Joins `group` of the topic. The share is known once the group has met.
    ///
    /// # Errors
    /// [`KafkaOpenError`] if the client can't be started.
    pub fn join(
        options: &KafkaLogOptions,
        group: &str,
    ) -> Result<(Self, PartitionShare), KafkaOpenError> {
        let (assigned, share) = PartitionShare::decided_elsewhere();
        let mut config = client_config(&options.bootstrap_servers);
        config
            .set("group.id", group)
            // Those with the same number go to the same member, of all topics that it reads.
            .set("partition.assignment.strategy", "range")
            .set(
                "session.timeout.ms",
                KAFKA_GROUP_SESSION_TIME_MAX.as_millis().to_string(),
            )
            .set(
                "heartbeat.interval.ms",
                KAFKA_GROUP_HEARTBEAT_INTERVAL.as_millis().to_string(),
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Nothing is read here; this only keeps the client from looking for an offset.
            .set("auto.offset.reset", "latest");
        let consumer: BaseConsumer<Assignments> =
            config.create_with_context(Assignments { assigned })?;
        consumer.subscribe(&[&options.topic])?;
        let left = Arc::new(AtomicBool::new(false));
        let stop = left.clone();
        let thread = std::thread::Builder::new()
            .name("op-log-kafka-group".to_owned())
            .spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    // Assignments come by it as well.
                    if let Some(Err(error)) = consumer.poll(KAFKA_POLL_TIME_MAX) {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "a group's member hears of a failure"
                        );
                    }
                }
                // Dropping the consumer leaves the group.
            })
            .map_err(KafkaOpenError::Thread)?;
        let member = Self {
            left,
            thread: Some(thread),
        };
        Ok((member, share))
    }

    /// Leaves the group, so that the others get its partitions at once.
    pub async fn leave(mut self) {
        self.left.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && blocking(move || thread.join()).await.is_err()
        {
            tracing::error!("the thread of a group's member panicked");
        }
    }
}

impl Drop for KafkaGroupMember {
    fn drop(&mut self) {
        self.left.store(true, Ordering::Release);
    }
}

/// Hears which partitions this member has.
struct Assignments {
    assigned: watch::Sender<Option<BTreeSet<LogPartition>>>,
}

impl ClientContext for Assignments {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Reports.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Reports.error(error, reason);
    }
}

impl ConsumerContext for Assignments {
    /// A new assignment names all that the member has. When the group meets anew its partitions are
    /// taken from it first; until it hears which ones it gets it goes on with those that it had.
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                if let Err(error) = consumer.pause(partitions) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a group's member fetches what it does not read"
                    );
                }
                let now = numbers(partitions);
                tracing::info!(partitions = ?now, "this member's partitions");
                self.assigned.send_replace(Some(now));
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(
                error = error as &dyn std::error::Error,
                "a group could not divide its partitions"
            ),
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> BTreeSet<LogPartition> {
    let elements = partitions.elements();
    elements
        .iter()
        .filter_map(|element| u32::try_from(element.partition()).ok())
        .map(LogPartition)
        .collect()
}
