use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use disk::{Disk, DiskFile, DiskLock};
use tokio::time::Instant;

/// Writes and syncs that may be promised and not done; whoever wants more waits.
const PROMISES_MAX: usize = 4_096;

/// A disk with a bug planted into it: it answers writes and syncs at once and does them a little
/// later, in order. Whoever acknowledges upon its answers acknowledges before anything is durable.
///
/// While its process lives nobody can tell, since everything else waits until the promises are kept.
#[derive(Debug)]
pub struct HastyDisk {
    inner: Arc<dyn Disk>,
    promises: Arc<Promises>,
    keeper: Option<JoinHandle<()>>,
}

impl HastyDisk {
    /// `inner`, with writes and syncs that are done so much later than they are answered.
    ///
    /// # Errors
    /// If the thread that does them can't be started.
    pub fn new(inner: Arc<dyn Disk>, delay: Duration) -> io::Result<Self> {
        let promises = Arc::new(Promises {
            delay,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let kept = Arc::clone(&promises);
        let keeper = std::thread::Builder::new()
            .name("hasty-disk".to_owned())
            .spawn(move || kept.keep_all())?;
        Ok(Self {
            inner,
            promises,
            keeper: Some(keeper),
        })
    }

    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HastyFile {
            inner,
            promises: Arc::clone(&self.promises),
        })
    }
}

impl Drop for HastyDisk {
    fn drop(&mut self) {
        self.promises.lock().is_closed = true;
        self.promises.changed.notify_all();
        if let Some(keeper) = self.keeper.take() {
            // It panics only where the disk below does, which has said so.
            let _ = keeper.join();
        }
    }
}

impl Disk for HastyDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.promises.wait_until_kept()?;
        Ok(self.file(self.inner.create(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.promises.wait_until_kept()?;
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.promises.wait_until_kept()?;
        self.inner.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.promises.wait_until_kept()?;
        self.inner.sync_directory()
    }

    fn lock(&self) -> io::Result<DiskLock> {
        self.inner.lock()
    }
}

/// What was answered and is not done.
struct Promises {
    delay: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Promise>,
    /// Callers who wait until everything is done, for whom it is done at once.
    hurried_count: usize,
    is_closed: bool,
    /// What the disk below said to a promise that could not be kept.
    broken: Option<io::ErrorKind>,
}

struct Promise {
    due: Instant,
    file: Arc<dyn DiskFile>,
    work: Work,
}

enum Work {
    Write { offset: u64, bytes: Vec<u8> },
    Sync,
}

impl Promise {
    fn keep(&self) -> io::Result<()> {
        match &self.work {
            Work::Write { offset, bytes } => self.file.write_at(*offset, bytes),
            Work::Sync => self.file.sync_data(),
        }
    }
}

impl Promises {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, file: &Arc<dyn DiskFile>, work: Work) -> io::Result<()> {
        let promise = Promise {
            due: Instant::now() + self.delay,
            file: Arc::clone(file),
            work,
        };
        let mut state = self.lock();
        while state.waiting.len() == PROMISES_MAX && !state.is_closed {
            state = self.wait(state);
        }
        if let Some(kind) = state.broken {
            return Err(kind.into());
        }
        if state.is_closed {
            return promise.keep();
        }
        state.waiting.push_back(promise);
        self.changed.notify_all();
        Ok(())
    }

    fn wait_until_kept(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.hurried_count += 1;
        self.changed.notify_all();
        while !state.waiting.is_empty() {
            state = self.wait(state);
        }
        state.hurried_count -= 1;
        state.broken.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Does what is due, until the disk is dropped and nothing is left to do.
    fn keep_all(&self) {
        let mut state = self.lock();
        loop {
            let Some(first) = state.waiting.front() else {
                if state.is_closed {
                    return;
                }
                state = self.wait(state);
                continue;
            };
            let early = first.due.saturating_duration_since(Instant::now());
            if !early.is_zero() && state.hurried_count == 0 && !state.is_closed {
                let waited = self.changed.wait_timeout(state, early);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Err(error) = first.keep() {
                state.broken.get_or_insert(error.kind());
            }
            state.waiting.pop_front();
            self.changed.notify_all();
        }
    }
}

impl fmt::Debug for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promises")
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct HastyFile {
    inner: Arc<dyn DiskFile>,
    promises: Arc<Promises>,
}

impl DiskFile for HastyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.promises.wait_until_kept()?;
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let bytes = bytes.to_vec();
        self.promises
            .make(&self.inner, Work::Write { offset, bytes })
    }

    fn len(&self) -> io::Result<u64> {
        self.promises.wait_until_kept()?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.promises.wait_until_kept()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.promises.make(&self.inner, Work::Sync)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::RealDisk;

    const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn what_is_promised_is_seen_by_its_process_and_by_no_other() {
        let root = tempfile::tempdir().unwrap();
        let real = Arc::new(RealDisk::open(root.path()).unwrap());
        let hasty = HastyDisk::new(real, NEVER).unwrap();
        let file = hasty.create("a").unwrap();
        let there = || std::fs::read(root.path().join("a")).unwrap();
        file.write_at(0, b"promised").unwrap();
        file.sync_data().unwrap();
        assert_eq!(there(), b"");

        let mut seen = [0; 8];
        file.read_at(0, &mut seen).unwrap();
        assert_eq!(&seen, b"promised");
        assert_eq!(there(), b"promised");

        file.write_at(8, b"!").unwrap();
        assert_eq!(there(), b"promised");
        drop(hasty);
        assert_eq!(
            there(),
            b"promised!",
            "a process that ends in order loses nothing"
        );
    }

    #[test]
    fn what_is_due_is_done_though_nobody_asks() {
        let root = tempfile::tempdir().unwrap();
        let real = Arc::new(RealDisk::open(root.path()).unwrap());
        let hasty = HastyDisk::new(real, Duration::ZERO).unwrap();
        let file = hasty.create("a").unwrap();
        file.write_at(0, b"done").unwrap();
        while std::fs::read(root.path().join("a")).unwrap() != b"done" {
            std::thread::yield_now();
        }
    }
}
