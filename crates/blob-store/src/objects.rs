use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{BlobError, BlobId};

/// What became of a wish to store something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// It is stored.
    New,
    /// There was, or appeared meanwhile, something of that name, and it was left alone. Whether it is
    /// there to stay is what [`Objects::length`] knows.
    Existed,
}

/// The place where a blob store keeps its blobs. It knows nothing of what they hold.
#[async_trait]
pub(crate) trait Objects: Debug + Send + Sync {
    /// Stores `bytes` under this name, whole or not at all. Once it has returned [`Created::New`], they
    /// survive whatever the place promises to survive.
    async fn create(&self, id: BlobId, bytes: Bytes) -> Result<Created, BlobError>;

    /// Bytes of what is stored under this name.
    ///
    /// # Errors
    /// [`BlobError::NotFound`] if there is nothing, or nothing yet that would survive.
    async fn length(&self, id: BlobId) -> Result<u64, BlobError>;

    /// These bytes of what is stored under this name. The range is not empty; if less is there, it
    /// returns what there is or says that the blob is damaged.
    async fn read(&self, id: BlobId, range: Range<u64>) -> Result<Bytes, BlobError>;
}
