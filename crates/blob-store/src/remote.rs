use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};

use crate::objects::{Created, Objects};
use crate::{BlobError, BlobId};

/// Blobs as objects of an object store.
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Remote {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }

    fn path(&self, id: BlobId) -> Path {
        let path = Path::from(id.path());
        self.prefix.parts().chain(path.parts()).collect()
    }
}

#[async_trait]
impl Objects for Remote {
    async fn create(&self, id: BlobId, bytes: Bytes) -> Result<Created, BlobError> {
        // One request, however large the blob: an upload in parts can't be told to create only (its
        // completion replaces what is there), and one that is cut short leaves parts behind that
        // nobody sees and somebody pays for. A single one may have 5 GB in S3, far above our limit.
        let path = self.path(id);
        let put = self
            .store
            .put_opts(&path, bytes.into(), PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(Created::New),
            Err(Error::AlreadyExists { .. }) => Ok(Created::Existed),
            // What is missing where something is to be stored is the bucket.
            Err(error @ Error::NotFound { .. }) => Err(BlobError::refused(error)),
            Err(error) => Err(blob_error(id, error)),
        }
    }

    async fn length(&self, id: BlobId) -> Result<u64, BlobError> {
        let head = self.store.head(&self.path(id)).await;
        head.map(|meta| meta.size)
            .map_err(|error| blob_error(id, error))
    }

    async fn read(&self, id: BlobId, range: Range<u64>) -> Result<Bytes, BlobError> {
        let read = self.store.get_range(&self.path(id), range).await;
        read.map_err(|error| blob_error(id, error))
    }
}

/// What is neither an answer about the object nor a refusal counts as a failure that passes: to try
/// again does no harm where it was none.
fn blob_error(id: BlobId, error: Error) -> BlobError {
    match error {
        Error::NotFound { .. } => BlobError::NotFound { id },
        Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::UnknownConfigurationKey { .. } => BlobError::refused(error),
        error => BlobError::unavailable(error),
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own Debug is not used, as it knows credentials.
        write!(f, "{}/{}", self.store, self.prefix)
    }
}
