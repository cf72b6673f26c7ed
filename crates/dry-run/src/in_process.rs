use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use document_types::DocumentId;

use crate::dry_run::{ClearRequest, Clearing, DryRun, DryRunError, DryRunRequest, Tried};
use crate::job::{Report, Task, WorkerLimits};
use crate::meter::Meter;
use crate::replicas::Replicas;
use crate::sift::{Bench, BenchError, clear, sift};

/// Tries updates in this process, behind the engine's guard alone: for simulations, where a child
/// process would not be reproducible. It bounds neither time nor memory.
pub struct InProcessDryRun {
    replicas: Mutex<Replicas>,
}

impl Default for InProcessDryRun {
    fn default() -> Self {
        let limits = WorkerLimits {
            cpu_per_update_max: Duration::MAX,
            ..WorkerLimits::default()
        };
        Self {
            replicas: Mutex::new(Replicas::new(limits, Meter::SILENT)),
        }
    }
}

#[async_trait]
impl DryRun for InProcessDryRun {
    async fn try_updates(&self, request: DryRunRequest) -> Result<Tried, DryRunError> {
        sift(&mut &self.replicas, request).await
    }

    async fn clear(&self, request: ClearRequest) -> Result<Vec<Clearing>, DryRunError> {
        clear(&mut &self.replicas, request).await
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
    async fn run(&mut self, task: &Task) -> Result<Report, BenchError> {
        // A replica is out of the map while it is tried, so a poisoned lock guards nothing broken.
        Ok(self
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .run(task))
    }
}
