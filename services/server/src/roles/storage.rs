use std::sync::Arc;

use disk::{Disk, DiskLock};
use document_store::{DocumentStore, EmbeddedKv, KvError, OrderedKv, StoreError};
use service_runtime::Shutdown;

use crate::data_directory::{self, DataDirectoryError};
use crate::{Components, ComponentsError, Settings};

/// Why there is no storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// See [`DataDirectoryError`].
    #[error("the data directory can't be used")]
    Directory(#[from] DataDirectoryError),
    /// There is none for this node.
    #[error("the node has no store")]
    Missing(#[from] ComponentsError),
    /// The store's file can't be opened.
    #[error("the store can't be opened")]
    Open(#[from] KvError),
    /// The store refuses its work.
    #[error("the store can't be used")]
    Store(#[from] StoreError),
}

/// Opens the store: the shared one, if there is one, or that in the data directory.
///
/// # Errors
/// [`StorageError`] says which part refuses.
pub async fn open(
    settings: &Settings,
    components: &Components,
    shutdown: &mut Shutdown,
) -> Result<DocumentStore, StorageError> {
    let kv: Arc<dyn OrderedKv> = if let Some(shared) = &components.shared_store {
        shared.clone()
    } else {
        let (disk, cache_bytes) = (components.disks()?.data.clone(), settings.store.cache_bytes);
        let (lock, kv) = open_files(disk, cache_bytes).await?;
        shutdown.register("data directory", async move || drop(lock));
        Arc::new(kv)
    };

    let store = DocumentStore::open(kv, components.random.fork()).await?;
    let synced = store.clone();
    shutdown.register("store", async move || {
        if let Err(error) = synced.sync().await {
            // The log still has what the store lost.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store was not synced"
            );
        }
    });
    Ok(store)
}

async fn open_files(
    disk: Arc<dyn Disk>,
    cache_bytes: usize,
) -> Result<(DiskLock, EmbeddedKv), StorageError> {
    let open = move || {
        let lock = data_directory::open(&*disk)?;
        Ok((lock, EmbeddedKv::open(&*disk, cache_bytes)?))
    };
    tokio::task::spawn_blocking(open)
        .await
        .expect("opening files does not panic")
}
