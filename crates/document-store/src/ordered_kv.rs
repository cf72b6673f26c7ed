//! The port below the store: an ordered key-value store with FoundationDB's semantics.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// An ordered key-value store with serializable optimistic transactions.
///
/// The rules are FoundationDB's (<https://apple.github.io/foundationdb/developer-guide.html>), so
/// that its adapter adds nothing; the others keep them because the conformance suite checks them.
/// Keys are byte strings and are ordered byte by byte.
///
/// - **Snapshot.** A transaction reads the store as it was at one version, its *read version*, fixed
///   at its first read at the latest. Every commit that returned before [`OrderedKv::begin`] was
///   called is visible in it.
/// - **Read your writes.** Within a transaction a read sees the transaction's own writes on top of
///   the snapshot. Nobody else sees them before the commit.
/// - **Serializable.** What was read becomes a *read conflict range*, what is written a *write
///   conflict range*. A commit MUST fail with [`KvError::NotCommitted`] if a transaction that
///   committed after this one's read version wrote into one of its read conflict ranges. A commit
///   that writes nothing and adds no write conflict always succeeds.
/// - **Atomic, and in order.** A commit's writes become visible together. Commit versions
///   never fall: a later commit has a larger one than all that had returned before it began, and some
///   that were under way together may have the same.
/// - **Limits.** A transaction lives [`TRANSACTION_TIME_MAX`] and holds
///   [`TRANSACTION_BYTES_MAX`], a key [`KEY_BYTES_MAX`], a value [`VALUE_BYTES_MAX`]. Writes don't
///   fail at once: a key or value over its limit fails the transaction at its next read or commit.
/// - **Unknown results.** [`KvError::CommitUnknownResult`] says that the commit may have happened,
///   may still happen, or never will. Dropping a commit's future before it ends is the same.
///
/// [`TRANSACTION_TIME_MAX`]: document_types::limits::TRANSACTION_TIME_MAX
/// [`TRANSACTION_BYTES_MAX`]: document_types::limits::TRANSACTION_BYTES_MAX
/// [`KEY_BYTES_MAX`]: document_types::limits::KEY_BYTES_MAX
/// [`VALUE_BYTES_MAX`]: document_types::limits::VALUE_BYTES_MAX
#[async_trait]
pub trait OrderedKv: Send + Sync + 'static {
    /// Starts a transaction.
    ///
    /// # Errors
    /// [`KvError`] if no read version can be had.
    async fn begin(&self) -> Result<Box<dyn Transaction>, KvError>;

    /// Makes every commit that returned before this call durable, and returns a version at or above
    /// theirs.
    ///
    /// A crash loses no commit at or below the returned version, and of the commits above it some
    /// last part: what a store holds after a crash is what it held at some earlier version. A store
    /// whose commits are durable when they return has nothing to do here.
    ///
    /// # Errors
    /// [`KvError`] if durability can't be reached; then nothing may be assumed about it.
    async fn sync(&self) -> Result<CommitVersion, KvError>;
}

/// One transaction of an [`OrderedKv`], whose documentation has the rules.
///
/// Reads and writes may be issued concurrently. Dropping a transaction abandons it.
#[async_trait]
pub trait Transaction: Send + Sync {
    /// The value of `key`. Adds `key` to the read conflict ranges.
    ///
    /// # Errors
    /// [`KvError`], which ends the transaction.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// The value of `key`, without a read conflict: a later write by someone else is ignored.
    ///
    /// # Errors
    /// [`KvError`], which ends the transaction.
    async fn get_snapshot(&self, key: &[u8]) -> Result<Option<Bytes>, KvError>;

    /// The first keys of `range`, or the last ones if `options.reverse`, with their values.
    ///
    /// A page may be shorter than `options.limit` although more keys follow, so callers MUST go by
    /// [`RangePage::more`]; [`Pages`] does. Adds what was read to the read conflict ranges, the gaps
    /// between the keys included, unless `options.snapshot`.
    ///
    /// # Errors
    /// [`KvError`], which ends the transaction.
    async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<RangePage, KvError>;

    /// Sets `key` to `value`.
    fn set(&self, key: &[u8], value: &[u8]);

    /// Removes `key`, if it is there.
    fn clear(&self, key: &[u8]);

    /// Removes all keys of `range`.
    fn clear_range(&self, range: &KeyRange);

    /// Has the commit fail if someone else writes into `range`, as if it had been read.
    fn add_read_conflict_range(&self, range: &KeyRange);

    /// Has the commit fail if someone else writes `key`, as if it had been read.
    fn add_read_conflict_key(&self, key: &[u8]) {
        self.add_read_conflict_range(&KeyRange::of_key(key));
    }

    /// Has others that read in `range` fail, as if it had been written.
    fn add_write_conflict_range(&self, range: &KeyRange);

    /// Has others that read `key` fail, as if it had been written.
    fn add_write_conflict_key(&self, key: &[u8]) {
        self.add_write_conflict_range(&KeyRange::of_key(key));
    }

    /// The version of the store that this transaction reads.
    ///
    /// # Errors
    /// [`KvError`] if no read version can be had.
    async fn read_version(&self) -> Result<CommitVersion, KvError>;

    /// About how many bytes the commit would have, by FoundationDB's measure: keys and values
    /// written, and the keys of the conflict ranges.
    ///
    /// # Errors
    /// [`KvError`], which ends the transaction.
    async fn approximate_size_bytes(&self) -> Result<usize, KvError>;

    /// Commits, and returns the version at which the writes became visible; for a transaction
    /// without writes, its read version.
    ///
    /// # Errors
    /// [`KvError`]. Only if [`KvError::maybe_committed`] may the writes have become visible.
    async fn commit(self: Box<Self>) -> Result<CommitVersion, KvError>;
}

/// A version of a store. Later commits have larger ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitVersion(pub u64);

/// The keys from `begin` (inclusive) to `end` (exclusive).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key.
    pub begin: Bytes,
    /// The key after the last.
    pub end: Bytes,
}

impl KeyRange {
    /// The keys from `begin` up to but without `end`.
    pub fn new(begin: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self {
            begin: begin.into(),
            end: end.into(),
        }
    }

    /// `key` and nothing else.
    pub fn of_key(key: &[u8]) -> Self {
        Self {
            begin: Bytes::copy_from_slice(key),
            end: key_after(key),
        }
    }

    /// The keys that extend `prefix` as tuples: everything below it that a tuple element can start
    /// with, but not `prefix` itself.
    pub fn of_tuple(prefix: &[u8]) -> Self {
        Self::new([prefix, &[0x00]].concat(), [prefix, &[0xff]].concat())
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.begin.as_ref() <= key && key < self.end.as_ref()
    }

    /// Whether no key lies in the range.
    pub fn is_empty(&self) -> bool {
        self.end <= self.begin
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.begin, self.end)
    }
}

/// The first key after `key`.
pub(crate) fn key_after(key: &[u8]) -> Bytes {
    Bytes::from([key, &[0]].concat())
}

/// How a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeOptions {
    /// The most keys of one page, at least 1.
    pub limit: usize,
    /// From the last key to the first.
    pub reverse: bool,
    /// Without read conflicts.
    pub snapshot: bool,
}

impl Default for RangeOptions {
    fn default() -> Self {
        Self {
            limit: 1_000,
            reverse: false,
            snapshot: false,
        }
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// A part of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangePage {
    /// Keys with their values, in the order that was asked for.
    pub entries: Vec<KeyValue>,
    /// Whether there may be more in the range.
    pub more: bool,
}

/// Reads a range page by page.
pub struct Pages<'t> {
    transaction: &'t dyn Transaction,
    rest: Option<KeyRange>,
    options: RangeOptions,
}

impl<'t> Pages<'t> {
    /// The pages of `range`.
    pub fn new(transaction: &'t dyn Transaction, range: KeyRange, options: RangeOptions) -> Self {
        Self {
            transaction,
            rest: (!range.is_empty()).then_some(range),
            options,
        }
    }

    /// The next page's entries, `None` after the last. A page may be empty.
    ///
    /// # Errors
    /// [`KvError`], which ends the transaction.
    pub async fn next(&mut self) -> Result<Option<Vec<KeyValue>>, KvError> {
        let Some(range) = &mut self.rest else {
            return Ok(None);
        };
        let page = self.transaction.get_range(range, self.options).await?;
        match page.entries.last() {
            Some(last) if page.more && self.options.reverse => range.end = last.key.clone(),
            Some(last) if page.more => range.begin = key_after(&last.key),
            _ => self.rest = None,
        }
        Ok(Some(page.entries))
    }
}

/// Why a store refused or failed. Codes are FoundationDB's
/// (<https://apple.github.io/foundationdb/api-error-codes.html>).
#[derive(Clone, Debug, thiserror::Error)]
pub enum KvError {
    /// 1020 `not_committed`: another transaction wrote what this one had read. Nothing was written.
    #[error("the transaction conflicts with another one and was not committed")]
    NotCommitted,
    /// 1021 `commit_unknown_result`: the commit may or may not have happened.
    #[error("whether the transaction was committed is not known")]
    CommitUnknownResult,
    /// 1007 `transaction_too_old`: the transaction is older than a transaction may get.
    #[error("the transaction is too old to read or commit")]
    TransactionTooOld,
    /// 1009 `future_version`: the store has not yet reached the read version.
    #[error("the store has not reached the transaction's read version yet")]
    FutureVersion,
    /// 1037 `process_behind`, 1042, 1051, 1213 and the like: the store asks for patience.
    #[error("the store is overloaded")]
    Overloaded,
    /// 2101 `transaction_too_large`.
    #[error("the transaction has {bytes} bytes, more than a transaction may have")]
    TransactionTooLarge {
        /// The transaction's size.
        bytes: usize,
    },
    /// 2102 `key_too_large`.
    #[error("a key has {bytes} bytes, more than a key may have")]
    KeyTooLarge {
        /// The key's size.
        bytes: usize,
    },
    /// 2103 `value_too_large`.
    #[error("a value has {bytes} bytes, more than a value may have")]
    ValueTooLarge {
        /// The value's size.
        bytes: usize,
    },
    /// The store was closed, or can't be reached.
    #[error("the store is closed or out of reach")]
    Closed,
    /// A newer program wrote the store.
    #[error("the store has format {found}, and this program reads up to {known}: upgrade it first")]
    NewerFormat {
        /// The store's format.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// Any other failure of what is below: a disk, a library, a code that has no meaning here.
    #[error("the store failed")]
    Failed {
        /// Whether the transaction's writes may have become visible all the same.
        maybe_committed: bool,
        /// What failed.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl KvError {
    /// A failure of what is below, before anything was committed.
    pub(crate) fn failed(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Failed {
            maybe_committed: false,
            source: Arc::new(source),
        }
    }

    /// Whether the same transaction, begun anew, may succeed. After a possible commit that is safe
    /// only for transactions that see in what they read that they have already happened.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::NotCommitted
                | Self::CommitUnknownResult
                | Self::TransactionTooOld
                | Self::FutureVersion
                | Self::Overloaded
        )
    }

    /// Whether the transaction's writes may have become visible.
    pub fn maybe_committed(&self) -> bool {
        matches!(
            self,
            Self::CommitUnknownResult
                | Self::Failed {
                    maybe_committed: true,
                    ..
                }
        )
    }

    /// The error's name in metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotCommitted => "not_committed",
            Self::CommitUnknownResult => "commit_unknown_result",
            Self::TransactionTooOld => "transaction_too_old",
            Self::FutureVersion => "future_version",
            Self::Overloaded => "overloaded",
            Self::TransactionTooLarge { .. } => "transaction_too_large",
            Self::KeyTooLarge { .. } => "key_too_large",
            Self::ValueTooLarge { .. } => "value_too_large",
            Self::Closed => "closed",
            Self::NewerFormat { .. } => "newer_format",
            Self::Failed { .. } => "failed",
        }
    }
}
