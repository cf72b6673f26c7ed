use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use disk::Disk;
use document_types::limits::{BLOB_BYTES_MAX, BLOB_OPERATION_TIME_MAX, BLOB_OPERATIONS_MAX};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::directory::Directory;
use crate::objects::{Created, Objects};
use crate::reader::{BlobReader, Pieces};
use crate::remote::Remote;
use crate::{BlobError, BlobId};

/// Blobs, wherever they are kept. Cloning it is cheap and gives another handle to the same store.
///
/// Every method ends within [`BLOB_OPERATION_TIME_MAX`], waiting for its turn included: at most
/// [`BLOB_OPERATIONS_MAX`] are at work at once.
#[derive(Clone)]
pub struct BlobStore {
    objects: Arc<dyn Objects>,
    turns: Arc<Semaphore>,
}

impl BlobStore {
    /// Blobs below `prefix` of an object store, for instance one in memory.
    pub fn in_objects(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self::over(Arc::new(Remote::new(store, prefix)))
    }

    /// Blobs in a directory that nothing else uses. It stays locked as long as there is a handle to
    /// the store. What a process that was killed left half written is removed.
    ///
    /// This blocks; call it from a thread that may.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process has the directory, and what else the disk
    /// answers.
    pub fn on_disk(disk: Arc<dyn Disk>) -> io::Result<Self> {
        Ok(Self::over(Arc::new(Directory::open(disk)?)))
    }

    fn over(objects: Arc<dyn Objects>) -> Self {
        Self {
            objects,
            turns: Arc::new(Semaphore::new(BLOB_OPERATIONS_MAX)),
        }
    }

    /// Stores a blob and gives its name. A blob that is there already is left alone.
    ///
    /// Once this has returned `Ok`, the blob survives what the place promises to survive: for a
    /// directory the end of the process and of the machine's power, for S3 and Google Cloud Storage
    /// the loss of machines and of one of their sites.
    ///
    /// Whatever happens meanwhile, nobody reads half a blob: it is there whole or not at all. When
    /// this fails or its future is dropped, it may be there.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] above [`BLOB_BYTES_MAX`]; [`BlobError::Damaged`] if what is there
    /// already is not the blob, as far as its length tells; `Unavailable` and `Refused`.
    pub async fn put(&self, bytes: Bytes) -> Result<BlobId, BlobError> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge {
                bytes: bytes.len(),
                bytes_max: BLOB_BYTES_MAX,
            });
        }
        let id = BlobId::of(&bytes).await;
        let length = bytes.len() as u64;
        let stored = async {
            match self.objects.create(id, bytes).await? {
                Created::New => Ok(id),
                Created::Existed => self.check_existing(id, length).await,
            }
        };
        self.within_bounds(stored).await
    }

    /// A store that says that the blob is there is asked once more: S3 also answers so to one of two
    /// who store the same blob at once, before the other's is there.
    async fn check_existing(&self, id: BlobId, length: u64) -> Result<BlobId, BlobError> {
        match self.objects.length(id).await {
            Ok(found) if found == length => Ok(id),
            Ok(found) => {
                let problem = format!("it has {found} bytes instead of {length}");
                Err(BlobError::damaged(id, problem))
            }
            Err(BlobError::NotFound { .. }) => Err(BlobError::unavailable(
                "somebody else is storing the same blob, and it is not there yet",
            )),
            Err(error) => Err(error),
        }
    }

    /// The whole of a blob, which is what was stored.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Damaged`], `Unavailable` and `Refused`.
    pub async fn get(&self, id: BlobId) -> Result<Bytes, BlobError> {
        let whole = async {
            let mut pieces = Pieces::of(id, &*self.objects).await?;
            let mut bytes = BytesMut::with_capacity(pieces.length());
            while let Some(piece) = pieces.next(&*self.objects).await? {
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        };
        self.within_bounds(whole).await
    }

    /// Begins to read a blob in pieces, for who does not want all of it in memory.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Damaged`] if it is longer than a blob can be,
    /// `Unavailable` and `Refused`.
    pub async fn read(&self, id: BlobId) -> Result<BlobReader, BlobError> {
        let pieces = self.within_bounds(Pieces::of(id, &*self.objects)).await?;
        Ok(BlobReader::new(self.clone(), pieces))
    }

    /// Whether there is such a blob, and will be. It says nothing of damage.
    ///
    /// # Errors
    /// `Unavailable` and `Refused`.
    pub async fn exists(&self, id: BlobId) -> Result<bool, BlobError> {
        match self.within_bounds(self.objects.length(id)).await {
            Ok(_) => Ok(true),
            Err(BlobError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    /// Waits for a turn, which bounds what is in memory, and gives the operation up when it takes too
    /// long.
    pub(crate) async fn within_bounds<T>(
        &self,
        operation: impl Future<Output = Result<T, BlobError>>,
    ) -> Result<T, BlobError> {
        let in_turn = async {
            let _turn = self.turns.acquire().await.map_err(BlobError::unavailable)?;
            operation.await
        };
        let no_answer = || {
            let seconds = BLOB_OPERATION_TIME_MAX.as_secs();
            let text = format!("there was no answer within {seconds} s");
            BlobError::unavailable(io::Error::new(io::ErrorKind::TimedOut, text))
        };
        timeout(BLOB_OPERATION_TIME_MAX, in_turn)
            .await
            .unwrap_or_else(|_| Err(no_answer()))
    }
}

/// Shows where the blobs are; clients know credentials, and are not asked.
impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlobStore").field(&self.objects).finish()
    }
}
