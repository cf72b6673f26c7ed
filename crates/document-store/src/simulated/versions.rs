use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::SimulatedStore;
use crate::optimistic::{CommitRequest, RecentCommits, Snapshot, Visit};
use crate::ordered_kv::{CommitVersion, KeyRange, KvError};

/// Commits between two times that old versions are swept out.
const SWEEP_EVERY_COMMITS: u64 = 1_024;

/// Every key's values at the versions that a transaction may still read.
pub(super) struct Versions {
    /// For each key its values from old to new; `None` is a cleared key.
    entries: BTreeMap<Bytes, Vec<(CommitVersion, Option<Bytes>)>>,
    latest: CommitVersion,
    recent: RecentCommits,
}

impl Default for Versions {
    fn default() -> Self {
        let latest = CommitVersion(0);
        Self {
            entries: BTreeMap::new(),
            latest,
            recent: RecentCommits::new(latest),
        }
    }
}

impl Versions {
    pub fn latest(&self) -> CommitVersion {
        self.latest
    }

    pub fn commit(&mut self, request: CommitRequest) -> Result<CommitVersion, KvError> {
        self.recent.check(request.read_version, &request.reads)?;
        self.latest = CommitVersion(self.latest.0 + 1);
        for range in request.writes.cleared() {
            let span = (Bound::Included(range.begin), Bound::Excluded(range.end));
            for (_, versions) in self.entries.range_mut(span) {
                versions.push((self.latest, None));
            }
        }
        for (key, value) in request.writes.keys() {
            self.entries
                .entry(key.clone())
                .or_default()
                .push((self.latest, value.cloned()));
        }
        self.recent
            .record(self.latest, request.at, request.write_conflicts);
        if self.latest.0.is_multiple_of(SWEEP_EVERY_COMMITS) {
            self.sweep();
        }
        Ok(self.latest)
    }

    #[cfg(test)]
    pub fn kept_count(&self) -> usize {
        self.entries.values().map(Vec::len).sum()
    }

    /// Forgets what no transaction may read any more.
    fn sweep(&mut self) {
        let oldest = self.recent.complete_above();
        self.entries.retain(|_, versions| {
            let seen_at_oldest = versions.partition_point(|(version, _)| *version <= oldest);
            versions.drain(..seen_at_oldest.saturating_sub(1));
            !matches!(versions.as_slice(), [(version, None)] if *version <= oldest)
        });
    }
}

/// The store at one version.
pub(super) struct SimulatedSnapshot {
    store: SimulatedStore,
    version: CommitVersion,
}

impl SimulatedSnapshot {
    pub fn latest(store: SimulatedStore) -> Self {
        let version = store.versions().latest;
        Self { store, version }
    }

    fn value<'v>(&self, versions: &'v [(CommitVersion, Option<Bytes>)]) -> Option<&'v Bytes> {
        let seen = versions
            .iter()
            .rev()
            .find(|(version, _)| *version <= self.version);
        seen.and_then(|(_, value)| value.as_ref())
    }
}

impl Snapshot for SimulatedSnapshot {
    fn version(&self) -> CommitVersion {
        self.version
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let store = self.store.versions();
        if self.version < store.recent.complete_above() {
            return Err(KvError::TransactionTooOld);
        }
        Ok(store
            .entries
            .get(key)
            .and_then(|versions| self.value(versions))
            .cloned())
    }

    fn scan(&self, range: &KeyRange, reverse: bool, visit: Visit<'_>) -> Result<(), KvError> {
        let store = self.store.versions();
        if self.version < store.recent.complete_above() {
            return Err(KvError::TransactionTooOld);
        }
        let span = (
            Bound::Included(range.begin.as_ref()),
            Bound::Excluded(range.end.as_ref()),
        );
        let mut entries = store.entries.range::<[u8], _>(span);
        while let Some((key, versions)) = if reverse {
            entries.next_back()
        } else {
            entries.next()
        } {
            if let Some(value) = self.value(versions)
                && visit(key, value).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}
