use async_trait::async_trait;
use bytes::Bytes;
use document_types::{DocumentId, LogOffset, LogPartition};
use futures::future::BoxFuture;

use crate::errors::{AppendError, ReadError, TrimError};

/// The result of an append, at the offset that the record got. Dropping it withdraws nothing.
pub type AppendFuture = BoxFuture<'static, Result<LogOffset, AppendError>>;

/// The operation log: a fixed number of partitions, each an ordered, durable stream of records.
///
/// ```text
///                trim point                      tail
///                    │                             │
///   ░░░░░┬░░░░░┬─────┬─────┬─────┬─────┬─────┬─────┬─ ─ ─ ┬─ ─ ─ ┐
///   ░ 3  │  4  │  5  │  6  │  7  │  8  │  9  │ 10  │
///   ░░░░░┴░░░░░┴─────┴─────┴─────┴─────┴─────┴─────┴─ ─ ─ ┴─ ─ ─ ┘
///      dropped          durable: what reads return    enqueued, not durable
/// ```
///
/// - The **tail** is the first unwritten offset: one after the last durable entry, 0 in an empty
///   partition.
/// - The **trim point** is the first offset that can still be read, unless it is the tail: then there
///   is nothing to read. `trim point ≤ tail` always holds, and neither ever moves back.
///
/// # Order
/// - Offsets of a partition are consecutive, beginning at 0. The log gives them, not the caller.
/// - Records that are appended through one handle to one partition get ascending offsets in the order
///   of the [`append`](Self::append) calls, whether their results are awaited or not. This holds for
///   records whose result is [`AppendError::Unknown`] as well, if they are written at all.
/// - Between handles and between partitions there is no order.
///
/// # Durability
/// - When an append resolves to an offset, its entry is durable: it survives the end of the process
///   and of the machine, and every later read of that offset returns the same bytes, until trimmed.
/// - Reads return durable entries only. What one reader has seen no crash takes back, so a reader may
///   act upon it, acknowledge it and hand it on.
///
/// # Uncertainty
/// An append that resolves to [`AppendError::Unknown`] may have been written, may never be, or may be
/// written later, yet before whatever is appended through the same handle to the same partition after
/// the error. The caller MUST NOT take it for refused. It settles the matter by appending the same
/// bytes again, so that the record is there once or twice, or by reading up to the tail.
///
/// # Duplicates
/// The log does not recognise a record that it has: two appends of the same bytes are two entries. An
/// adapter SHOULD NOT write one append twice, but MAY, since transports repeat themselves; the
/// repetition may come after entries that follow the first. Readers MUST expect duplicates and let
/// them fall away by what stands in the record.
///
/// # Cancel safety
/// Every method here may be dropped at any await. An append stays enqueued, a trim may take place or
/// not, and a read loses nothing, as the log remembers no reader's position.
///
/// # Edges
/// - A partition that is not below [`partition_count`](Self::partition_count) is refused as such by
///   every method.
/// - Empty records are allowed. Records of more than
///   [`LOG_RECORD_BYTES_MAX`](document_types::limits::LOG_RECORD_BYTES_MAX) are refused.
/// - The log doesn't check that the partition is the document's: callers compute it with
///   [`document_types::partition_of`].
#[async_trait]
pub trait OpLog: Send + Sync + 'static {
    /// What tells this log from all others, for its life. Offsets mean something in one log only, so
    /// whoever remembers one remembers the id as well, and refuses another log. It has 1 to
    /// [`LOG_ID_BYTES_MAX`](document_types::limits::LOG_ID_BYTES_MAX) bytes.
    fn id(&self) -> &str;

    /// How many partitions the log has. It never changes in a log's life, since a document's
    /// partition is computed from it.
    fn partition_count(&self) -> u32;

    /// Appends `record` to `partition` under the name of `document`.
    ///
    /// The record is enqueued by the call itself, not by the first poll, so the order of calls is the
    /// order of records. The call does not block. The future only waits for the result.
    ///
    /// What is enqueued is bounded: a log that can't keep up answers [`AppendError::Overloaded`] at
    /// once, and the caller appends again after a pause. Callers SHOULD bound what they have in
    /// flight themselves, so that it does not come to that.
    ///
    /// # Errors
    /// The future resolves to an [`AppendError`]. Every variant but [`AppendError::Unknown`] means
    /// that the record is not in the log and never will be.
    fn append(&self, partition: LogPartition, document: &DocumentId, record: Bytes)
    -> AppendFuture;

    /// The entries from `from` on, in the order of their offsets and without gaps, up to `limit`.
    ///
    /// At the tail it waits until there is at least one entry, so it never returns none. It MAY
    /// return fewer than there are; the next read begins after the last one.
    ///
    /// # Errors
    /// - [`ReadError::Trimmed`] if `from` is below the trim point. What was there can't be had from
    ///   the log any more.
    /// - [`ReadError::BeyondTail`] if `from` is above the tail. A reader that has seen an entry never
    ///   gets this for the next one, so whoever gets it has its position from another log, or this
    ///   log has lost entries: it MUST NOT wait for the log to grow there.
    /// - [`ReadError::Unavailable`], [`ReadError::Closed`].
    async fn read(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError>;

    /// The tail: the first unwritten offset.
    ///
    /// Every entry whose append resolved before the call is below it.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`], [`ReadError::Closed`].
    async fn tail(&self, partition: LogPartition) -> Result<LogOffset, ReadError>;

    /// Gives up the entries below `end`. Once it resolves, the trim point is at least `end`, for good,
    /// and the log may free what it held below, when it finds it convenient.
    ///
    /// Trimming at or below the trim point does nothing and succeeds, so it may be repeated.
    ///
    /// # Errors
    /// - [`TrimError::BeyondTail`] if `end` is above the tail: nobody can have used up what is not
    ///   written. Nothing is trimmed.
    /// - [`TrimError::Unavailable`], [`TrimError::Closed`]: it may have taken place or not; repeat
    ///   it.
    async fn trim(&self, partition: LogPartition, end: LogOffset) -> Result<(), TrimError>;

    /// The trim point: the first offset that has not been given up.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`], [`ReadError::Closed`].
    async fn trim_point(&self, partition: LogPartition) -> Result<LogOffset, ReadError>;
}

/// How much one read may return. The first entry is returned whatever its size, since a reader that
/// can't get past it would stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Entries at most; 0 counts as 1.
    pub entries_max: usize,
    /// Bytes of records at most, but for the first.
    pub bytes_max: usize,
}

impl ReadLimit {
    /// Whether a read that has `entries_count` entries of `bytes` in all may take one more of
    /// `next_bytes`.
    pub(crate) fn admits(self, entries_count: usize, bytes: usize, next_bytes: usize) -> bool {
        entries_count == 0
            || (entries_count < self.entries_max
                && bytes.saturating_add(next_bytes) <= self.bytes_max)
    }

    /// What one read gets of entries that are in memory.
    pub(crate) fn first_of<'a>(self, entries: impl Iterator<Item = &'a LogEntry>) -> Vec<LogEntry> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in entries {
            if !self.admits(found.len(), bytes, entry.record.len()) {
                break;
            }
            bytes += entry.record.len();
            found.push(entry.clone());
        }
        found
    }
}

impl Default for ReadLimit {
    /// 1,024 entries or 4 MiB.
    fn default() -> Self {
        Self {
            entries_max: 1_024,
            bytes_max: 4 * 1024 * 1024,
        }
    }
}

/// One durable entry of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place in the partition.
    pub offset: LogOffset,
    /// The document under whose name it was appended.
    pub document: DocumentId,
    /// The bytes that were appended.
    pub record: Bytes,
}
