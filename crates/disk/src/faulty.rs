//! A disk that loses what was not synced.

mod unsynced;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::disk::{Disk, DiskFile, DiskLock, check_name};
use crate::real::{list_names, lock_directory};
use unsynced::Unsynced;

/// Real files whose names are not synced yet begin with this, so nobody finds them after a crash.
const NAMELESS_PREFIX: &str = ".nameless-";

/// What a [`FaultyDisk`] does wrong by itself.
#[derive(Clone, Debug)]
pub struct FaultyDiskOptions {
    /// Where its random choices come from: the same seed and the same calls give the same choices.
    pub seed: u64,
    /// The chance, after each write, that some of the file's unsynced sectors reach the real file, so
    /// that a later kill finds a torn write. From 0 to 1.
    pub tear_chance: f64,
    /// Answer `Ok` to [`DiskFile::sync_data`] without syncing, as a drive with a volatile cache does
    /// and as code that forgot to sync would see it. A crash test that passes on such a disk tests
    /// nothing.
    pub lies_about_syncs: bool,
}

impl FaultyDiskOptions {
    /// Honest syncs, and one write in four torn.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            tear_chance: 0.25,
            lies_about_syncs: false,
        }
    }
}

/// A real directory in front of which everything that was not synced is kept in this process's
/// memory. Reads see it; the real files do not hold it.
///
/// So killing the process loses what a power cut would lose, and from time to time some sectors of
/// it are there nonetheless. [`crash`](Self::crash) does the same to the disk within a process.
///
/// A sync hands the bytes to the operating system and does not wait for the hardware: what it
/// survives is the end of this process, which is what it is for.
///
/// Unsynced bytes of a file beyond
/// [`FAULTY_DISK_UNSYNCED_BYTES_MAX`](document_types::limits::FAULTY_DISK_UNSYNCED_BYTES_MAX) are
/// written to the real file early, as an operating system short of memory does.
pub struct FaultyDisk {
    machine: Arc<Machine>,
    names: Mutex<Names>,
}

/// What the files share with their disk.
struct Machine {
    root: PathBuf,
    tear_chance: f64,
    lies_about_syncs: AtomicBool,
    random: Mutex<SmallRng>,
    /// How often the machine crashed. A file opened before the last crash is dead.
    crash_count: AtomicU64,
    full: AtomicBool,
    /// Syncs until the one that fails, counted down; [`NO_SYNC_FAILS`] if none does.
    syncs_until_failure: AtomicU64,
}

const NO_SYNC_FAILS: u64 = u64::MAX;

#[derive(Default)]
struct Names {
    files: BTreeMap<String, Arc<FaultyFile>>,
    /// What the real directory does not know yet, in order.
    unsynced: Vec<NameChange>,
    nameless_count: u64,
}

enum NameChange {
    Create { nameless: PathBuf, name: String },
    Remove { name: String },
    Rename { from: String, to: String },
}

impl FaultyDisk {
    /// The directory `root`, which is created if there is none. What it holds counts as synced.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn open(root: impl Into<PathBuf>, options: FaultyDiskOptions) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        let machine = Arc::new(Machine {
            root,
            tear_chance: options.tear_chance,
            lies_about_syncs: AtomicBool::new(options.lies_about_syncs),
            random: Mutex::new(SmallRng::seed_from_u64(options.seed)),
            crash_count: AtomicU64::new(0),
            full: AtomicBool::new(false),
            syncs_until_failure: AtomicU64::new(NO_SYNC_FAILS),
        });
        let names = machine.read_names()?;
        Ok(Self {
            machine,
            names: Mutex::new(names),
        })
    }

    /// Crashes the machine and starts it again.
    ///
    /// Of what was not synced each file keeps nothing, some sectors or everything, and the directory
    /// keeps some prefix of its changes. Files and writes from before fail from here on, as the
    /// process that made them is gone; this disk is the one that the next process finds.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn crash(&self) -> io::Result<()> {
        let mut names = lock(&self.names);
        // First, so that no write from before comes between: it would be one from beyond the grave.
        self.machine.crash_count.fetch_add(1, Ordering::SeqCst);
        for file in names.files.values() {
            let mut unsynced = lock(&file.unsynced);
            match self.machine.draw(3) {
                0 => {}
                1 => unsynced.tear(&mut lock(&self.machine.random))?,
                _ => unsynced.write_all_back()?,
            }
        }
        let kept = self.machine.draw(names.unsynced.len() + 1);
        for change in names.unsynced.drain(..kept) {
            self.machine.apply(&change)?;
        }
        *names = self.machine.read_names()?;
        Ok(())
    }

    /// Lets the sync after `good_count` good ones fail, once. As on Linux the bytes it should have
    /// written may be lost although reads still show them, and later syncs answer `Ok`.
    pub fn fail_sync_after(&self, good_count: u64) {
        self.machine
            .syncs_until_failure
            .store(good_count, Ordering::SeqCst);
    }

    /// Sets whether the disk is full. A full one refuses every growth of a file.
    pub fn set_full(&self, full: bool) {
        self.machine.full.store(full, Ordering::SeqCst);
    }

    /// Sets whether syncs are lies from here on; see [`FaultyDiskOptions::lies_about_syncs`].
    pub fn set_lies_about_syncs(&self, lies: bool) {
        self.machine.lies_about_syncs.store(lies, Ordering::SeqCst);
    }
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyDisk")
            .field("root", &self.machine.root)
            .finish_non_exhaustive()
    }
}

impl Disk for FaultyDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let file = lock(&self.names)
            .files
            .get(name)
            .cloned()
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(file)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let mut names = lock(&self.names);
        if names.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.nameless_count += 1;
        let nameless = self
            .machine
            .root
            .join(format!("{NAMELESS_PREFIX}{}", names.nameless_count));
        let real = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&nameless)?;
        let file = Arc::new(FaultyFile::new(
            Arc::clone(&self.machine),
            Unsynced::open(real)?,
        ));
        names.files.insert(name.to_owned(), Arc::clone(&file));
        names.unsynced.push(NameChange::Create {
            nameless,
            name: name.to_owned(),
        });
        Ok(file)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.names).files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let mut names = lock(&self.names);
        names.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        names.unsynced.push(NameChange::Remove {
            name: name.to_owned(),
        });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        let mut names = lock(&self.names);
        let file = names.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.files.insert(to.to_owned(), file);
        names.unsynced.push(NameChange::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut names = lock(&self.names);
        for change in std::mem::take(&mut names.unsynced) {
            self.machine.apply(&change)?;
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<DiskLock> {
        lock_directory(&self.machine.root)
    }
}

impl Machine {
    /// The names and files that the real directory holds, without the files that never got a name.
    fn read_names(self: &Arc<Self>) -> io::Result<Names> {
        remove_nameless(&self.root)?;
        let mut names = Names::default();
        for name in list_names(&self.root)? {
            let real = OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.root.join(&name))?;
            let file = FaultyFile::new(Arc::clone(self), Unsynced::open(real)?);
            names.files.insert(name, Arc::new(file));
        }
        Ok(names)
    }

    fn apply(&self, change: &NameChange) -> io::Result<()> {
        match change {
            NameChange::Create { nameless, name } => fs::rename(nameless, self.root.join(name)),
            NameChange::Remove { name } => fs::remove_file(self.root.join(name)),
            NameChange::Rename { from, to } => fs::rename(self.root.join(from), self.root.join(to)),
        }
    }

    /// A number below `end`.
    fn draw(&self, end: usize) -> usize {
        lock(&self.random).random_range(0..end)
    }

    /// Counts one sync, and says whether it is the one that fails.
    fn sync_fails(&self) -> bool {
        let count_down = |left: u64| (left != NO_SYNC_FAILS).then(|| left.wrapping_sub(1));
        let left = self.syncs_until_failure.fetch_update(
            Ordering::SeqCst,
            Ordering::SeqCst,
            // From 0 it wraps to NO_SYNC_FAILS: one sync fails, and only one.
            count_down,
        );
        left == Ok(0)
    }
}

fn remove_nameless(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(NAMELESS_PREFIX)
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

struct FaultyFile {
    machine: Arc<Machine>,
    crash_count: u64,
    unsynced: Mutex<Unsynced>,
}

impl FaultyFile {
    fn new(machine: Arc<Machine>, unsynced: Unsynced) -> Self {
        let crash_count = machine.crash_count.load(Ordering::SeqCst);
        Self {
            machine,
            crash_count,
            unsynced: Mutex::new(unsynced),
        }
    }

    /// The file's state, if the machine has not crashed since the file was opened.
    fn alive(&self) -> io::Result<MutexGuard<'_, Unsynced>> {
        let unsynced = lock(&self.unsynced);
        if self.crash_count == self.machine.crash_count.load(Ordering::SeqCst) {
            Ok(unsynced)
        } else {
            Err(io::Error::other(
                "the machine crashed since this file was opened",
            ))
        }
    }

    fn check_growth(&self, len: u64, len_wanted: u64) -> io::Result<()> {
        if len_wanted > len && self.machine.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl fmt::Debug for FaultyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyFile")
            .field("root", &self.machine.root)
            .finish_non_exhaustive()
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.alive()?.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut unsynced = self.alive()?;
        self.check_growth(unsynced.len(), offset + bytes.len() as u64)?;
        unsynced.write_at(offset, bytes)?;
        let mut random = lock(&self.machine.random);
        if random.random_bool(self.machine.tear_chance) {
            unsynced.tear(&mut random)?;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut unsynced = self.alive()?;
        self.check_growth(unsynced.len(), len)?;
        unsynced.set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut unsynced = self.alive()?;
        if self.machine.sync_fails() {
            unsynced.tear(&mut lock(&self.machine.random))?;
            unsynced.forget();
            return Err(io::Error::other("an injected sync error"));
        }
        if self.machine.lies_about_syncs.load(Ordering::SeqCst) {
            return Ok(());
        }
        unsynced.sync()
    }
}

/// A lock that a panicking test left behind guards nothing that another test sees.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
