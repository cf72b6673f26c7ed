use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use document_types::limits::DRY_RUN_WAITING_COUNT_MAX;
use document_types::{DocumentId, partition_of};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::dry_run::{ClearRequest, Clearing, DryRun, DryRunError, DryRunRequest, Tried};
use crate::fair_queue::{FairQueue, Flow};
use crate::job::{Report, Task, WorkerLimits};
use crate::sift::{Bench, BenchError, clear, sift};
use crate::worker_process::{WorkerCommand, WorkerError, WorkerProcess};

/// How large a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Worker processes. A document is always tried in the same one.
    pub worker_count: NonZeroU32,
    /// Memory of one worker process.
    pub memory_bytes_max: u64,
    /// What of it a worker may lose to documents that can't be dropped before it is replaced.
    pub leaked_bytes_max: u64,
    /// Processor time that one update may take.
    pub cpu_per_update_max: std::time::Duration,
}

impl PoolSettings {
    /// `worker_count` workers with the limits that updates are promised.
    pub fn new(worker_count: NonZeroU32) -> Self {
        let limits = WorkerLimits::default();
        Self {
            worker_count,
            memory_bytes_max: limits.memory_bytes_max,
            leaked_bytes_max: limits.leaked_bytes_max,
            cpu_per_update_max: limits.cpu_per_update_max,
        }
    }
}

/// Tries updates in child processes: whatever an update does, it does it to one of them.
///
/// A worker that dies, takes too long or says that its memory is worn is started anew and has lost its
/// documents: those who ask for one of them next are asked for a base.
pub struct WorkerPool {
    command: WorkerCommand,
    limits: WorkerLimits,
    slots: Vec<Slot>,
    /// Requests that may be here at once, tried or waiting.
    places: Semaphore,
}

/// A worker's place in the pool.
#[derive(Default)]
struct Slot {
    queue: FairQueue,
    /// Taken out while it works, so that a request which is dropped half-way takes it along. Only whoever
    /// has the turn asks for it.
    worker: Mutex<Option<WorkerProcess>>,
    /// 0 if none runs.
    process_id: AtomicU32,
}

impl WorkerPool {
    /// Starts the workers.
    ///
    /// # Errors
    /// [`WorkerError`] if the first can't be started; the others would not either.
    pub async fn start(
        command: WorkerCommand,
        settings: PoolSettings,
    ) -> Result<Self, WorkerError> {
        let limits = WorkerLimits {
            memory_bytes_max: settings.memory_bytes_max,
            leaked_bytes_max: settings.leaked_bytes_max,
            cpu_per_update_max: settings.cpu_per_update_max,
            ..WorkerLimits::default()
        };
        let slots: Vec<Slot> = (0..settings.worker_count.get())
            .map(|_| Slot::default())
            .collect();
        for slot in &slots {
            let worker = WorkerProcess::start(&command, limits).await?;
            slot.put_back(&mut *slot.worker.lock().await, worker);
        }
        Ok(Self {
            command,
            limits,
            slots,
            places: Semaphore::new(DRY_RUN_WAITING_COUNT_MAX),
        })
    }

    /// The ids of the workers' processes that run now, for operators.
    pub fn process_ids(&self) -> Vec<u32> {
        self.slots
            .iter()
            .map(|slot| slot.process_id.load(Ordering::Relaxed))
            .filter(|id| *id != 0)
            .collect()
    }

    /// Lets one more request in.
    fn seat(&self, document: &DocumentId) -> Result<(SemaphorePermit<'_>, Seat<'_>), DryRunError> {
        let Ok(place) = self.places.try_acquire() else {
            return Err(DryRunError::Unavailable(None));
        };
        let slot = self.slot(document);
        Ok((place, Seat { pool: self, slot }))
    }

    fn slot(&self, document: &DocumentId) -> &Slot {
        let count = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        &self.slots[partition_of(document, count).0 as usize]
    }
}

impl Slot {
    fn put_back(&self, place: &mut Option<WorkerProcess>, worker: WorkerProcess) {
        self.process_id
            .store(worker.process_id().unwrap_or(0), Ordering::Relaxed);
        *place = Some(worker);
    }
}

#[async_trait]
impl DryRun for WorkerPool {
    async fn try_updates(&self, request: DryRunRequest) -> Result<Tried, DryRunError> {
        let (_place, mut seat) = self.seat(&request.document)?;
        sift(&mut seat, request).await
    }

    async fn clear(&self, request: ClearRequest) -> Result<Vec<Clearing>, DryRunError> {
        let (_place, mut seat) = self.seat(&request.document)?;
        clear(&mut seat, request).await
    }

    async fn forget(&self, document: &DocumentId) {
        let slot = self.slot(document);
        let _turn = slot
            .queue
            .turn(Flow {
                document: document.clone(),
                is_thorough: false,
            })
            .await;
        let mut place = slot.worker.lock().await;
        if let Some(mut worker) = place.take()
            && worker.forget(document.clone()).await.is_ok()
        {
            slot.put_back(&mut place, worker);
        }
    }
}

/// A request's access to its worker, which it holds for one task at a time, in turn with the other
/// documents.
///
/// What others do in between harms nothing. A task that brings a base needs nothing that was there
/// before it. One that does not is answered that it needs a base, should its replica have been
/// forgotten, pushed out or lost with its worker meanwhile; and nobody else changes it, since a
/// document's room has one trial at a time.
struct Seat<'a> {
    pool: &'a WorkerPool,
    slot: &'a Slot,
}

#[async_trait]
impl Bench for Seat<'_> {
    async fn run(&mut self, task: &Task) -> Result<Report, BenchError> {
        let _turn = self.slot.queue.turn(task.flow()).await;
        let mut place = self.slot.worker.lock().await;
        let mut worker = match place.take() {
            Some(worker) => worker,
            None => {
                metrics::counter!("collabedit_dry_run_worker_starts_total").increment(1);
                let unavailable = |error| BenchError::Unavailable(std::io::Error::other(error));
                let started = WorkerProcess::start(&self.pool.command, self.pool.limits).await;
                started.map_err(unavailable)?
            }
        };
        self.slot
            .process_id
            .store(worker.process_id().unwrap_or(0), Ordering::Relaxed);
        let report = worker.run(task.clone()).await;
        let document = task.document();
        match &report {
            Ok(report) if report.is_worn => {
                tracing::info!(%document, "a dry-run worker's memory is worn, so it is replaced");
                self.slot.process_id.store(0, Ordering::Relaxed);
            }
            Err(BenchError::Died { harm, .. }) => {
                tracing::warn!(%document, %harm, "a dry-run worker died");
                self.slot.process_id.store(0, Ordering::Relaxed);
            }
            _ => self.slot.put_back(&mut place, worker),
        }
        report
    }
}
