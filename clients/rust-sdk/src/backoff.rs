use std::time::Duration;

use clock::Random;

/// Pauses that double from the first to the longest, each with full jitter: a random part of it, so
/// that those who failed together don't come back together.
///
/// Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub(crate) struct Backoff {
    random: Random,
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(random: Random, first: Duration, longest: Duration) -> Self {
        Self {
            random,
            first,
            longest,
            attempts: 0,
        }
    }

    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        self.random
            .jitter(self.first.saturating_mul(doubled).min(self.longest))
    }

    /// It worked: the next pause is the first again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over() {
        let seconds = Duration::from_secs;
        let mut longest_seen = [Duration::ZERO; 8];
        for seed in 0..400 {
            let mut backoff = Backoff::new(Random::from_seed(seed), seconds(2), seconds(30));
            for longest in &mut longest_seen {
                *longest = backoff.pause().max(*longest);
            }
            backoff.reset();
            assert!(backoff.pause() < seconds(2));
        }
        let bounds = [2, 4, 8, 16, 30, 30, 30, 30].map(seconds);
        for (seen, bound) in longest_seen.into_iter().zip(bounds) {
            assert!(
                seen < bound && seen > bound * 3 / 4,
                "{seen:?} of {bound:?}"
            );
        }
    }
}
