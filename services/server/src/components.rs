use std::sync::Arc;

use blob_store::{BlobSettings, BlobStore, OpenError};
use clock::{Clock, IdSource, Random, SystemClock};
use disk::{Disk, RealDisk};
use dry_run::{DryRun, PoolSettings, WorkerCommand, WorkerError, WorkerPool};

use document_store::OrderedKv;

use crate::Settings;
use crate::data_directory::{self, BLOBS_FOLDER, DataDirectoryError, LOG_FOLDER};
use crate::plan::{BlobPlace, Plan, PlanError, Role};

/// What a node works with, as objects; the counterpart of [`Settings`], which are data. Tests put
/// others in their place: a disk that loses what was not synced, a clock that jumps, a seed.
#[derive(Clone)]
pub struct Components {
    /// The data directory, on a node that has something embedded in one.
    pub disks: Option<Disks>,
    /// The store that nodes share, where the settings name one.
    pub shared_store: Option<Arc<dyn OrderedKv>>,
    /// Where attachments are kept, on a node with a gateway that has a place for them.
    pub blobs: Option<BlobStore>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Where ids and pauses are drawn from.
    pub random: Random,
    /// Where updates are tried before they reach the log, on a node that takes any.
    pub dry_run: Option<Arc<dyn DryRun>>,
}

/// The data directory's disks.
#[derive(Clone)]
pub struct Disks {
    /// The data directory, for the store.
    pub data: Arc<dyn Disk>,
    /// The directory of the operation log in it.
    pub log: Arc<dyn Disk>,
}

/// A part of this machine can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ComponentsError {
    /// The data directory can't be created or opened.
    #[error("the directory {path} can't be used", path = path.display())]
    Directory {
        /// Which.
        path: std::path::PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// See [`DataDirectoryError`].
    #[error("the data directory can't be used")]
    DataDirectory(#[from] DataDirectoryError),
    /// This program can't find itself, to start it again as a worker.
    #[error("this program's own file can't be found")]
    Program(#[source] std::io::Error),
    /// See [`PlanError`].
    #[error("the settings make no node")]
    Plan(#[from] PlanError),
    /// A role needs a part that was not put together for it.
    #[error("the node was put together without {0}, which one of its roles needs")]
    Without(&'static str),
    /// The place for blobs can't be used.
    #[error("there is no place for attachments")]
    Blobs(#[from] OpenError),
    /// The worker processes can't be started.
    #[error("the dry run has no workers")]
    DryRun(#[from] WorkerError),
}

impl Components {
    /// This machine's own, as far as the node's roles need them: real files, the system's clock, its
    /// randomness, and this program again as worker processes, with the sub-command `dry-run-worker`.
    /// A store that nodes share is given, if there is one.
    ///
    /// # Errors
    /// [`ComponentsError`] names what can't be used.
    pub async fn of_this_machine(
        settings: &Settings,
        shared_store: Option<Arc<dyn OrderedKv>>,
    ) -> Result<Self, ComponentsError> {
        let plan = Plan::of(settings)?;
        let mut components = Self {
            disks: None,
            shared_store,
            blobs: None,
            clock: Arc::new(SystemClock),
            random: Random::from_entropy(),
            dry_run: None,
        };
        if plan.is_stateful() {
            let embedded_log = settings.log.kafka.bootstrap_servers.is_none();
            if embedded_log || components.shared_store.is_none() {
                components.disks = Some(disks(settings)?);
            }
        }
        if plan.has(Role::Gateway) {
            components.blobs = blobs(settings, &plan).await?;
        }
        if plan.has(Role::Collaboration) {
            components.dry_run = Some(Arc::new(workers(settings).await?));
        }
        Ok(components)
    }

    /// The data directory.
    ///
    /// # Errors
    /// [`ComponentsError::Without`] on a node that was put together without one.
    pub fn disks(&self) -> Result<&Disks, ComponentsError> {
        let disks = self.disks.as_ref();
        disks.ok_or(ComponentsError::Without("a data directory"))
    }

    /// Where updates are tried.
    ///
    /// # Errors
    /// [`ComponentsError::Without`] on a node that was put together without it.
    pub fn dry_run(&self) -> Result<&Arc<dyn DryRun>, ComponentsError> {
        let dry_run = self.dry_run.as_ref();
        dry_run.ok_or(ComponentsError::Without("a dry run"))
    }

    /// A new source of ids.
    pub fn ids(&self) -> IdSource {
        IdSource::new(self.clock.clone(), self.random.fork())
    }
}

/// The place for blobs. One that is elsewhere is not asked yet whether it is there: editing goes on
/// without it.
async fn blobs(settings: &Settings, plan: &Plan) -> Result<Option<BlobStore>, ComponentsError> {
    let embedded = BlobSettings::Directory {
        path: settings.data.join(BLOBS_FOLDER),
    };
    let place = match &plan.blobs {
        BlobPlace::Embedded => &embedded,
        BlobPlace::At(place) => place,
        BlobPlace::Nowhere => return Ok(None),
    };
    match BlobStore::at(place).await {
        Err(OpenError::InUse { .. }) if plan.blobs == BlobPlace::Embedded => {
            Err(DataDirectoryError::Locked.into())
        }
        opened => Ok(Some(opened?)),
    }
}

/// Starts this program again, as workers.
pub(crate) async fn workers(settings: &Settings) -> Result<WorkerPool, ComponentsError> {
    let worker = WorkerCommand {
        program: std::env::current_exe().map_err(ComponentsError::Program)?,
        arguments: vec!["dry-run-worker".into()],
    };
    let pool = PoolSettings::new(settings.dry_run.worker_count);
    Ok(WorkerPool::start(worker, pool).await?)
}

fn disks(settings: &Settings) -> Result<Disks, ComponentsError> {
    let directory = |path: std::path::PathBuf| {
        RealDisk::open(&path).map_err(|source| ComponentsError::Directory { path, source })
    };
    let data = Arc::new(directory(settings.data.clone())?);
    // Before anything is created in it.
    data_directory::check_or_empty(&*data)?;
    let log = Arc::new(directory(settings.data.join(LOG_FOLDER))?);
    Ok(Disks { data, log })
}
