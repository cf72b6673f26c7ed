//! A document store that nodes share: a part of a FoundationDB cluster, in programs that were built
//! with the feature `foundationdb`.

use std::sync::Arc;

use document_store::OrderedKv;

use crate::FoundationDbSettings;

/// Why there is no such store.
#[derive(Debug, thiserror::Error)]
pub enum SharedStoreError {
    /// This program can't speak to one.
    #[cfg(not(feature = "foundationdb"))]
    #[error(
        "`store.foundationdb.cluster_file` is set, and this program was built without FoundationDB; \
         build it with `cargo build --release -p server --features foundationdb`, for which \
         FoundationDB's client library has to be installed"
    )]
    NotBuilt,
    /// See [`FoundationDbOpenError`](document_store::FoundationDbOpenError).
    #[cfg(feature = "foundationdb")]
    #[error("the store in FoundationDB can't be opened")]
    Open(#[from] document_store::FoundationDbOpenError),
}

/// Opens stores that nodes share.
pub struct SharedStores<'a> {
    #[cfg(feature = "foundationdb")]
    network: &'a document_store::FoundationDbNetwork,
    #[cfg(not(feature = "foundationdb"))]
    _network: std::marker::PhantomData<&'a ()>,
}

impl SharedStores<'_> {
    /// Runs `action` with the client library's thread around it, if there is one in this program.
    ///
    /// # Errors
    /// [`SharedStoreError`] if the thread can't be started: a process can do it once.
    pub fn run<T>(action: impl FnOnce(&SharedStores<'_>) -> T) -> Result<T, SharedStoreError> {
        #[cfg(feature = "foundationdb")]
        {
            let run =
                |network: &document_store::FoundationDbNetwork| action(&SharedStores { network });
            Ok(document_store::FoundationDbNetwork::run(run)?)
        }
        #[cfg(not(feature = "foundationdb"))]
        {
            Ok(action(&SharedStores {
                _network: std::marker::PhantomData,
            }))
        }
    }

    /// The store that the settings name, if they name one.
    ///
    /// # Errors
    /// [`SharedStoreError`] says what to do.
    pub fn open(
        &self,
        settings: &FoundationDbSettings,
    ) -> Result<Option<Arc<dyn OrderedKv>>, SharedStoreError> {
        let Some(cluster_file) = &settings.cluster_file else {
            return Ok(None);
        };
        #[cfg(feature = "foundationdb")]
        {
            let options = document_store::FoundationDbOptions {
                cluster_file: cluster_file.clone(),
                prefix: settings.prefix.clone().into_bytes().into(),
            };
            let kv = document_store::FoundationDbKv::open(self.network, &options)?;
            Ok(Some(Arc::new(kv)))
        }
        #[cfg(not(feature = "foundationdb"))]
        {
            let _ = cluster_file;
            Err(SharedStoreError::NotBuilt)
        }
    }
}
