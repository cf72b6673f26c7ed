//! Stores with bugs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use document_store::keyspace::Key;
use document_store::ordered_kv::{CommitVersion, KeyRange, RangeOptions, RangePage, Transaction};
use document_store::values::Offset;
use document_store::{KvError, OrderedKv, SimulatedKv};
use prost::Message;

use super::Bug;

/// A store with one of the bugs that concern it.
pub struct BuggyKv {
    /// The store without the bug.
    pub inner: SimulatedKv,
    /// The bug.
    pub bug: Bug,
}

#[async_trait]
impl OrderedKv for BuggyKv {
    async fn begin(&self) -> Result<Box<dyn Transaction>, KvError> {
        Ok(Box::new(BuggyTransaction {
            inner: self.inner.begin().await?,
            kv: self.inner.clone(),
            bug: self.bug,
            held_back: Mutex::default(),
        }))
    }

    async fn sync(&self) -> Result<CommitVersion, KvError> {
        self.inner.sync().await
    }
}

struct BuggyTransaction {
    inner: Box<dyn Transaction>,
    kv: SimulatedKv,
    bug: Bug,
    /// Writes that are committed after the rest.
    held_back: Mutex<Vec<Write>>,
}

enum Write {
    Set(Vec<u8>, Vec<u8>),
    ClearRange(KeyRange),
}

impl BuggyTransaction {
    fn held_back(&self) -> MutexGuard<'_, Vec<Write>> {
        self.held_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an append writes beside the positions.
fn is_content(key: &[u8]) -> bool {
    matches!(
        Key::unpack(key),
        Ok(Key::Update(..) | Key::Pending(..) | Key::Span(..))
    )
}

#[async_trait]
impl Transaction for BuggyTransaction {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        match (self.bug, Key::unpack(key)) {
            (Bug::HeadDoesNotConflict, Ok(Key::Head(_))) => self.inner.get_snapshot(key).await,
            (Bug::MergedRunsAhead, Ok(Key::Merged(_))) => {
                let found = self.inner.get(key).await?;
                Ok(found.map(|bytes| {
                    let offset = Offset::decode(bytes).map_or(0, |found| found.offset);
                    Offset { offset: offset + 1 }.encode_to_vec().into()
                }))
            }
            _ => self.inner.get(key).await,
        }
    }

    async fn get_snapshot(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.inner.get_snapshot(key).await
    }

    async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<RangePage, KvError> {
        self.inner.get_range(range, options).await
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        match self.bug {
            Bug::AppliedBeforeTheRest if is_content(key) => self
                .held_back()
                .push(Write::Set(key.to_vec(), value.to_vec())),
            Bug::PendingIsNotStored if matches!(Key::unpack(key), Ok(Key::Pending(..))) => {}
            _ => self.inner.set(key, value),
        }
    }

    fn clear(&self, key: &[u8]) {
        self.inner.clear(key);
    }

    fn clear_range(&self, range: &KeyRange) {
        match self.bug {
            Bug::AppliedBeforeTheRest => self.held_back().push(Write::ClearRange(range.clone())),
            _ => self.inner.clear_range(range),
        }
    }

    fn add_read_conflict_range(&self, range: &KeyRange) {
        self.inner.add_read_conflict_range(range);
    }

    fn add_write_conflict_range(&self, range: &KeyRange) {
        self.inner.add_write_conflict_range(range);
    }

    async fn read_version(&self) -> Result<CommitVersion, KvError> {
        self.inner.read_version().await
    }

    async fn approximate_size_bytes(&self) -> Result<usize, KvError> {
        self.inner.approximate_size_bytes().await
    }

    async fn commit(self: Box<Self>) -> Result<CommitVersion, KvError> {
        let held_back = std::mem::take(&mut *self.held_back());
        let version = match self.inner.commit().await {
            Err(KvError::CommitUnknownResult) if self.bug == Bug::UnknownCommitIsDone => {
                return Ok(CommitVersion(0));
            }
            result => result?,
        };
        if !held_back.is_empty() {
            let rest = self.kv.begin().await?;
            for write in held_back {
                match write {
                    Write::Set(key, value) => rest.set(&key, &value),
                    Write::ClearRange(range) => rest.clear_range(&range),
                }
            }
            rest.commit().await?;
        }
        Ok(version)
    }
}
