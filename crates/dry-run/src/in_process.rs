use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use document_types::DocumentId;
use document_types::limits::DRY_RUN_DOCUMENTS_BYTES_MAX;

use crate::dry_run::{DryRun, DryRunError, DryRunRequest, Verdict};
use crate::job::{Answer, Job};
use crate::replicas::Replicas;
use crate::sift::{Bench, BenchError, sift};

/// Tries updates in this process, behind the engine's guard alone: for simulations, where a child
/// process would not be reproducible. It bounds neither time nor memory.
pub struct InProcessDryRun {
    replicas: Mutex<Replicas>,
}

impl Default for InProcessDryRun {
    fn default() -> Self {
        let replicas = Replicas::new(DRY_RUN_DOCUMENTS_BYTES_MAX, Duration::MAX, || {
            Duration::ZERO
        });
        Self {
            replicas: Mutex::new(replicas),
        }
    }
}

#[async_trait]
impl DryRun for InProcessDryRun {
    async fn try_updates(&self, request: DryRunRequest) -> Result<Vec<Verdict>, DryRunError> {
        sift(&mut &self.replicas, request).await
    }

    async fn forget(&self, document: &DocumentId) {
        self.replicas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(document);
    }
}

#[async_trait]
impl Bench for &Mutex<Replicas> {
    async fn run(&mut self, job: &Job) -> Result<Answer, BenchError> {
        // A replica is out of the map while it is tried, so a poisoned lock guards nothing broken.
        Ok(self.lock().unwrap_or_else(PoisonError::into_inner).run(job))
    }
}
