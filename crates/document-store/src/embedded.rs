//! The store of a single process: one file, no server.
//!
//! redb holds the pages and the tree; the optimistic transactions stand above it. redb was taken
//! over an LSM store such as fjall because it runs over a storage trait, so that the crash tests run
//! the very code of production over a disk that loses what was not synced, and because it starts no
//! threads of its own; its commits without durability are exactly "in order and unsynced", as a
//! crash goes back to the last durable commit. What it does not have, transactions that run at the
//! same time and conflict, is what stands above it here.

mod backend;
mod snapshot;
mod writer;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use disk::Disk;
use document_types::limits::COMMIT_QUEUE_COUNT_MAX;
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::optimistic::{CommitRequest, Committer, OptimisticTransaction};
use crate::ordered_kv::{CommitVersion, KvError, OrderedKv, Transaction};
use backend::FileBackend;
use snapshot::EmbeddedSnapshot;
use writer::{Command, Writer};

/// The store's file within its disk.
const FILE_NAME: &str = "store.redb";
/// The file while it is being made.
const NEW_FILE_NAME: &str = "store.redb.new";

/// The format of the file that this code reads and writes.
const FORMAT: u64 = 1;

/// All keys with their values.
const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");
/// What the adapter knows about its file, by name.
const ABOUT: TableDefinition<'static, &str, u64> = TableDefinition::new("about");
const ABOUT_FORMAT: &str = "format";
const ABOUT_VERSION: &str = "version";

/// An [`OrderedKv`] in one file.
///
/// Commits are visible when they return and durable after [`OrderedKv::sync`], or once
/// [`UNSYNCED_BYTES_MAX`](document_types::limits::UNSYNCED_BYTES_MAX) have been written since the
/// last one. Dropping the store syncs it.
///
/// Reads run where they are called: they find most pages in memory and wait for the disk otherwise.
/// Commits are decided and applied by one thread, those that wait together in one step.
pub struct EmbeddedKv {
    database: Arc<Database>,
    commands: mpsc::Sender<Command>,
    /// What closing needs: a place in the queue that is always free, and the thread to wait for.
    closing: Option<(mpsc::OwnedPermit<Command>, JoinHandle<()>)>,
}

impl EmbeddedKv {
    /// Opens the store on `disk`, or makes an empty one. The caller holds the disk's lock.
    ///
    /// # Errors
    /// [`KvError::NewerFormat`] if a newer program wrote the file; [`KvError::Failed`] if the disk
    /// fails or the file is not a store.
    pub fn open(disk: &dyn Disk, cache_bytes: usize) -> Result<Self, KvError> {
        let database = open_database(disk, cache_bytes)?;
        let writer = Writer::new(Arc::clone(&database))?;
        let (commands, queue) = mpsc::channel(COMMIT_QUEUE_COUNT_MAX + 1);
        let place = commands
            .clone()
            .try_reserve_owned()
            .map_err(|_| KvError::Closed)?;
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(KvError::failed)?;
        Ok(Self {
            database,
            commands,
            closing: Some((place, writer)),
        })
    }
}

impl Drop for EmbeddedKv {
    fn drop(&mut self) {
        let Some((place, writer)) = self.closing.take() else {
            return;
        };
        place.send(Command::Close);
        if writer.join().is_err() {
            tracing::error!("the store's writer panicked");
        }
    }
}

#[async_trait]
impl OrderedKv for EmbeddedKv {
    async fn begin(&self) -> Result<Box<dyn Transaction>, KvError> {
        let snapshot = EmbeddedSnapshot::latest(Arc::clone(&self.database))?;
        let now = Instant::now();
        let committer = QueueCommitter(self.commands.clone());
        Ok(Box::new(OptimisticTransaction::new(
            snapshot, committer, now,
        )))
    }

    async fn sync(&self) -> Result<CommitVersion, KvError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Sync { reply })
            .await
            .map_err(|_| KvError::Closed)?;
        answer.await.map_err(|_| KvError::Closed)?
    }
}

/// Hands commits to the writer, which stops taking them when the store is dropped.
struct QueueCommitter(mpsc::Sender<Command>);

#[async_trait]
impl Committer for QueueCommitter {
    async fn commit(&self, request: CommitRequest) -> Result<CommitVersion, KvError> {
        let (reply, answer) = oneshot::channel();
        self.0
            .send(Command::Commit { request, reply })
            .await
            .map_err(|_| KvError::Closed)?;
        // The writer answers everything that it takes; if it is gone, it may have committed first.
        answer.await.map_err(|_| KvError::CommitUnknownResult)?
    }
}

fn open_database(disk: &dyn Disk, cache_bytes: usize) -> Result<Arc<Database>, KvError> {
    let found = match disk.open(FILE_NAME) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(KvError::failed(error)),
    };
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    let database = match found {
        Some(file) => builder
            .create_with_backend(FileBackend(file))
            .map_err(failed)?,
        None => {
            create_file(disk, &builder).map_err(|error| match error {
                CreateError::Disk(error) => KvError::failed(error),
                CreateError::Kv(error) => error,
            })?;
            let file = disk.open(FILE_NAME).map_err(KvError::failed)?;
            builder
                .create_with_backend(FileBackend(file))
                .map_err(failed)?
        }
    };
    check_format(&database)?;
    Ok(Arc::new(database))
}

enum CreateError {
    Disk(io::Error),
    Kv(KvError),
}

/// Makes the file under another name first, so that under its own it is whole or not there at all.
fn create_file(disk: &dyn Disk, builder: &redb::Builder) -> Result<(), CreateError> {
    match disk.remove(NEW_FILE_NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(CreateError::Disk(error));
        }
        _ => {}
    }
    let file = disk.create(NEW_FILE_NAME).map_err(CreateError::Disk)?;
    let initialise = || {
        let database = builder
            .create_with_backend(FileBackend(Arc::clone(&file)))
            .map_err(failed)?;
        let write = database.begin_write().map_err(failed)?;
        write.open_table(ENTRIES).map_err(failed)?;
        let mut about = write.open_table(ABOUT).map_err(failed)?;
        about.insert(ABOUT_FORMAT, FORMAT).map_err(failed)?;
        about.insert(ABOUT_VERSION, 0).map_err(failed)?;
        drop(about);
        write.commit().map_err(failed)?;
        database.close().map_err(failed)
    };
    initialise().map_err(CreateError::Kv)?;
    file.sync_data().map_err(CreateError::Disk)?;
    disk.rename(NEW_FILE_NAME, FILE_NAME)
        .map_err(CreateError::Disk)?;
    disk.sync_directory().map_err(CreateError::Disk)
}

fn check_format(database: &Database) -> Result<(), KvError> {
    let read = database.begin_read().map_err(failed)?;
    let about = read.open_table(ABOUT).map_err(failed)?;
    let found = about
        .get(ABOUT_FORMAT)
        .map_err(failed)?
        .map_or(0, |format| format.value());
    if found > FORMAT {
        return Err(KvError::NewerFormat {
            found,
            known: FORMAT,
        });
    }
    Ok(())
}

fn failed(error: impl Into<redb::Error>) -> KvError {
    KvError::failed(error.into())
}

#[cfg(test)]
mod tests;
