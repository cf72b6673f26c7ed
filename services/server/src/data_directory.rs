//! What lies in a data directory:
//!
//! ```text
//! DIR/FORMAT       what wrote this directory, in one line
//! DIR/.lock        held while a process uses the directory
//! DIR/log/         the operation log: the record of what was acknowledged
//! DIR/store.redb   the documents' state, which the log could build again
//! DIR/blobs/       the attachments, unless the settings say another place
//! ```

use std::io;

use disk::{Disk, DiskLock};

/// The folder of the operation log.
pub const LOG_FOLDER: &str = "log";
/// The folder of the blobs.
pub const BLOBS_FOLDER: &str = "blobs";

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_FILE_NEW: &str = "FORMAT.new";
const FORMAT_NAME: &str = "collabedit data directory, format ";
/// The format that this program reads and writes.
const FORMAT: u32 = 1;
/// A format file is one short line.
const FORMAT_FILE_BYTES_MAX: u64 = 128;

/// Why a directory can't be used as a data directory.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// Another process uses it.
    #[error("another process uses the data directory; stop it, or use another directory")]
    Locked,
    /// It holds files of something else.
    #[error(
        "the directory holds {example} but no file FORMAT, so it is not a data directory; give \
         an empty or a new one"
    )]
    NotOurs {
        /// One of the files.
        example: String,
    },
    /// There is no data directory here.
    #[error("there is no data directory here: it has no file FORMAT")]
    Missing,
    /// Another version of this program wrote it.
    #[error(
        "the data directory is marked `{found}`, and this program reads `{FORMAT_NAME}{FORMAT}`"
    )]
    OtherFormat {
        /// What stands in the file.
        found: String,
    },
    /// The file system refuses.
    #[error("can't {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> DataDirectoryError {
    move |source| DataDirectoryError::Io { action, source }
}

/// Locks the directory and makes a data directory of it if it is empty.
///
/// # Errors
/// [`DataDirectoryError`] says what to do.
pub fn open(disk: &dyn Disk) -> Result<DiskLock, DataDirectoryError> {
    let lock = disk.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => DataDirectoryError::Locked,
        _ => failed("lock the data directory")(source),
    })?;
    match check(disk) {
        Err(DataDirectoryError::Missing) => create(disk)?,
        checked => checked?,
    }
    Ok(lock)
}

/// Checks, without a lock, that the directory is one that this program reads.
///
/// # Errors
/// [`DataDirectoryError::Missing`] if it is none, [`DataDirectoryError::OtherFormat`] if it is another
/// version's.
pub fn check(disk: &dyn Disk) -> Result<(), DataDirectoryError> {
    let file = match disk.open(FORMAT_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DataDirectoryError::Missing);
        }
        opened => opened.map_err(failed("open the file FORMAT"))?,
    };
    let bytes = file
        .len()
        .map_err(failed("read the file FORMAT"))?
        .min(FORMAT_FILE_BYTES_MAX);
    let mut content = vec![0; usize::try_from(bytes).unwrap_or_default()];
    file.read_at(0, &mut content)
        .map_err(failed("read the file FORMAT"))?;
    let found = String::from_utf8_lossy(&content).trim_end().to_owned();
    if found != format!("{FORMAT_NAME}{FORMAT}") {
        return Err(DataDirectoryError::OtherFormat { found });
    }
    Ok(())
}

/// Checks, without a lock, that the directory is one that this program reads, or an empty one.
///
/// # Errors
/// [`DataDirectoryError::NotOurs`] if it holds something else; as [`check`] otherwise.
pub fn check_or_empty(disk: &dyn Disk) -> Result<(), DataDirectoryError> {
    match check(disk) {
        Err(DataDirectoryError::Missing) => {
            let names = disk.list().map_err(failed("list the data directory"))?;
            // A crash may have left an unfinished one.
            match names.into_iter().find(|name| name != FORMAT_FILE_NEW) {
                Some(example) => Err(DataDirectoryError::NotOurs { example }),
                None => Ok(()),
            }
        }
        checked => checked,
    }
}

fn create(disk: &dyn Disk) -> Result<(), DataDirectoryError> {
    check_or_empty(disk)?;
    let names = disk.list().map_err(failed("list the data directory"))?;
    if !names.is_empty() {
        disk.remove(FORMAT_FILE_NEW)
            .map_err(failed("remove an unfinished FORMAT"))?;
    }
    let line = format!("{FORMAT_NAME}{FORMAT}\n");
    let write = || {
        let file = disk.create(FORMAT_FILE_NEW)?;
        file.write_at(0, line.as_bytes())?;
        file.sync_data()?;
        disk.rename(FORMAT_FILE_NEW, FORMAT_FILE)?;
        disk.sync_directory()
    };
    write().map_err(failed("write the file FORMAT"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::RealDisk;

    fn directory() -> (tempfile::TempDir, RealDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        (directory, disk)
    }

    #[test]
    fn an_empty_directory_becomes_a_data_directory_and_stays_one() {
        let (_directory, disk) = directory();
        assert!(matches!(check(&disk), Err(DataDirectoryError::Missing)));
        drop(open(&disk).unwrap());
        check(&disk).unwrap();
        drop(open(&disk).unwrap());
    }

    #[test]
    fn one_process_at_a_time_uses_it() {
        let (_directory, disk) = directory();
        let held = open(&disk).unwrap();
        assert!(matches!(open(&disk), Err(DataDirectoryError::Locked)));
        drop(held);
        open(&disk).unwrap();
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let (directory, disk) = directory();
        std::fs::write(directory.path().join("thesis.txt"), "words").unwrap();
        let refused = open(&disk).unwrap_err();
        assert!(refused.to_string().contains("thesis.txt"), "{refused}");
        assert_eq!(disk.list().unwrap(), ["thesis.txt"]);
    }

    #[test]
    fn a_directory_of_another_version_is_refused() {
        let (directory, disk) = directory();
        let newer = "collabedit data directory, format 2\n";
        std::fs::write(directory.path().join(FORMAT_FILE), newer).unwrap();
        let refused = open(&disk).unwrap_err();
        assert!(refused.to_string().contains("format 2"), "{refused}");
    }

    #[test]
    fn a_crash_while_it_was_made_does_not_matter() {
        let (directory, disk) = directory();
        std::fs::write(directory.path().join(FORMAT_FILE_NEW), "collab").unwrap();
        open(&disk).unwrap();
        assert_eq!(disk.list().unwrap(), [FORMAT_FILE]);
    }
}
