use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tokio::time::Instant;

use crate::GatewayLimits;
use crate::metric_names::CONNECTIONS_OPEN;
use crate::rate::Rate;

/// Decides which sockets are taken: a number at once and a number a second. It stands before the
/// upgrade, where a refusal costs least.
pub(crate) struct Admission {
    limits: GatewayLimits,
    started: Instant,
    arrivals: Mutex<Arrivals>,
    open: Arc<AtomicUsize>,
}

/// Sockets that came, and those that were sent away and come back.
struct Arrivals {
    taken: Rate,
    /// Each of them gets a moment of its own to come back at, as many a second as are taken.
    sent_away: Rate,
}

/// Too many sockets, or too many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// When to come back.
    pub(crate) retry_after: Duration,
}

/// The longest that a client is sent away for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How long a client is sent away when the gateway is full, at least.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(10);

impl Admission {
    pub(crate) fn new(limits: GatewayLimits) -> Self {
        let started = Instant::now();
        Self {
            limits,
            started,
            arrivals: Mutex::new(Arrivals {
                taken: Rate::new(limits.connections_per_second_max, Duration::ZERO),
                sent_away: Rate::new(limits.connections_per_second_max, Duration::ZERO),
            }),
            open: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Takes a socket's place, which is free again when it is dropped.
    pub(crate) fn admit(&self) -> Result<Place, Refused> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.started.elapsed();
        let retry_after = arrivals.taken.take(1.0, now);
        if !retry_after.is_zero() {
            // Who is sent away does not count, or a storm would shut out those who wait as told.
            arrivals.taken.give_back(1.0);
            return Err(arrivals.send_away(retry_after, now));
        }
        let place = Place::take(self.open.clone());
        if place.open.load(Ordering::Relaxed) > self.limits.connections_count_max {
            return Err(arrivals.send_away(FULL_RETRY_AFTER, now));
        }
        Ok(place)
    }
}

impl Arrivals {
    /// Sends somebody away for `at_least` so long, and so that not all come back at once.
    fn send_away(&mut self, at_least: Duration, now: Duration) -> Refused {
        let behind_others = self.sent_away.take(1.0, now);
        if at_least + behind_others > RETRY_AFTER_MAX {
            self.sent_away.give_back(1.0);
        }
        Refused {
            retry_after: (at_least + behind_others).min(RETRY_AFTER_MAX),
        }
    }
}

/// One socket's place.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<AtomicUsize>,
}

impl Place {
    fn take(open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        gauge!(CONNECTIONS_OPEN).increment(1.0);
        Self { open }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        gauge!(CONNECTIONS_OPEN).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_count_max: usize, connections_per_second_max: u32) -> Admission {
        Admission::new(GatewayLimits {
            connections_count_max,
            connections_per_second_max,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_and_come_free() {
        let admission = admission(1, 100);
        let place = admission.admit().unwrap();
        assert_eq!(admission.admit().unwrap_err().retry_after, FULL_RETRY_AFTER);
        drop(place);
        admission.admit().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_told_when_to_come_back() {
        let admission = admission(100, 2);
        let _places = [admission.admit().unwrap(), admission.admit().unwrap()];
        let retries: Vec<_> = (0..6)
            .map(|_| admission.admit().unwrap_err().retry_after.as_millis())
            .collect();
        assert_eq!(retries, [500, 500, 1_000, 1_500, 2_000, 2_500]);
        tokio::time::advance(Duration::from_millis(500)).await;
        admission.admit().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_away_for_longer_than_a_minute() {
        let admission = admission(100, 2);
        let refused: Vec<_> = (0..1_000)
            .filter_map(|_| admission.admit().err())
            .map(|refused| refused.retry_after)
            .collect();
        assert_eq!(refused.last(), Some(&RETRY_AFTER_MAX));
    }
}
