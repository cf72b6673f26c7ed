use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use document_types::limits::{KAFKA_POLL_TIME_MAX, KAFKA_RECENT_BYTES_MAX};
use document_types::{LogOffset, LogPartition};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Reports, consumer_config, entry, kafka_offset, kafka_partition};
use super::recent::Recent;
use super::{is_out_of_range, is_passing};
use crate::{Cause, LogEntry, ReadError, ReadLimit};

/// What a read does next.
pub(super) enum Plan {
    /// It returns these.
    Recent(Vec<LogEntry>),
    /// It waits for a change.
    WaitAtTail,
    /// It goes to the brokers for what is older. The tail is at least this.
    CatchUp(LogOffset),
    /// It asks the brokers what there is.
    Look,
}

/// Follows the tails of the partitions that are read, each once, however many readers it has.
pub(super) struct Tails {
    topic: String,
    consumer: BaseConsumer<Reports>,
    /// Held while a partition is assigned to the consumer or taken from it, so that the consumer and
    /// the partition's state say the same.
    assigning: Mutex<()>,
    partitions: Vec<Partition>,
    /// Bytes of newest entries that each partition may keep.
    recent_bytes_max: usize,
    /// How long a partition is followed that nobody reads.
    unread_time_max: Duration,
    is_closed: AtomicBool,
}

struct Partition {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

struct State {
    /// The trim point is at least this.
    trim_point: LogOffset,
    /// The tail is at least this.
    tail: LogOffset,
    /// There while the partition is followed.
    recent: Option<Recent>,
    /// Why it is no longer followed, until it is again.
    failure: Option<Cause>,
    last_read: Instant,
}

impl Partition {
    fn new() -> Self {
        let state = State {
            trim_point: LogOffset(0),
            tail: LogOffset(0),
            recent: None,
            failure: None,
            last_read: Instant::now(),
        };
        let (changed, _) = watch::channel(());
        Self {
            state: Mutex::new(state),
            changed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tails {
    pub(super) fn new(
        client: &ClientConfig,
        topic: &str,
        partition_count: u32,
        unread_time_max: Duration,
    ) -> Result<Self, KafkaError> {
        Ok(Self {
            topic: topic.to_owned(),
            consumer: consumer_config(client).create_with_context(Reports)?,
            assigning: Mutex::new(()),
            partitions: (0..partition_count).map(|_| Partition::new()).collect(),
            recent_bytes_max: KAFKA_RECENT_BYTES_MAX / partition_count as usize,
            unread_time_max,
            is_closed: AtomicBool::new(false),
        })
    }

    fn partition(&self, partition: LogPartition) -> &Partition {
        &self.partitions[partition.0 as usize]
    }

    /// Tells when a plan may have changed.
    pub(super) fn changes(&self, partition: LogPartition) -> watch::Receiver<()> {
        self.partition(partition).changed.subscribe()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// What a read does next, as far as is known here.
    pub(super) fn plan(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Plan, ReadError> {
        if self.is_closed() {
            return Err(ReadError::Closed);
        }
        let mut state = self.partition(partition).state();
        state.last_read = Instant::now();
        let trim_point = state.trim_point;
        if from < trim_point {
            return Err(ReadError::Trimmed { trim_point });
        }
        Ok(match &state.recent {
            Some(recent) if from < recent.start() => Plan::CatchUp(recent.end()),
            Some(recent) if from < recent.end() => Plan::Recent(recent.read(from, limit)),
            // What is known to be there is on its way.
            Some(recent) if from == recent.end() || from <= state.tail => Plan::WaitAtTail,
            None if from < state.tail => Plan::CatchUp(state.tail),
            _ => Plan::Look,
        })
    }

    #[cfg(test)]
    pub(super) fn is_followed(&self, partition: LogPartition) -> bool {
        self.partition(partition).state().recent.is_some()
    }

    /// Why the partition is no longer followed.
    pub(super) fn failure(&self, partition: LogPartition) -> Option<Cause> {
        self.partition(partition).state().failure.clone()
    }

    /// Takes note of a tail that the brokers told, and follows the partition if that is where `from`
    /// is. Blocks for a moment.
    pub(super) fn found(
        &self,
        number: LogPartition,
        from: LogOffset,
        tail: LogOffset,
    ) -> Result<(), KafkaError> {
        let _assigning = self
            .assigning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let partition = self.partition(number);
        let mut state = partition.state();
        state.tail = state.tail.max(tail);
        if from != tail || state.recent.is_some() {
            return Ok(());
        }
        state.recent = Some(Recent::new(from));
        state.failure = None;
        drop(state);
        let assigned = self
            .assignment(number, from)
            .and_then(|assignment| self.consumer.incremental_assign(&assignment));
        if assigned.is_err() {
            partition.state().recent = None;
            partition.changed.send_replace(());
        }
        assigned
    }

    /// Takes note of a trim.
    pub(super) fn trimmed(&self, partition: LogPartition, end: LogOffset) {
        let mut state = self.partition(partition).state();
        state.trim_point = state.trim_point.max(end);
        if let Some(recent) = &mut state.recent {
            recent.trim(end);
        }
    }

    /// Takes in what the consumer brings, until the log is closed. Blocks.
    pub(super) fn run(&self) {
        // However this ends, nobody may wait for it any longer.
        let _closing = CloseOnDrop(self);
        let mut next_look = Instant::now() + self.unread_time_max;
        while !self.is_closed() {
            match self.consumer.poll(KAFKA_POLL_TIME_MAX) {
                None => {}
                Some(Ok(message)) => self.add(&message),
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => self.give_up_all(error),
            }
            if Instant::now() >= next_look {
                self.give_up_unread();
                next_look = Instant::now() + self.unread_time_max;
            }
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for partition in &self.partitions {
            partition.changed.send_replace(());
        }
    }

    fn add(&self, message: &BorrowedMessage<'_>) {
        let Ok(number) = u32::try_from(message.partition()) else {
            return;
        };
        let number = LogPartition(number);
        match entry(message) {
            Ok(entry) => {
                let mut state = self.partition(number).state();
                let end = entry.offset.next();
                if let Some(recent) = &mut state.recent {
                    recent.add(entry, self.recent_bytes_max);
                    state.tail = state.tail.max(end);
                }
            }
            Err(foreign) => self.give_up(number, Some(Arc::new(foreign))),
        }
        self.partition(number).changed.send_replace(());
    }

    /// Gives all partitions up, since the client does not say which one an error is about. Readers
    /// find out by themselves which of them can go on.
    fn give_up_all(&self, error: KafkaError) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the log's tails are looked for anew"
        );
        // A reader whose offset is not there is told so by the brokers.
        let failure = (!is_out_of_range(&error)).then(|| Arc::new(error) as Cause);
        for number in self.numbers() {
            self.give_up(number, failure.clone());
        }
    }

    fn give_up_unread(&self) {
        for number in self.numbers() {
            let partition = self.partition(number);
            // Who waits holds a receiver; one who is about to will find that it is not followed.
            let is_read = partition.changed.receiver_count() > 0
                || partition.state().last_read.elapsed() < self.unread_time_max;
            if !is_read {
                self.give_up(number, None);
            }
        }
    }

    fn give_up(&self, number: LogPartition, failure: Option<Cause>) {
        let _assigning = self
            .assigning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let partition = self.partition(number);
        let mut state = partition.state();
        if state.recent.take().is_none() {
            return;
        }
        state.failure = failure;
        drop(state);
        let given_up = self
            .assignment(number, LogOffset(0))
            .and_then(|assignment| self.consumer.incremental_unassign(&assignment));
        if let Err(error) = given_up {
            tracing::warn!(
                partition = number.0,
                error = &error as &dyn std::error::Error,
                "the partition's tail can't be given up"
            );
        }
        partition.changed.send_replace(());
    }

    fn numbers(&self) -> impl Iterator<Item = LogPartition> {
        (0_u32..).take(self.partitions.len()).map(LogPartition)
    }

    fn assignment(
        &self,
        partition: LogPartition,
        from: LogOffset,
    ) -> Result<TopicPartitionList, KafkaError> {
        let mut assignment = TopicPartitionList::new();
        let offset = Offset::Offset(kafka_offset(from));
        assignment.add_partition_offset(&self.topic, kafka_partition(partition), offset)?;
        Ok(assignment)
    }
}

struct CloseOnDrop<'a>(&'a Tails);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
