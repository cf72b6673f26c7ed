use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// One directory of files, without subdirectories.
///
/// What callers may rely on after a crash, and no more than this:
///
/// - **Contents** that were written before a [`DiskFile::sync_data`] that returned `Ok` are there.
///   Of later writes any 512-byte sectors may be there and any others not, in no order.
/// - **Names** (what [`create`](Disk::create), [`rename`](Disk::rename) and
///   [`remove`](Disk::remove) did) are there once a later [`sync_directory`](Disk::sync_directory)
///   returned `Ok`. Of later ones any prefix may be there.
/// - A file's contents and its name are made durable apart from one another: a new file needs both.
///
/// Names are valid if they are not empty, have no `/` and no NUL, and do not begin with a dot; names
/// that do are the adapter's own. Every operation refuses others with
/// [`io::ErrorKind::InvalidInput`].
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens the file `name` for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates the empty file `name`.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of all files, in ascending order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes the file `name`. Handles that are open keep reading what it held.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives the file `from` the name `to`, in one step; a file that had that name is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no file `from`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// Locks the directory against every other process and every other caller in this one, until the
    /// returned lock is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if someone else holds the lock.
    fn lock(&self) -> io::Result<DiskLock>;
}

/// One open file. Its methods take `&self` and may be called from several threads at once; a read
/// beside a write of the same bytes may see some of them.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. The file grows as far as needed, a gap reading as zeros.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file to `len` bytes, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes contents and length durable.
    ///
    /// After an error nobody knows which of the unsynced bytes are on the disk, and **a second call
    /// does not help**: the operating system may have forgotten that they are unsynced while reads
    /// still show them, and then answers `Ok`. Whoever gets an error here stops writing.
    fn sync_data(&self) -> io::Result<()>;
}

/// The lock on a directory, from [`Disk::lock`] until dropped.
#[derive(Debug)]
pub struct DiskLock {
    _file: File,
}

impl DiskLock {
    pub(crate) fn new(file: File) -> Self {
        Self { _file: file }
    }
}

pub(crate) fn check_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is not a file name that a disk accepts"),
        ));
    }
    Ok(())
}
