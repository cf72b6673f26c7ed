use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::{ABOUT, ABOUT_VERSION, ENTRIES, failed};
use crate::optimistic::{Snapshot, Visit};
use crate::ordered_kv::{CommitVersion, KeyRange, KvError};

/// The file as one commit left it.
pub(super) struct EmbeddedSnapshot {
    version: CommitVersion,
    entries: ReadOnlyTable<&'static [u8], &'static [u8]>,
    /// Keeps the file open as long as it is read.
    _database: Arc<Database>,
}

impl EmbeddedSnapshot {
    /// The file as the latest commit left it.
    pub fn latest(database: Arc<Database>) -> Result<Self, KvError> {
        let read = database.begin_read().map_err(failed)?;
        let about = read.open_table(ABOUT).map_err(failed)?;
        let version = about
            .get(ABOUT_VERSION)
            .map_err(failed)?
            .map_or(0, |found| found.value());
        let entries = read.open_table(ENTRIES).map_err(failed)?;
        Ok(Self {
            version: CommitVersion(version),
            entries,
            _database: database,
        })
    }
}

impl Snapshot for EmbeddedSnapshot {
    fn version(&self) -> CommitVersion {
        self.version
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let found = self.entries.get(key).map_err(failed)?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn scan(&self, range: &KeyRange, reverse: bool, visit: Visit<'_>) -> Result<(), KvError> {
        let mut entries = self
            .entries
            .range::<&[u8]>(range.begin.as_ref()..range.end.as_ref())
            .map_err(failed)?;
        while let Some(entry) = if reverse {
            entries.next_back()
        } else {
            entries.next()
        } {
            let (key, value) = entry.map_err(failed)?;
            if visit(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }
}
