use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use tokio::time::Instant;

/// Wall-clock time. Durations and timeouts use `tokio::time`, which a simulation pauses; this is for
/// what people see and for stamps.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch. It may jump in either direction, as clocks do.
    fn now_ms(&self) -> u64;

    /// Microseconds since the Unix epoch, for what is shorter than a millisecond.
    fn now_us(&self) -> u64 {
        self.now_ms() * 1_000
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> u64 {
        #[allow(clippy::disallowed_methods)] // The one place that reads it.
        let now = SystemTime::now();
        now.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            })
    }
}

/// A clock that starts at a chosen time and follows the runtime's paused time, plus a skew that a
/// test may change to make the clock jump.
#[derive(Debug)]
pub struct SimulatedClock {
    start_ms: u64,
    started: Instant,
    skew_ms: AtomicI64,
}

impl SimulatedClock {
    /// A clock that now shows `start_ms`. Call it within the runtime whose time it shall follow.
    pub fn starting_at(start_ms: u64) -> Self {
        #[allow(clippy::disallowed_methods)] // Paused time, which the simulation controls.
        let started = Instant::now();
        Self {
            start_ms,
            started,
            skew_ms: AtomicI64::new(0),
        }
    }

    /// Makes the clock jump by `delta_ms`.
    pub fn jump(&self, delta_ms: i64) {
        self.skew_ms.fetch_add(delta_ms, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> u64 {
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.start_ms + elapsed_ms).saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }
}
