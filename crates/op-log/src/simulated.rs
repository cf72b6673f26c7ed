//! A log in memory, whose faults follow from a seed.

mod faults;
mod partition;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Random;
use document_types::{DocumentId, LogOffset, LogPartition};
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::edges::check_append;
use crate::{AppendError, AppendFuture, Cause, LogEntry, OpLog, ReadError, ReadLimit, TrimError};
use faults::{Fate, SimulatedFault};
pub use faults::{FaultChances, FaultCounts};
use partition::{InFlight, Partition};

/// The log that several nodes share in a simulation. It outlives them all, as brokers do.
///
/// Time is tokio's, which simulations pause, and all choices are drawn from one stream: the same seed
/// and the same calls give the same log. Nothing runs in the background; whoever calls finds the log
/// as it is at that time. Records in flight are bounded by the callers alone.
#[derive(Clone, Debug)]
pub struct SimulatedLog(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    partitions: Vec<Partition>,
    random: Random,
    chances: FaultChances,
    counts: FaultCounts,
    /// Orders what becomes durable at the same time, and names handles.
    next_number: u64,
}

impl SimulatedLog {
    /// An empty log of `partition_count` partitions that goes wrong as `chances` say.
    pub fn new(partition_count: u32, random: &Random, chances: FaultChances) -> Self {
        Self(Arc::new(Mutex::new(State {
            partitions: (0..partition_count).map(|_| Partition::default()).collect(),
            random: random.fork(),
            chances,
            counts: FaultCounts::default(),
            next_number: 0,
        })))
    }

    /// A node's handle on the log.
    pub fn connect(&self) -> SimulatedOpLog {
        SimulatedOpLog {
            node: self.state().next_number(),
            log: self.clone(),
        }
    }

    /// Changes what goes wrong from here on. What is in flight keeps its fate.
    pub fn set_chances(&self, chances: FaultChances) {
        self.state().chances = chances;
    }

    /// How often each fault has struck, over all handles.
    pub fn fault_counts(&self) -> FaultCounts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is a failed simulation, which reads no more of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as it is now.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        let now = Instant::now();
        state
            .partitions
            .iter_mut()
            .for_each(|partition| partition.settle(now));
        state
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn partition(&self, partition: LogPartition) -> Option<&Partition> {
        self.partitions.get(partition.0 as usize)
    }

    fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("it was made from a u32")
    }

    fn no_such_partition(&self, partition: LogPartition) -> ReadError {
        ReadError::NoSuchPartition {
            partition,
            partition_count: self.partition_count(),
        }
    }
}

/// One node's handle on a [`SimulatedLog`].
#[derive(Debug)]
pub struct SimulatedOpLog {
    log: SimulatedLog,
    node: u64,
}

impl SimulatedOpLog {
    /// Crashes the node. Of what it has in flight a part, drawn for each partition, gets to the log
    /// yet, in order and maybe late; the rest never does. The handle is closed; a restarted node
    /// [connects](SimulatedLog::connect) anew.
    pub fn crash(&self) {
        let mut state = self.log.settled();
        let State {
            partitions,
            random,
            counts,
            ..
        } = &mut *state;
        for partition in partitions {
            let (kept_count, lost_count) = partition.crash(self.node, random);
            counts.crash_kept += kept_count;
            counts.crash_lost += lost_count;
        }
    }
}

#[async_trait]
impl OpLog for SimulatedOpLog {
    fn id(&self) -> &str {
        "simulated"
    }

    fn partition_count(&self) -> u32 {
        self.log.state().partition_count()
    }

    fn append(
        &self,
        partition: LogPartition,
        document: &DocumentId,
        record: Bytes,
    ) -> AppendFuture {
        let (log, node) = (self.log.clone(), self.node);
        let enqueued = self
            .log
            .settled()
            .enqueue(node, partition, document, record);
        async move {
            let Enqueued {
                answer_at,
                fate,
                mut result,
            } = enqueued?;
            sleep_until(answer_at).await;
            drop(log.settled());
            let fault = Arc::new(SimulatedFault(fate.as_str())) as Cause;
            match fate {
                // Nothing is there if the node crashed in between.
                Fate::Written | Fate::Duplicated => {
                    result.try_recv().map_err(|_| AppendError::Unknown(fault))
                }
                Fate::UnknownWritten | Fate::UnknownLost => Err(AppendError::Unknown(fault)),
                Fate::Failed => Err(AppendError::Failed(fault)),
                Fate::Overloaded => Err(AppendError::Overloaded { waiting_count: 0 }),
            }
        }
        .boxed()
    }

    async fn read(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let (delay, limit) = self.log.state().draw_read(limit)?;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        loop {
            let (changed, next_due) = {
                let state = self.log.settled();
                let Some(found) = state.partition(partition) else {
                    return Err(state.no_such_partition(partition));
                };
                found.check_alive(self.node)?;
                let entries = found.read(from, limit)?;
                if !entries.is_empty() {
                    return Ok(entries);
                }
                (found.changed.clone().notified_owned(), found.next_due())
            };
            let due = async {
                match next_due {
                    Some(next_due) => sleep_until(next_due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = due => {}
            }
        }
    }

    async fn tail(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        let state = self.log.settled();
        let found = state
            .partition(partition)
            .ok_or_else(|| state.no_such_partition(partition))?;
        found.check_alive(self.node)?;
        Ok(found.tail())
    }

    async fn trim(&self, partition: LogPartition, end: LogOffset) -> Result<(), TrimError> {
        let mut state = self.log.settled();
        let no_such_partition = state.no_such_partition(partition);
        let Some(found) = state.partitions.get_mut(partition.0 as usize) else {
            return Err(TrimError::from_read(no_such_partition));
        };
        found.check_alive(self.node).map_err(TrimError::from_read)?;
        found.trim(end)
    }

    async fn trim_point(&self, partition: LogPartition) -> Result<LogOffset, ReadError> {
        let state = self.log.settled();
        let found = state
            .partition(partition)
            .ok_or_else(|| state.no_such_partition(partition))?;
        found.check_alive(self.node)?;
        Ok(found.trim_point())
    }
}

/// An append under way: what becomes of it is decided.
struct Enqueued {
    answer_at: Instant,
    fate: Fate,
    result: oneshot::Receiver<LogOffset>,
}

impl State {
    /// Decides an append's fate and puts what will be written in flight.
    fn enqueue(
        &mut self,
        node: u64,
        partition: LogPartition,
        document: &DocumentId,
        record: Bytes,
    ) -> Result<Enqueued, AppendError> {
        check_append(partition, self.partition_count(), record.len())?;
        let found = &mut self.partitions[partition.0 as usize];
        if found.check_alive(node).is_err() {
            return Err(AppendError::Closed);
        }
        let fate = self.chances.draw_fate(&self.random);
        self.counts.count(fate);
        let now = Instant::now();
        let delay = self.chances.draw_delay(&self.random);
        let (done, result) = oneshot::channel();
        let copy = InFlight {
            node,
            document: document.clone(),
            record: record.clone(),
            done: None,
        };
        let first = InFlight {
            node,
            document: document.clone(),
            record,
            done: Some(done),
        };
        let due = match fate {
            Fate::Written | Fate::Duplicated => now + delay,
            Fate::UnknownWritten => now + self.chances.draw_lateness(&self.random),
            Fate::UnknownLost | Fate::Failed => {
                return Ok(Enqueued {
                    answer_at: now + delay,
                    fate,
                    result,
                });
            }
            Fate::Overloaded => {
                return Ok(Enqueued {
                    answer_at: now,
                    fate,
                    result,
                });
            }
        };
        self.next_number += 1;
        let due = found.enqueue(due, self.next_number, first);
        if fate == Fate::Duplicated {
            self.next_number += 1;
            let copy_due = due + self.chances.draw_lateness(&self.random);
            found.repeat(copy_due, self.next_number, copy);
        }
        let answer_at = match fate {
            Fate::UnknownWritten => now + delay,
            _ => due,
        };
        Ok(Enqueued {
            answer_at,
            fate,
            result,
        })
    }

    /// Decides how long a read takes and how much it returns, or that it fails.
    fn draw_read(&mut self, limit: ReadLimit) -> Result<(Duration, ReadLimit), ReadError> {
        if self.random.chance(self.chances.read_failed) {
            self.counts.reads_failed += 1;
            return Err(ReadError::Unavailable(Arc::new(SimulatedFault(
                "a failed read",
            ))));
        }
        let mut limit = limit;
        if self.random.chance(self.chances.read_short) {
            self.counts.reads_short += 1;
            limit.entries_max = limit.entries_max.min(1);
        }
        Ok((self.chances.draw_delay(&self.random), limit))
    }
}

#[cfg(test)]
mod tests;
