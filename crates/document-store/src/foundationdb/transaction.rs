use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use document_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use foundationdb::options::{ConflictRangeType, StreamingMode};
use foundationdb::{FdbError, RangeOption};

use super::Cluster;
use super::errors::{Doing, TRANSACTION_TOO_LARGE, Unexpected, kv_error};
use crate::ordered_kv::{
    CommitVersion, KeyRange, KeyValue, KvError, RangeOptions, RangePage, Transaction,
};

/// A transaction of the client, and what the port asks for beyond it.
pub(super) struct FoundationDbTransaction {
    /// Goes before the cluster, which it uses.
    inner: foundationdb::Transaction,
    cluster: Arc<Cluster>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The first call that can't be carried out. It fails the next read or the commit.
    failure: Option<KvError>,
    /// Whether the commit has anything to send.
    writes_something: bool,
}

impl FoundationDbTransaction {
    pub fn new(inner: foundationdb::Transaction, cluster: Arc<Cluster>) -> Self {
        Self {
            inner,
            cluster,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while it is held, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_usable(&self) -> Result<(), KvError> {
        self.cluster.running.check()?;
        self.state().failure.clone().map_or(Ok(()), Err)
    }

    async fn read(&self, key: &[u8], snapshot: bool) -> Result<Option<Bytes>, KvError> {
        self.check_usable()?;
        let key = self.cluster.prefix.key(key);
        let value = self.inner.get(&key, snapshot).await.map_err(reading)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn add_conflict_range(&self, range: &KeyRange, kind: ConflictRangeType) {
        let mut state = self.state();
        if !state.takes_range(range) {
            return;
        }
        state.writes_something |= matches!(kind, ConflictRangeType::Write);
        let (begin, end) = self.cluster.prefix.range(range);
        if let Err(error) = self.inner.add_conflict_range(&begin, &end, kind) {
            state.fail(reading(error));
        }
    }
}

impl State {
    fn fail(&mut self, error: KvError) {
        self.failure.get_or_insert(error);
    }

    /// Whether `key` may be written.
    fn takes_key(&mut self, key: &[u8]) -> bool {
        let takes = key.len() <= KEY_BYTES_MAX;
        if !takes {
            self.fail(KvError::KeyTooLarge { bytes: key.len() });
        }
        takes
    }

    /// Whether there is something in `range`, and it may be used in a write or a conflict.
    fn takes_range(&mut self, range: &KeyRange) -> bool {
        // An end may be the largest key's successor.
        let longest = range.begin.len().max(range.end.len().saturating_sub(1));
        if longest > KEY_BYTES_MAX {
            self.fail(KvError::KeyTooLarge {
                bytes: range.begin.len().max(range.end.len()),
            });
        }
        longest <= KEY_BYTES_MAX && !range.is_empty()
    }
}

#[async_trait]
impl Transaction for FoundationDbTransaction {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(key, false).await
    }

    async fn get_snapshot(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.read(key, true).await
    }

    async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<RangePage, KvError> {
        self.check_usable()?;
        // The client calls a range that ends before it begins an error.
        if range.is_empty() {
            return Ok(RangePage::default());
        }
        let wanted = RangeOption {
            limit: Some(options.limit.max(1)),
            // Whatever one answer of a storage server holds. Only a number of entries makes the client
            // ask for more before it answers, and entries may be large.
            mode: StreamingMode::WantAll,
            reverse: options.reverse,
            ..RangeOption::from(self.cluster.prefix.range(range))
        };
        // The iteration counts in a mode that is not used here.
        let page = self.inner.get_range(&wanted, 1, options.snapshot);
        let page = page.await.map_err(reading)?;
        let entries = page
            .iter()
            .map(|entry| {
                Ok(KeyValue {
                    key: self.cluster.prefix.strip(entry.key())?,
                    value: Bytes::copy_from_slice(entry.value()),
                })
            })
            .collect::<Result<Vec<_>, Unexpected>>()
            .map_err(KvError::failed)?;
        // Whoever reads on begins at the last entry.
        if entries.is_empty() && page.more() {
            return Err(KvError::failed(Unexpected::EmptyPage));
        }
        Ok(RangePage {
            entries,
            more: page.more(),
        })
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        let mut state = self.state();
        if value.len() > VALUE_BYTES_MAX {
            state.fail(KvError::ValueTooLarge { bytes: value.len() });
        } else if state.takes_key(key) {
            state.writes_something = true;
            self.inner.set(&self.cluster.prefix.key(key), value);
        }
    }

    fn clear(&self, key: &[u8]) {
        let mut state = self.state();
        if state.takes_key(key) {
            state.writes_something = true;
            self.inner.clear(&self.cluster.prefix.key(key));
        }
    }

    fn clear_range(&self, range: &KeyRange) {
        let mut state = self.state();
        if state.takes_range(range) {
            state.writes_something = true;
            let (begin, end) = self.cluster.prefix.range(range);
            self.inner.clear_range(&begin, &end);
        }
    }

    fn add_read_conflict_range(&self, range: &KeyRange) {
        self.add_conflict_range(range, ConflictRangeType::Read);
    }

    fn add_write_conflict_range(&self, range: &KeyRange) {
        self.add_conflict_range(range, ConflictRangeType::Write);
    }

    async fn read_version(&self) -> Result<CommitVersion, KvError> {
        self.check_usable()?;
        let version = self.inner.get_read_version().await.map_err(reading)?;
        u64::try_from(version)
            .map(CommitVersion)
            .map_err(|_| KvError::failed(Unexpected::NegativeVersion))
    }

    async fn approximate_size_bytes(&self) -> Result<usize, KvError> {
        self.check_usable()?;
        let bytes = self.inner.get_approximate_size().await.map_err(reading)?;
        Ok(usize::try_from(bytes).unwrap_or_default())
    }

    async fn commit(self: Box<Self>) -> Result<CommitVersion, KvError> {
        self.check_usable()?;
        if !self.state().writes_something {
            // The client would succeed, too, but not say which version it has read.
            return self.read_version().await;
        }
        // Asked for beforehand, since the commit takes the transaction, and looked at if it is too large.
        let size = self.inner.get_approximate_size();
        let committed = match self.inner.commit().await {
            Ok(committed) => committed,
            Err(error) if error.code() == TRANSACTION_TOO_LARGE => {
                let bytes = size.await.map_err(reading)?;
                let bytes = usize::try_from(bytes).unwrap_or_default();
                return Err(KvError::TransactionTooLarge { bytes });
            }
            Err(error) => return Err(kv_error(error.into(), Doing::Committing)),
        };
        let version = committed
            .committed_version()
            .map_err(|error| kv_error(error, Doing::Committing))?;
        u64::try_from(version)
            .map(CommitVersion)
            .map_err(|_| KvError::Failed {
                maybe_committed: true,
                source: Arc::new(Unexpected::NegativeVersion),
            })
    }
}

fn reading(error: FdbError) -> KvError {
    kv_error(error, Doing::Reading)
}
