use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use document_types::limits::KAFKA_APPEND_TIME_MAX;
use document_types::{DocumentId, LogOffset, LogPartition};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::producer::future_producer::{DeliveryFuture, FutureProducer, FutureRecord};
use tokio::time::Instant;

use super::client::{Reports, kafka_partition, producer_config};
use crate::{AppendError, metric_names};

type Producer = FutureProducer<Reports>;

/// Appends go through one producer, whose sequence numbers are what keeps their order.
pub(super) struct Appender {
    config: ClientConfig,
    topic: String,
    /// None once it is closed.
    producer: Mutex<Option<Producer>>,
}

/// Why the result of an append is not known.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error("the brokers have not acknowledged it in time; it stays enqueued")]
    NoAnswer,
    #[error("the producer ended before the brokers answered")]
    ProducerEnded,
    #[error("the brokers have it already and don't say at which offset")]
    NoOffset,
}

impl Appender {
    pub(super) fn new(client: &ClientConfig, topic: &str) -> Result<Self, KafkaError> {
        let config = producer_config(client);
        let producer = config.create_with_context(Reports)?;
        Ok(Self {
            config,
            topic: topic.to_owned(),
            producer: Mutex::new(Some(producer)),
        })
    }

    /// Enqueues a record. The order of calls is that of the records.
    pub(super) fn enqueue(
        &self,
        partition: LogPartition,
        document: &DocumentId,
        record: &[u8],
    ) -> Result<DeliveryFuture, AppendError> {
        let mut open = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = open.as_mut().ok_or(AppendError::Closed)?;
        if let Some((code, reason)) = producer.client().fatal_error() {
            // The client can't tell any more what the broker has of it. What it held has been given
            // up, as unknown, so a new one may take over.
            tracing::error!(%code, reason, "Kafka's producer failed and is replaced");
            metrics::counter!(metric_names::KAFKA_PRODUCERS_REPLACED).increment(1);
            let next = self.config.create_with_context(Reports).map_err(failed)?;
            let ended = std::mem::replace(producer, next);
            // Its end blocks for a moment, and nobody needs to wait for it.
            std::mem::drop(tokio::task::spawn_blocking(move || drop(ended)));
        }
        let message = FutureRecord::to(&self.topic)
            .partition(kafka_partition(partition))
            .key(document.as_str())
            .payload(record);
        producer
            .send_result(message)
            .map_err(|(error, _)| match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => AppendError::Overloaded {
                    waiting_count: usize::try_from(producer.in_flight_count()).unwrap_or_default(),
                },
                _ => failed(error),
            })
    }

    /// Waits until what is enqueued is written, but not longer than this, and gives the rest up.
    /// Blocks.
    pub(super) fn close(&self, flush_time_max: Duration) {
        let producer = self
            .producer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(producer) = producer
            && flush_time_max > Duration::ZERO
            && let Err(error) = producer.flush(flush_time_max)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                waiting_count = producer.in_flight_count(),
                "records were not acknowledged before the log was closed"
            );
        }
    }
}

/// The result of an append that was enqueued.
pub(super) async fn acknowledged(
    delivery: DeliveryFuture,
    started: Instant,
) -> Result<LogOffset, AppendError> {
    let deadline = started + KAFKA_APPEND_TIME_MAX;
    match tokio::time::timeout_at(deadline, delivery).await {
        Err(_) => Err(unknown(Unsettled::NoAnswer)),
        Ok(Err(_)) => Err(unknown(Unsettled::ProducerEnded)),
        Ok(Ok(Err((error, _)))) if is_refusal(&error) => Err(failed(error)),
        Ok(Ok(Err((error, _)))) => Err(unknown(error)),
        // The broker remembers the offsets of a producer's last batches only.
        Ok(Ok(Ok(delivered))) => u64::try_from(delivered.offset)
            .map(LogOffset)
            .map_err(|_| unknown(Unsettled::NoOffset)),
    }
}

/// Whether the broker refuses the record for what it is, so that no attempt can have written it. Other
/// errors, a missing permission among them, may follow an attempt whose answer was lost.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord)
    )
}

fn failed(error: KafkaError) -> AppendError {
    AppendError::Failed(Arc::new(error))
}

fn unknown(cause: impl std::error::Error + Send + Sync + 'static) -> AppendError {
    AppendError::Unknown(Arc::new(cause))
}
