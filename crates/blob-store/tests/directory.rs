//! Blobs in a directory: conformance, and what happens when a disk or another process is in the way.
#![allow(clippy::unwrap_used)] // Tests.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blob_store::conformance::{Subject, content};
use blob_store::{BlobError, BlobId, BlobSettings, BlobStore, OpenError};
use bytes::Bytes;
use disk::{Disk, DiskFile, DiskLock, FaultyDisk, FaultyDiskOptions, RealDisk};
use futures::FutureExt;
use tempfile::TempDir;

fn subject(directory: &Path, disk: Arc<dyn Disk>) -> Subject {
    let directory = directory.to_owned();
    Subject {
        store: BlobStore::on_disk(disk).unwrap(),
        replace: Box::new(move |id: BlobId, bytes: Bytes| {
            std::fs::write(directory.join(id.to_string()), bytes).unwrap();
            std::future::ready(()).boxed()
        }),
    }
}

async fn on_a_real_disk() -> (Subject, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(directory.path()).unwrap();
    (subject(directory.path(), Arc::new(disk)), directory)
}

blob_store::conformance_tests!(
    #[tokio::test]
    on_a_real_disk
);

fn settings(directory: &TempDir) -> BlobSettings {
    let address = format!("file://{}/blobs", directory.path().display());
    address.parse().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    RealDisk::open(directory).unwrap().list().unwrap()
}

#[tokio::test]
async fn a_directory_is_made_kept_and_locked() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&directory);
    let store = BlobStore::open(&settings).await.unwrap();
    let id = store.put(content(1, 100)).await.unwrap();
    let second = BlobStore::open(&settings).await.unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second:?}");
    assert!(second.is_retryable());
    drop(store);
    let again = BlobStore::open(&settings).await.unwrap();
    assert_eq!(again.get(id).await.unwrap(), content(1, 100));
}

#[tokio::test]
async fn a_file_where_the_directory_should_be_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("blobs"), "").unwrap();
    let error = BlobStore::open(&settings(&directory)).await.unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
}

#[tokio::test]
async fn what_was_left_half_written_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let id = BlobId::of(&content(1, 100)).await;
    let partial = directory.path().join(format!("{id}.0.partial"));
    std::fs::write(partial, &content(1, 100)[..50]).unwrap();
    let disk = Arc::new(RealDisk::open(directory.path()).unwrap());
    let store = BlobStore::on_disk(disk).unwrap();
    assert!(!store.exists(id).await.unwrap());
    assert!(names(directory.path()).is_empty());
    store.put(content(1, 100)).await.unwrap();
    assert_eq!(names(directory.path()), [id.to_string()]);
}

#[tokio::test]
async fn a_blob_whose_content_could_not_be_synced_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let options = FaultyDiskOptions::new(1);
    let disk = Arc::new(FaultyDisk::open(directory.path(), options).unwrap());
    let store = BlobStore::on_disk(Arc::clone(&disk) as _).unwrap();
    disk.fail_sync_after(0);
    let bytes = content(1, 10_000);
    let error = store.put(bytes.clone()).await.unwrap_err();
    assert!(matches!(error, BlobError::Unavailable(_)), "{error:?}");
    assert!(!store.exists(BlobId::of(&bytes).await).await.unwrap());
    // The bytes that the operating system may have dropped are written anew.
    let id = store.put(bytes.clone()).await.unwrap();
    assert_eq!(store.get(id).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_full_disk_is_a_failure_that_passes() {
    let directory = tempfile::tempdir().unwrap();
    let options = FaultyDiskOptions::new(1);
    let disk = Arc::new(FaultyDisk::open(directory.path(), options).unwrap());
    let store = BlobStore::on_disk(Arc::clone(&disk) as _).unwrap();
    disk.set_full(true);
    let error = store.put(content(1, 100)).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(disk.list().unwrap().is_empty());
    disk.set_full(false);
    store.put(content(1, 100)).await.unwrap();
}

/// A disk on which the next sync of the names fails, after which the operating system knows of nothing
/// that would have to be synced.
#[derive(Debug)]
struct ForgetfulDisk {
    real: RealDisk,
    fails: AtomicBool,
}

impl Disk for ForgetfulDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.real.open(name)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.real.create(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.real.list()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.real.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn sync_directory(&self) -> io::Result<()> {
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("an injected sync error"));
        }
        self.real.sync_directory()
    }
    fn lock(&self) -> io::Result<DiskLock> {
        self.real.lock()
    }
}

#[tokio::test]
async fn after_names_could_not_be_synced_nobody_is_told_that_a_blob_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(ForgetfulDisk {
        real: RealDisk::open(directory.path()).unwrap(),
        fails: AtomicBool::new(false),
    });
    let store = BlobStore::on_disk(Arc::clone(&disk) as _).unwrap();
    disk.fails.store(true, Ordering::SeqCst);
    let bytes = content(1, 100);
    let id = BlobId::of(&bytes).await;
    for _ in 0..3 {
        let error = store.put(bytes.clone()).await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        let error = store.exists(id).await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
    }
    drop(store);
    let store = BlobStore::on_disk(disk).unwrap();
    assert_eq!(store.put(bytes).await.unwrap(), id);
}
