use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::Clock;
use document_types::HlcTimestamp;
use document_types::limits::{CLOCK_CEILING_STEP, CLOCK_SKEW_MAX};

/// Where a node keeps the ceiling of its stamps, beside its epoch.
#[async_trait]
pub trait CeilingStore: Send + Sync + 'static {
    /// Makes `ceiling` durable. After it returns, a restarted node must begin at or above `ceiling`.
    async fn raise(&self, ceiling: HlcTimestamp) -> Result<(), CeilingError>;
}

/// The ceiling could not be made durable, so no stamp above the old one may be given out.
#[derive(Debug, thiserror::Error)]
#[error("the stamp ceiling could not be stored")]
pub struct CeilingError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Why a stamp was not given or not adopted.
#[derive(Debug, thiserror::Error)]
pub enum HlcError {
    /// See [`CeilingError`].
    #[error("no stamp can be given")]
    Ceiling(#[from] CeilingError),
    /// A remote stamp is further ahead of our clock than [`CLOCK_SKEW_MAX`].
    #[error("the stamp is {ahead_ms} ms ahead of this node's clock")]
    TooFarAhead {
        /// By how much.
        ahead_ms: u64,
    },
}

/// Gives out stamps that strictly grow, across crashes and clock jumps.
///
/// No stamp is given out above a ceiling that was made durable before, and a restarted node begins
/// at the ceiling that it finds; so even a clock that was set back can't repeat a stamp. Stamps of
/// other nodes are adopted only from clocks at most [`CLOCK_SKEW_MAX`] ahead.
pub struct HybridLogicalClock {
    clock: Arc<dyn Clock>,
    ceilings: Arc<dyn CeilingStore>,
    state: Mutex<State>,
    /// Held while the ceiling is being raised, so that it is raised once for all who wait.
    raising: tokio::sync::Mutex<()>,
}

struct State {
    last: HlcTimestamp,
    ceiling: HlcTimestamp,
}

impl HybridLogicalClock {
    /// A clock that continues above `ceiling`, the one that the node's store holds.
    pub fn new(
        clock: Arc<dyn Clock>,
        ceilings: Arc<dyn CeilingStore>,
        ceiling: HlcTimestamp,
    ) -> Self {
        Self {
            clock,
            ceilings,
            state: Mutex::new(State {
                last: ceiling,
                ceiling,
            }),
            raising: tokio::sync::Mutex::new(()),
        }
    }

    /// The next stamp.
    ///
    /// # Errors
    /// [`HlcError::Ceiling`] if the ceiling had to be raised and could not be stored.
    pub async fn stamp(&self) -> Result<HlcTimestamp, HlcError> {
        loop {
            let wanted = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let next = state
                    .last
                    .next()
                    .max(HlcTimestamp::new(self.clock.now_ms(), 0));
                if next < state.ceiling {
                    state.last = next;
                    return Ok(next);
                }
                next
            };
            self.raise_above(wanted).await?;
        }
    }

    /// Moves this clock past a stamp that another node made.
    ///
    /// # Errors
    /// [`HlcError::TooFarAhead`] if that node's clock can't be trusted; nothing is adopted then.
    pub fn observe(&self, remote: HlcTimestamp) -> Result<(), HlcError> {
        let ahead_ms = remote.millis().saturating_sub(self.clock.now_ms());
        if u128::from(ahead_ms) > CLOCK_SKEW_MAX.as_millis() {
            return Err(HlcError::TooFarAhead { ahead_ms });
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = state.last.max(remote);
        Ok(())
    }

    async fn raise_above(&self, wanted: HlcTimestamp) -> Result<(), HlcError> {
        let _one_at_a_time = self.raising.lock().await;
        if wanted
            < self
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .ceiling
        {
            return Ok(());
        }
        let step_ms = u64::try_from(CLOCK_CEILING_STEP.as_millis()).unwrap_or(u64::MAX);
        let ceiling = HlcTimestamp::new(wanted.millis() + step_ms, 0);
        self.ceilings.raise(ceiling).await?;
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ceiling = ceiling;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Kept(AtomicU64);

    #[async_trait]
    impl CeilingStore for Kept {
        async fn raise(&self, ceiling: HlcTimestamp) -> Result<(), CeilingError> {
            self.0.store(ceiling.as_u64(), Ordering::SeqCst);
            Ok(())
        }
    }

    #[derive(Default)]
    struct SetClock(AtomicU64);

    impl Clock for SetClock {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn node(clock: &Arc<SetClock>, kept: &Arc<Kept>) -> HybridLogicalClock {
        let ceiling = HlcTimestamp::from_u64(kept.0.load(Ordering::SeqCst));
        HybridLogicalClock::new(clock.clone(), kept.clone(), ceiling)
    }

    #[tokio::test]
    async fn stamps_strictly_grow_across_restarts_and_clocks_that_jump() {
        let (clock, kept) = (Arc::new(SetClock::default()), Arc::new(Kept::default()));
        let mut last = HlcTimestamp::ZERO;
        for now_ms in [1_000_000, 1_000_000, 400_000, 2_000_000, 1, 1_999_999] {
            clock.0.store(now_ms, Ordering::SeqCst);
            let restarted = node(&clock, &kept);
            for _ in 0..100 {
                let stamp = restarted.stamp().await.unwrap();
                assert!(stamp > last, "{stamp} came after {last}");
                last = stamp;
            }
        }
    }

    #[tokio::test]
    async fn a_full_counter_borrows_the_next_millisecond() {
        let (clock, kept) = (Arc::new(SetClock::default()), Arc::new(Kept::default()));
        clock.0.store(5_000, Ordering::SeqCst);
        let node = node(&clock, &kept);
        let mut last = HlcTimestamp::ZERO;
        for _ in 0..=u32::from(u16::MAX) + 1 {
            last = node.stamp().await.unwrap();
        }
        assert_eq!((last.millis(), last.counter()), (5_001, 0));
    }

    #[tokio::test]
    async fn a_clock_too_far_ahead_is_not_followed() {
        let (clock, kept) = (Arc::new(SetClock::default()), Arc::new(Kept::default()));
        clock.0.store(10_000, Ordering::SeqCst);
        let node = node(&clock, &kept);
        node.observe(HlcTimestamp::new(10_500, 3)).unwrap();
        assert_eq!(node.stamp().await.unwrap(), HlcTimestamp::new(10_500, 4));
        let refused = node.observe(HlcTimestamp::new(10_501, 0));
        assert!(matches!(
            refused,
            Err(HlcError::TooFarAhead { ahead_ms: 501 })
        ));
        assert_eq!(node.stamp().await.unwrap(), HlcTimestamp::new(10_500, 5));
    }
}
