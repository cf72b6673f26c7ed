use std::sync::Arc;

use clock::HybridLogicalClock;
use collaboration::NodeIdentity;
use disk::DiskLock;
use document_store::{DocumentStore, EmbeddedKv, KvError, NodeCeiling, StoreError};
use service_runtime::Shutdown;

use crate::data_directory::{self, DataDirectoryError};
use crate::{Components, Settings};

/// The node's storage, and what it has to begin with: an epoch of its own and a clock that goes on
/// above every stamp it ever gave.
pub struct Storage {
    pub store: DocumentStore,
    pub identity: NodeIdentity,
    pub stamps: Arc<HybridLogicalClock>,
}

/// Why there is no storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// See [`DataDirectoryError`].
    #[error("the data directory can't be used")]
    Directory(#[from] DataDirectoryError),
    /// The store's file can't be opened.
    #[error("the store can't be opened")]
    Open(#[from] KvError),
    /// The store refuses its work.
    #[error("the store can't be used")]
    Store(#[from] StoreError),
}

/// Opens the data directory and the store, and begins a new life of the node.
///
/// # Errors
/// [`StorageError`] says which part refuses.
pub async fn open(
    settings: &Settings,
    components: &Components,
    shutdown: &mut Shutdown,
) -> Result<Storage, StorageError> {
    let (lock, kv) = open_files(settings, components).await?;
    shutdown.register("data directory", async move || drop(lock));

    let store = DocumentStore::open(Arc::new(kv), components.random.fork()).await?;
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

    let node = settings.node_id();
    let life = store.take_node_epoch(node).await?;
    tracing::info!(
        node = node.0,
        epoch = life.epoch.0,
        "began a life of this node"
    );
    let ceilings = Arc::new(NodeCeiling::new(store.clone(), node, life.epoch));
    let stamps = HybridLogicalClock::new(components.clock.clone(), ceilings, life.hlc_ceiling);
    let identity = NodeIdentity {
        region: settings.region.clone(),
        node,
        epoch: life.epoch,
    };
    Ok(Storage {
        store,
        identity,
        stamps: Arc::new(stamps),
    })
}

async fn open_files(
    settings: &Settings,
    components: &Components,
) -> Result<(DiskLock, EmbeddedKv), StorageError> {
    let (disk, cache_bytes) = (components.data_disk.clone(), settings.store.cache_bytes);
    let open = move || {
        let lock = data_directory::open(&*disk)?;
        Ok((lock, EmbeddedKv::open(&*disk, cache_bytes)?))
    };
    tokio::task::spawn_blocking(open)
        .await
        .expect("opening files does not panic")
}
