//! The dry run with its faults: workers die and forget, and some updates are harmful.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clock::Random;
use document_types::DocumentId;
use dry_run::{
    ClearRequest, Clearing, DryRun, DryRunError, DryRunRequest, Harm, InProcessDryRun, Tried,
    Verdict,
};

/// An update that holds this takes too long to import: found by its bytes, since no update that is
/// really slow would be kind to the suite.
pub const SLOW: &str = "an update that takes too long";

/// How often a worker is not there, over all nodes; see [`FaultyDryRun`].
#[derive(Clone, Debug, Default)]
pub struct TrialWeather(Arc<Mutex<f64>>);

impl TrialWeather {
    /// Sets it from here on.
    pub fn set(&self, chance: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chance;
    }

    fn chance(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's dry run.
pub struct FaultyDryRun {
    inner: InProcessDryRun,
    random: Random,
    weather: TrialWeather,
}

impl FaultyDryRun {
    /// A dry run that fails as `weather` says.
    pub fn new(random: Random, weather: TrialWeather) -> Self {
        Self {
            inner: InProcessDryRun::default(),
            random,
            weather,
        }
    }
}

#[async_trait]
impl DryRun for FaultyDryRun {
    async fn try_updates(&self, request: DryRunRequest) -> Result<Tried, DryRunError> {
        let chance = self.weather.chance();
        if self.random.chance(chance) {
            self.inner.forget(&request.document).await;
            return Err(DryRunError::Unavailable(None));
        }
        if request.base.is_none() && self.random.chance(chance) {
            self.inner.forget(&request.document).await;
        }
        let slow: Vec<_> = request
            .candidates
            .iter()
            .map(|bytes| {
                bytes
                    .windows(SLOW.len())
                    .any(|window| window == SLOW.as_bytes())
            })
            .collect();
        let candidates = request
            .candidates
            .into_iter()
            .zip(&slow)
            .filter(|(_, slow)| !**slow)
            .map(|(candidate, _)| candidate)
            .collect();
        let tried = self
            .inner
            .try_updates(DryRunRequest {
                candidates,
                ..request
            })
            .await?;
        let mut others = tried.verdicts.into_iter();
        let verdicts = slow
            .into_iter()
            .map(|slow| match slow {
                true => Verdict::Harmful(Harm::Slow),
                false => others
                    .next()
                    .expect("there is a verdict for each candidate"),
            })
            .collect();
        Ok(Tried {
            verdicts,
            processor_time: tried.processor_time,
        })
    }

    async fn clear(&self, request: ClearRequest) -> Result<Vec<Clearing>, DryRunError> {
        if self.random.chance(self.weather.chance()) {
            return Err(DryRunError::Unavailable(None));
        }
        self.inner.clear(request).await
    }

    async fn forget(&self, document: &DocumentId) {
        self.inner.forget(document).await;
    }
}
