use std::time::Duration;

/// A token bucket that may go into debt: what is taken is always granted, and the answer is how long
/// to wait until the debt is paid. Its clock is a duration since any fixed moment.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    tokens: f64,
    last: Duration,
}

impl Rate {
    /// A bucket that holds one second's worth, and is full.
    pub(crate) fn new(per_second: u32, now: Duration) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self {
            per_second,
            tokens: per_second,
            last: now,
        }
    }

    /// Takes `amount` and says how long to wait before going on.
    pub(crate) fn take(&mut self, amount: f64, now: Duration) -> Duration {
        let gained = now.saturating_sub(self.last).as_secs_f64() * self.per_second;
        self.last = now;
        self.tokens = (self.tokens + gained).min(self.per_second) - amount;
        Duration::from_secs_f64((-self.tokens).max(0.0) / self.per_second)
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, amount: f64) {
        self.tokens += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_free_and_the_rest_is_waited_for() {
        let mut rate = Rate::new(10, Duration::ZERO);
        assert_eq!(rate.take(10.0, Duration::ZERO), Duration::ZERO);
        assert_eq!(rate.take(5.0, Duration::ZERO), Duration::from_millis(500));
        assert_eq!(
            rate.take(1.0, Duration::from_millis(500)),
            Duration::from_millis(100)
        );
        assert_eq!(
            rate.take(10.0, Duration::from_secs(60)),
            Duration::ZERO,
            "never more than full"
        );
        assert_eq!(
            rate.take(1.0, Duration::from_secs(60)),
            Duration::from_millis(100)
        );
    }
}
