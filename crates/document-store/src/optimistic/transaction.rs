use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use document_types::limits::{
    KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_TIME_MAX, VALUE_BYTES_MAX,
};
use tokio::time::Instant;

use super::{RangeSet, WriteBuffer};
use crate::ordered_kv::{
    CommitVersion, KeyRange, KvError, RangeOptions, RangePage, Transaction, key_after,
};

/// Looks at a key and its value, and says whether to go on.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A store as it was at one version.
pub(crate) trait Snapshot: Send + Sync {
    /// The version that is read.
    fn version(&self) -> CommitVersion;

    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// Shows the entries of a non-empty range to `visit`, in order or backwards, until it breaks.
    fn scan(&self, range: &KeyRange, reverse: bool, visit: Visit<'_>) -> Result<(), KvError>;
}

/// Decides on a commit and applies it.
#[async_trait]
pub(crate) trait Committer: Send + Sync {
    /// Commits, unless the request conflicts with a commit above its read version.
    async fn commit(&self, request: CommitRequest) -> Result<CommitVersion, KvError>;
}

/// A transaction that wants to commit.
#[derive(Debug)]
pub(crate) struct CommitRequest {
    pub read_version: CommitVersion,
    /// When it was asked for.
    pub at: Instant,
    pub reads: RangeSet,
    pub writes: WriteBuffer,
    /// What others conflict with: the writes, and what was added to them.
    pub write_conflicts: RangeSet,
}

/// A transaction over a snapshot, whose writes wait here for the commit.
pub(crate) struct OptimisticTransaction<S, C> {
    snapshot: S,
    committer: C,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writes: WriteBuffer,
    reads: RangeSet,
    write_conflicts: RangeSet,
    written_bytes: usize,
    /// The first write over a limit. It fails the next read or the commit.
    failure: Option<KvError>,
}

impl<S: Snapshot, C: Committer> OptimisticTransaction<S, C> {
    pub fn new(snapshot: S, committer: C, now: Instant) -> Self {
        Self {
            snapshot,
            committer,
            begun: now,
            state: Mutex::default(),
        }
    }

    /// Whether the commit would be more than the end of a reading transaction.
    pub fn writes_something(&self) -> bool {
        !self.state().write_conflicts.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while it is held, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<MutexGuard<'_, State>, KvError> {
        if self.begun.elapsed() > TRANSACTION_TIME_MAX {
            return Err(KvError::TransactionTooOld);
        }
        let state = self.state();
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(state),
        }
    }

    fn read(&self, key: &[u8], conflicts: bool) -> Result<Option<Bytes>, KvError> {
        let mut state = self.usable()?;
        if let Some(written) = state.writes.get(key) {
            return Ok(written);
        }
        if conflicts {
            state.reads.insert(&KeyRange::of_key(key));
        }
        self.snapshot.get(key)
    }
}

impl State {
    fn check_key(&mut self, key: &[u8]) {
        if key.len() > KEY_BYTES_MAX {
            self.failure
                .get_or_insert(KvError::KeyTooLarge { bytes: key.len() });
        }
    }

    fn check_range(&mut self, range: &KeyRange) {
        self.check_key(&range.begin);
        // An end may be the largest key's successor.
        if range.end.len() > KEY_BYTES_MAX + 1 {
            self.failure.get_or_insert(KvError::KeyTooLarge {
                bytes: range.end.len(),
            });
        }
    }

    fn size_bytes(&self) -> usize {
        self.written_bytes + self.reads.key_bytes() + self.write_conflicts.key_bytes()
    }
}

#[async_trait]
impl<S: Snapshot, C: Committer> Transaction for OptimisticTransaction<S, C> {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(key, true)
    }

    async fn get_snapshot(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(key, false)
    }

    async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<RangePage, KvError> {
        let mut state = self.usable()?;
        let page = state.writes.read_range(
            &self.snapshot,
            range,
            options.limit.max(1),
            options.reverse,
        )?;
        if !options.snapshot {
            let seen = match page.entries.last() {
                Some(last) if page.more && options.reverse => {
                    KeyRange::new(last.key.clone(), range.end.clone())
                }
                Some(last) if page.more => KeyRange::new(range.begin.clone(), key_after(&last.key)),
                _ => range.clone(),
            };
            state.reads.insert(&seen);
        }
        Ok(page)
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        let mut state = self.state();
        state.check_key(key);
        if value.len() > VALUE_BYTES_MAX {
            state
                .failure
                .get_or_insert(KvError::ValueTooLarge { bytes: value.len() });
        }
        state.written_bytes += key.len() + value.len();
        state.write_conflicts.insert(&KeyRange::of_key(key));
        state.writes.set(key, value);
    }

    fn clear(&self, key: &[u8]) {
        let mut state = self.state();
        state.check_key(key);
        state.written_bytes += key.len();
        state.write_conflicts.insert(&KeyRange::of_key(key));
        state.writes.clear(key);
    }

    fn clear_range(&self, range: &KeyRange) {
        let mut state = self.state();
        state.check_range(range);
        state.written_bytes += range.begin.len() + range.end.len();
        state.write_conflicts.insert(range);
        state.writes.clear_range(range);
    }

    fn add_read_conflict_range(&self, range: &KeyRange) {
        let mut state = self.state();
        state.check_range(range);
        state.reads.insert(range);
    }

    fn add_write_conflict_range(&self, range: &KeyRange) {
        let mut state = self.state();
        state.check_range(range);
        state.write_conflicts.insert(range);
    }

    async fn read_version(&self) -> Result<CommitVersion, KvError> {
        Ok(self.snapshot.version())
    }

    async fn approximate_size_bytes(&self) -> Result<usize, KvError> {
        Ok(self.usable()?.size_bytes())
    }

    async fn commit(self: Box<Self>) -> Result<CommitVersion, KvError> {
        let state = std::mem::take(&mut *self.usable()?);
        if state.write_conflicts.is_empty() {
            return Ok(self.snapshot.version());
        }
        let bytes = state.size_bytes();
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(KvError::TransactionTooLarge { bytes });
        }
        let at = Instant::now();
        self.committer
            .commit(CommitRequest {
                read_version: self.snapshot.version(),
                at,
                reads: state.reads,
                writes: state.writes,
                write_conflicts: state.write_conflicts,
            })
            .await
    }
}
