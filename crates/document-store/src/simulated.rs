//! A store in memory that fails as FoundationDB does, reproducibly.

mod faults;
mod versions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use clock::Random;
use tokio::time::Instant;

use crate::optimistic::{CommitRequest, Committer, OptimisticTransaction};
use crate::ordered_kv::{
    CommitVersion, KeyRange, KvError, OrderedKv, RangeOptions, RangePage, Transaction,
};
pub use faults::{FaultCounts, Faults};
use versions::{SimulatedSnapshot, Versions};

/// The state that several [`SimulatedKv`] handles share, as nodes share a FoundationDB cluster.
#[derive(Clone, Default)]
pub struct SimulatedStore(Arc<Mutex<Versions>>);

impl SimulatedStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A node's handle, which meets `faults` as `random` draws them.
    pub fn handle(&self, random: Random, faults: Faults) -> SimulatedKv {
        SimulatedKv {
            store: self.clone(),
            weather: Arc::new(Weather {
                random,
                state: Mutex::new((faults, FaultCounts::default())),
            }),
        }
    }

    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's handle on a [`SimulatedStore`].
#[derive(Clone)]
pub struct SimulatedKv {
    store: SimulatedStore,
    weather: Arc<Weather>,
}

/// The faults of one handle.
struct Weather {
    random: Random,
    state: Mutex<(Faults, FaultCounts)>,
}

impl SimulatedKv {
    /// Changes the faults from here on.
    pub fn set_faults(&self, faults: Faults) {
        self.weather.state().0 = faults;
    }

    /// What has been injected so far.
    pub fn fault_counts(&self) -> FaultCounts {
        self.weather.state().1
    }
}

impl Weather {
    fn state(&self) -> MutexGuard<'_, (Faults, FaultCounts)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws whether a fault happens, and counts it.
    fn strikes(
        &self,
        chance: impl Fn(&Faults) -> f64,
        count: impl Fn(&mut FaultCounts) -> &mut u64,
    ) -> bool {
        let mut state = self.state();
        let chance = chance(&state.0);
        let strikes = chance > 0.0 && self.random.chance(chance);
        if strikes {
            *count(&mut state.1) += 1;
        }
        strikes
    }

    async fn delay(&self) -> Result<(), KvError> {
        let (delay_max, unreachable) = {
            let state = self.state();
            (state.0.delay_max, state.0.unreachable)
        };
        if !delay_max.is_zero() {
            tokio::time::sleep(self.random.jitter(delay_max)).await;
            self.state().1.delays += 1;
        }
        if unreachable {
            Err(KvError::Closed)
        } else {
            Ok(())
        }
    }

    async fn before_read(&self) -> Result<(), KvError> {
        self.delay().await?;
        if self.strikes(
            |faults| faults.future_version,
            |counts| &mut counts.future_version,
        ) {
            return Err(KvError::FutureVersion);
        }
        if self.strikes(|faults| faults.too_old, |counts| &mut counts.too_old) {
            return Err(KvError::TransactionTooOld);
        }
        Ok(())
    }
}

#[async_trait]
impl OrderedKv for SimulatedKv {
    async fn begin(&self) -> Result<Box<dyn Transaction>, KvError> {
        self.weather.delay().await?;
        let snapshot = SimulatedSnapshot::latest(self.store.clone());
        let now = Instant::now();
        Ok(Box::new(SimulatedTransaction {
            weather: Arc::clone(&self.weather),
            inner: Box::new(OptimisticTransaction::new(snapshot, self.clone(), now)),
        }))
    }

    async fn sync(&self) -> Result<CommitVersion, KvError> {
        self.weather.delay().await?;
        Ok(self.store.versions().latest())
    }
}

#[async_trait]
impl Committer for SimulatedKv {
    async fn commit(&self, request: CommitRequest) -> Result<CommitVersion, KvError> {
        self.store.versions().commit(request)
    }
}

/// A transaction that meets the faults of its handle.
struct SimulatedTransaction {
    weather: Arc<Weather>,
    inner: Box<OptimisticTransaction<SimulatedSnapshot, SimulatedKv>>,
}

#[async_trait]
impl Transaction for SimulatedTransaction {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.weather.before_read().await?;
        self.inner.get(key).await
    }

    async fn get_snapshot(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.weather.before_read().await?;
        self.inner.get_snapshot(key).await
    }

    async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<RangePage, KvError> {
        self.weather.before_read().await?;
        // A page that is shorter than it might be, as FoundationDB's are.
        let short = self
            .weather
            .strikes(|faults| faults.short_page, |counts| &mut counts.short_page);
        let limit = if short {
            options.limit.div_ceil(2)
        } else {
            options.limit
        };
        self.inner
            .get_range(range, RangeOptions { limit, ..options })
            .await
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        self.inner.set(key, value);
    }

    fn clear(&self, key: &[u8]) {
        self.inner.clear(key);
    }

    fn clear_range(&self, range: &KeyRange) {
        self.inner.clear_range(range);
    }

    fn add_read_conflict_range(&self, range: &KeyRange) {
        self.inner.add_read_conflict_range(range);
    }

    fn add_write_conflict_range(&self, range: &KeyRange) {
        self.inner.add_write_conflict_range(range);
    }

    async fn read_version(&self) -> Result<CommitVersion, KvError> {
        self.weather.before_read().await?;
        self.inner.read_version().await
    }

    async fn approximate_size_bytes(&self) -> Result<usize, KvError> {
        self.inner.approximate_size_bytes().await
    }

    async fn commit(self: Box<Self>) -> Result<CommitVersion, KvError> {
        let Self { weather, inner } = *self;
        weather.delay().await?;
        if !inner.writes_something() {
            return inner.commit().await;
        }
        let bytes = inner.approximate_size_bytes().await?;
        let bytes_max = weather.state().0.transaction_bytes_max;
        if bytes > bytes_max {
            weather.state().1.too_large += 1;
            return Err(KvError::TransactionTooLarge { bytes });
        }
        if weather.strikes(|faults| faults.conflict, |counts| &mut counts.conflict) {
            return Err(KvError::NotCommitted);
        }
        if weather.strikes(
            |faults| faults.unknown_lost,
            |counts| &mut counts.unknown_lost,
        ) {
            return Err(KvError::CommitUnknownResult);
        }
        let version = inner.commit().await?;
        if weather.strikes(
            |faults| faults.unknown_committed,
            |counts| &mut counts.unknown_committed,
        ) {
            return Err(KvError::CommitUnknownResult);
        }
        // The answer travels too: others may see the commit before its caller does.
        match weather.delay().await {
            Ok(()) => Ok(version),
            Err(_) => Err(KvError::CommitUnknownResult),
        }
    }
}

#[cfg(test)]
mod tests;
