use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies of one minute or of one run.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// The largest latency that is told apart from larger ones.
    const MICROS_MAX: u64 = 600_000_000;

    /// No latencies yet.
    pub fn new() -> Self {
        Self(Histogram::new_with_max(Self::MICROS_MAX, 3).expect("3 digits are a valid precision"))
    }

    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.min(Self::MICROS_MAX));
    }

    /// Counts all of `other` too.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// The mean, in milliseconds.
    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    /// The latency below which a share of all are, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        #[allow(clippy::cast_precision_loss)] // Below 2^52.
        let micros = self.0.value_at_quantile(share) as f64;
        micros / 1_000.0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, max {:.1} ms ({} measured)",
            self.quantile_ms(0.5),
            self.quantile_ms(0.95),
            self.quantile_ms(0.99),
            self.quantile_ms(1.0),
            self.count()
        )
    }
}
