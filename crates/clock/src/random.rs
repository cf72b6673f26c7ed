use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// A source of randomness that is handed on, never ambient. Clones draw from the same stream;
/// [`Random::fork`] gives a stream of its own, so that one component's draws don't shift another's.
///
/// Not for secrets: ids and jitter only.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<SmallRng>>);

impl Random {
    /// A stream that is the same for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    /// A stream seeded by the operating system.
    pub fn from_entropy() -> Self {
        #[allow(clippy::disallowed_methods)] // The one place that asks for it.
        let rng = SmallRng::from_os_rng();
        Self(Arc::new(Mutex::new(rng)))
    }

    /// An independent stream, seeded from this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::from_seed(self.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&self) -> u64 {
        self.with(RngCore::next_u64)
    }

    /// A number below `bound`, or 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.with(|rng| rng.random_range(0..bound))
        }
    }

    /// True with probability `probability`, from 0.0 to 1.0.
    pub fn chance(&self, probability: f64) -> bool {
        self.with(|rng| rng.random_bool(probability.clamp(0.0, 1.0)))
    }

    /// A duration from zero up to `bound`: full jitter.
    pub fn jitter(&self, bound: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Fills `bytes`.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.with(|rng| rng.fill_bytes(bytes));
    }

    fn with<T>(&self, draw: impl FnOnce(&mut SmallRng) -> T) -> T {
        // A poisoned generator is still a generator.
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
