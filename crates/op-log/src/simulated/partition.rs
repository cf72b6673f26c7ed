use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use clock::Random;
use document_types::{DocumentId, LogOffset};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::edges::check_offset;
use crate::{LogEntry, ReadError, ReadLimit, TrimError};

/// One partition: what is durable, and what will be.
#[derive(Debug, Default)]
pub(super) struct Partition {
    trim_point: LogOffset,
    /// From the trim point on.
    entries: VecDeque<LogEntry>,
    /// What becomes durable, by when it does, and then by a number that grows with every append.
    in_flight: BTreeMap<(Instant, u64), InFlight>,
    /// When the last append of each node becomes durable: none of its later ones does before.
    last_due: BTreeMap<u64, Instant>,
    crashed_nodes: BTreeSet<u64>,
    /// Wakes waiting readers when they should look again, in the order in which they came: a watch
    /// channel would wake them in an order of its own, which no seed repeats.
    pub(super) changed: Arc<Notify>,
}

/// A record on its way.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) node: u64,
    pub(super) document: DocumentId,
    pub(super) record: Bytes,
    /// Who is told of the offset.
    pub(super) done: Option<oneshot::Sender<LogOffset>>,
}

impl Partition {
    pub(super) fn trim_point(&self) -> LogOffset {
        self.trim_point
    }

    pub(super) fn tail(&self) -> LogOffset {
        LogOffset(self.trim_point.0 + self.entries.len() as u64)
    }

    /// When the next record in flight becomes durable.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((due, _), _)| *due)
    }

    /// Fails if `node` has crashed.
    pub(super) fn check_alive(&self, node: u64) -> Result<(), ReadError> {
        if self.crashed_nodes.contains(&node) {
            Err(ReadError::Closed)
        } else {
            Ok(())
        }
    }

    /// Makes durable what is due by `now`.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(next) = self.in_flight.first_entry()
            && next.key().0 <= now
        {
            let InFlight {
                document,
                record,
                done,
                ..
            } = next.remove();
            let offset = self.tail();
            self.entries.push_back(LogEntry {
                offset,
                document,
                record,
            });
            if let Some(done) = done {
                // Nobody may be waiting for the answer; then it is not needed.
                let _ = done.send(offset);
            }
            self.changed.notify_waiters();
        }
    }

    /// Puts a record in flight, to become durable at `due` or when the node's earlier ones have.
    /// Returns when that is.
    pub(super) fn enqueue(&mut self, due: Instant, number: u64, in_flight: InFlight) -> Instant {
        let last_due = self.last_due.entry(in_flight.node).or_insert(due);
        *last_due = due.max(*last_due);
        let due = *last_due;
        self.in_flight.insert((due, number), in_flight);
        self.changed.notify_waiters();
        due
    }

    /// Puts the repetition of a record in flight. It keeps no order.
    pub(super) fn repeat(&mut self, due: Instant, number: u64, in_flight: InFlight) {
        self.in_flight.insert((due, number), in_flight);
    }

    /// Loses what `node` has in flight, but for a first part. Returns how many stayed and how many
    /// were lost.
    pub(super) fn crash(&mut self, node: u64, random: &Random) -> (u64, u64) {
        self.crashed_nodes.insert(node);
        let in_flight: Vec<_> = self
            .in_flight
            .iter()
            .filter(|(_, in_flight)| in_flight.node == node)
            .map(|(key, _)| *key)
            .collect();
        let count = in_flight.len() as u64;
        let kept_count = random.below(count + 1);
        for key in in_flight
            .iter()
            .skip(usize::try_from(kept_count).unwrap_or(usize::MAX))
        {
            self.in_flight.remove(key);
        }
        self.changed.notify_waiters();
        (kept_count, count - kept_count)
    }

    /// The entries from `from` on, none if it is the tail.
    pub(super) fn read(
        &self,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        check_offset(from, self.trim_point, self.tail())?;
        let skipped_count = from.0.saturating_sub(self.trim_point.0);
        let skipped_count = usize::try_from(skipped_count).unwrap_or(usize::MAX);
        Ok(limit.first_of(self.entries.iter().skip(skipped_count)))
    }

    pub(super) fn trim(&mut self, end: LogOffset) -> Result<(), TrimError> {
        if end > self.tail() {
            return Err(TrimError::BeyondTail { tail: self.tail() });
        }
        while self.trim_point < end {
            self.entries.pop_front();
            self.trim_point = self.trim_point.next();
        }
        Ok(())
    }
}
