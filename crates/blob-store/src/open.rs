use std::io::ErrorKind;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use disk::RealDisk;
use document_types::Digest;

use crate::{BlobError, BlobId, BlobSettings, BlobStore, OpenError};

/// The name of a blob that nobody can have stored, as nobody knows what has this digest.
const NOBODYS: BlobId = BlobId(Digest([0; 32]));

impl BlobStore {
    /// The store of these settings, once it has shown that it can be used, as [`check`](Self::check)
    /// finds out. For who can't go on without it.
    ///
    /// # Errors
    /// As [`at`](Self::at) and [`check`](Self::check).
    pub async fn open(settings: &BlobSettings) -> Result<Self, OpenError> {
        let store = Self::at(settings).await?;
        store.check().await?;
        Ok(store)
    }

    /// The store of these settings, which may be away at the moment. A directory is opened, a bucket is
    /// not asked for anything.
    ///
    /// Credentials come from the environment, by the names that the tools of S3 and Google Cloud give
    /// them, or from the machine that this runs on.
    ///
    /// # Errors
    /// [`OpenError`] says what to change.
    pub async fn at(settings: &BlobSettings) -> Result<Self, OpenError> {
        match settings {
            BlobSettings::Directory { path } => in_directory(path).await,
            #[cfg(feature = "cloud")]
            BlobSettings::S3(settings) => {
                let bucket = crate::cloud::s3(settings)?;
                Ok(Self::in_objects(bucket, settings.prefix.clone()))
            }
            #[cfg(feature = "cloud")]
            BlobSettings::GoogleCloud { bucket, prefix } => {
                let bucket = crate::cloud::google_cloud(bucket)?;
                Ok(Self::in_objects(bucket, prefix.clone()))
            }
            #[cfg(not(feature = "cloud"))]
            BlobSettings::S3(_) => Err(OpenError::NotBuiltIn { scheme: "s3" }),
            #[cfg(not(feature = "cloud"))]
            BlobSettings::GoogleCloud { .. } => Err(OpenError::NotBuiltIn { scheme: "gs" }),
        }
    }

    /// Whether the store can be used: it has stored the empty blob, given it back, and said of a blob
    /// that nobody has stored that it is not there. So a bucket that does not exist, missing
    /// credentials, and permissions that lack something are found at the start and not with the first
    /// blob.
    ///
    /// # Errors
    /// [`OpenError`] says what to change, or that it may be tried again.
    pub async fn check(&self) -> Result<(), OpenError> {
        let id = self.put(Bytes::new()).await?;
        self.get(id).await?;
        if self.exists(NOBODYS).await? {
            return Err(OpenError::Untrue(
                "it says that a blob is there which nobody can have stored",
            ));
        }
        Ok(())
    }
}

async fn in_directory(path: &FilePath) -> Result<BlobStore, OpenError> {
    let directory = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        BlobStore::on_disk(Arc::new(RealDisk::open(directory)?))
    });
    let path = path.to_owned();
    match opened.await.map_err(BlobError::unavailable)? {
        Ok(store) => Ok(store),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(OpenError::InUse { path }),
        Err(source) => Err(OpenError::Directory { path, source }),
    }
}
