use std::io;
use std::sync::Arc;
use std::time::Duration;

use disk::{Disk, DiskFile, DiskLock};

/// A disk whose syncs take their time, as those of a real one do. Without it a write that is not
/// synced yet is there for some microseconds only, and no kill would ever find one.
#[derive(Debug)]
pub struct SlowDisk {
    inner: Arc<dyn Disk>,
    sync_time: Duration,
}

impl SlowDisk {
    /// `inner`, with syncs of contents that take `sync_time` longer.
    pub fn new(inner: Arc<dyn Disk>, sync_time: Duration) -> Self {
        Self { inner, sync_time }
    }

    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SlowFile {
            inner,
            sync_time: self.sync_time,
        })
    }
}

impl Disk for SlowDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.create(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn lock(&self) -> io::Result<DiskLock> {
        self.inner.lock()
    }
}

#[derive(Debug)]
struct SlowFile {
    inner: Arc<dyn DiskFile>,
    sync_time: Duration,
}

impl DiskFile for SlowFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[allow(clippy::disallowed_methods)] // To block its caller is what a slow disk does.
        std::thread::sleep(self.sync_time);
        self.inner.sync_data()
    }
}
