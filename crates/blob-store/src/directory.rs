//! Blobs as files of one directory, there only once they would survive a loss of power.
//!
//! A blob is written under another name, synced, and only then given its own, which is synced as well
//! before anybody is told that it is there. object_store's own directory comes close and is not used:
//! `docs/adr/0026` says why.

use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use disk::{Disk, DiskLock};
use document_types::limits::BLOB_DISK_OPERATIONS_MAX;
use tokio::sync::Semaphore;

use crate::objects::{Created, Objects};
use crate::{BlobError, BlobId};

/// The end of the name of a file that is being written.
const PARTIAL: &str = ".partial";

pub(crate) struct Directory {
    files: Arc<Files>,
    /// Goes with an operation into its thread: one whose caller has given up is still at work.
    turns: Arc<Semaphore>,
}

struct Files {
    disk: Arc<dyn Disk>,
    _lock: DiskLock,
    partial_count: AtomicU64,
    /// Blobs that have got their names and whose names are not known to be synced.
    unsynced_count: AtomicUsize,
    /// Whether a sync of the names has failed.
    names_failed: Mutex<bool>,
}

impl Directory {
    pub(crate) fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let lock = disk.lock()?;
        for name in disk.list()? {
            if name.ends_with(PARTIAL) {
                disk.remove(&name)?;
            }
        }
        // Whoever was killed may have named a blob and not have synced the name.
        disk.sync_directory()?;
        let files = Files {
            disk,
            _lock: lock,
            partial_count: AtomicU64::new(0),
            unsynced_count: AtomicUsize::new(0),
            names_failed: Mutex::new(false),
        };
        Ok(Self {
            files: Arc::new(files),
            turns: Arc::new(Semaphore::new(BLOB_DISK_OPERATIONS_MAX)),
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        id: BlobId,
        operation: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(BlobError::unavailable)?;
        let files = Arc::clone(&self.files);
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            operation(&files)
        });
        let result = task.await.map_err(BlobError::unavailable)?;
        result.map_err(|error| blob_error(id, error))
    }
}

#[async_trait]
impl Objects for Directory {
    async fn create(&self, id: BlobId, bytes: Bytes) -> Result<Created, BlobError> {
        let created = self.run(id, move |files| files.create(&id.to_string(), &bytes));
        created.await.map_err(|error| match error {
            // What is missing where something is to be stored is the directory.
            BlobError::NotFound { .. } => {
                BlobError::refused(io::Error::new(ErrorKind::NotFound, "the directory is gone"))
            }
            error => error,
        })
    }

    async fn length(&self, id: BlobId) -> Result<u64, BlobError> {
        self.run(id, move |files| {
            let file = files.disk.open(&id.to_string())?;
            // Nobody is told of a blob that a loss of power could still take away.
            if files.unsynced_count.load(Ordering::SeqCst) > 0 {
                files.sync_names()?;
            }
            file.len()
        })
        .await
    }

    async fn read(&self, id: BlobId, range: Range<u64>) -> Result<Bytes, BlobError> {
        self.run(id, move |files| {
            let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            files
                .disk
                .open(&id.to_string())?
                .read_at(range.start, &mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }
}

impl Files {
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<Created> {
        match self.disk.open(name) {
            Ok(_) => return Ok(Created::Existed),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let number = self.partial_count.fetch_add(1, Ordering::Relaxed);
        let partial = format!("{name}.{number}{PARTIAL}");
        self.write(&partial, bytes).inspect_err(|_| {
            // It is in nobody's way; the next start removes it if this does not.
            let _ = self.disk.remove(&partial);
        })?;
        // Counted before others can see the name, and for good if it can't be synced. If two write
        // the same blob, the later file replaces the earlier one and holds the same.
        self.unsynced_count.fetch_add(1, Ordering::SeqCst);
        self.disk.rename(&partial, name)?;
        self.sync_names()?;
        self.unsynced_count.fetch_sub(1, Ordering::SeqCst);
        Ok(Created::New)
    }

    fn write(&self, partial: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.create(partial)?;
        file.write_at(0, bytes)?;
        file.sync_data()
    }

    /// Makes all names durable. After a failure it fails for ever: the operating system may have
    /// forgotten which names were not synced, and would answer the next call with `Ok`.
    fn sync_names(&self) -> io::Result<()> {
        let mut failed = self
            .names_failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other(
                "the directory could not be synced; check the disk and start the process again",
            ));
        }
        self.disk.sync_directory().inspect_err(|_| *failed = true)
    }
}

fn blob_error(id: BlobId, error: io::Error) -> BlobError {
    match error.kind() {
        ErrorKind::NotFound => BlobError::NotFound { id },
        ErrorKind::UnexpectedEof => BlobError::damaged(id, "it is shorter than it was"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => BlobError::refused(error),
        _ => BlobError::unavailable(error),
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.disk.fmt(f)
    }
}
