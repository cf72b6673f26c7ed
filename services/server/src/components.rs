use std::sync::Arc;

use clock::{Clock, IdSource, Random, SystemClock};
use disk::{Disk, RealDisk};
use dry_run::{DryRun, PoolSettings, WorkerCommand, WorkerError, WorkerPool};

use crate::Settings;
use crate::data_directory::{self, DataDirectoryError, LOG_FOLDER};

/// What a node works with, as objects; the counterpart of [`Settings`], which are data. Tests put
/// others in their place: a disk that loses what was not synced, a clock that jumps, a seed.
#[derive(Clone)]
pub struct Components {
    /// The data directory, for the store.
    pub data_disk: Arc<dyn Disk>,
    /// The directory of the operation log.
    pub log_disk: Arc<dyn Disk>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Where ids and pauses are drawn from.
    pub random: Random,
    /// Where updates are tried before they reach the log.
    pub dry_run: Arc<dyn DryRun>,
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
    /// The worker processes can't be started.
    #[error("the dry run has no workers")]
    DryRun(#[from] WorkerError),
}

impl Components {
    /// This machine's own: real files, the system's clock, its randomness, and this program again as
    /// worker processes, with the sub-command `dry-run-worker`.
    ///
    /// # Errors
    /// [`ComponentsError`] names what can't be used.
    pub async fn of_this_machine(settings: &Settings) -> Result<Self, ComponentsError> {
        let directory = |path: std::path::PathBuf| {
            RealDisk::open(&path).map_err(|source| ComponentsError::Directory { path, source })
        };
        let data_disk = Arc::new(directory(settings.data.clone())?);
        // Before anything is created in it.
        data_directory::check_or_empty(&*data_disk)?;
        let log_disk = Arc::new(directory(settings.data.join(LOG_FOLDER))?);
        let worker = WorkerCommand {
            program: std::env::current_exe().map_err(ComponentsError::Program)?,
            arguments: vec!["dry-run-worker".into()],
        };
        let pool = PoolSettings::new(settings.dry_run.worker_count);
        Ok(Self {
            data_disk,
            log_disk,
            clock: Arc::new(SystemClock),
            random: Random::from_entropy(),
            dry_run: Arc::new(WorkerPool::start(worker, pool).await?),
        })
    }

    /// A new source of ids.
    pub fn ids(&self) -> IdSource {
        IdSource::new(self.clock.clone(), self.random.fork())
    }
}
