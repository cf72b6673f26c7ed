use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Latencies;

const MINUTE: Duration = Duration::from_secs(60);

/// What the clients count, all together, by the minute. The minute is that in which something came.
pub(super) struct Tally {
    began: Instant,
    minutes: Mutex<Vec<Minute>>,
}

/// What one minute brought.
#[derive(Clone, Default)]
pub(super) struct Minute {
    /// Updates that were sent.
    pub(super) offered: u64,
    /// Updates that were acknowledged.
    pub(super) acknowledged: u64,
    /// From sending to the acknowledgement.
    pub(super) ack: Latencies,
    /// From sending to the receipt by another client.
    pub(super) seen: Latencies,
    /// From when an update was due to when it was sent.
    pub(super) behind: Latencies,
    /// From a cursor's movement to its receipt by another client, to the millisecond. Movements that newer
    /// ones overtake are not received.
    pub(super) cursor: Latencies,
    /// The beat's length at each beat, as one client of each document hears it.
    pub(super) beat: Latencies,
}

impl Tally {
    /// Nothing yet; minutes are counted from `began` on.
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            minutes: Mutex::default(),
        }
    }

    /// Counts something of the minute in which `at` lies.
    pub(super) fn count(&self, at: Instant, count: impl FnOnce(&mut Minute)) {
        let minute = at.saturating_duration_since(self.began).as_secs() / MINUTE.as_secs();
        let minute = usize::try_from(minute).unwrap_or(usize::MAX);
        let mut minutes = self.minutes();
        while minutes.len() <= minute {
            minutes.push(Minute::default());
        }
        count(&mut minutes[minute]);
    }

    /// All minutes so far.
    pub(super) fn minutes(&self) -> MutexGuard<'_, Vec<Minute>> {
        // Every count is complete when it panics, if it ever does.
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    /// All of it together.
    pub(super) fn sum(minutes: &[Self]) -> Self {
        let mut sum = Self::default();
        for minute in minutes {
            sum.offered += minute.offered;
            sum.acknowledged += minute.acknowledged;
            sum.ack.add(&minute.ack);
            sum.seen.add(&minute.seen);
            sum.behind.add(&minute.behind);
            sum.cursor.add(&minute.cursor);
            sum.beat.add(&minute.beat);
        }
        sum
    }
}
