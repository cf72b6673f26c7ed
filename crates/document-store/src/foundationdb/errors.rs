use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use document_types::limits::FOUNDATIONDB_PREFIX_BYTES_MAX;
use foundationdb::FdbError;

use crate::ordered_kv::KvError;

/// Why a store in FoundationDB does not open.
#[derive(Debug, thiserror::Error)]
pub enum FoundationDbOpenError {
    /// The client was started in this process before.
    #[error("FoundationDB's client was started in this process before, which is possible once")]
    StartedBefore,
    /// The cluster file's path is none that the client takes.
    #[error("the client takes no cluster file at {0:?}, as that is not UTF-8")]
    ClusterFilePath(PathBuf),
    /// The cluster file can't be read.
    #[error(
        "the cluster file {path:?} can't be read; copy it from a machine of the FoundationDB cluster"
    )]
    ClusterFile {
        /// The path asked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The prefix is none that a store may have.
    #[error(
        "the store's prefix {0:?} does not have 1 to {FOUNDATIONDB_PREFIX_BYTES_MAX} bytes of which \
         the first is not 0xff"
    )]
    InvalidPrefix(Bytes),
    /// The client library refuses.
    #[error("FoundationDB's client library refuses")]
    Client(#[source] FoundationDbError),
}

impl From<FdbError> for FoundationDbOpenError {
    fn from(error: FdbError) -> Self {
        Self::Client(error.into())
    }
}

/// An error of FoundationDB's client, by its code
/// (<https://apple.github.io/foundationdb/api-error-codes.html>).
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("FoundationDB error {}: {}", .0.code(), .0.message())]
pub struct FoundationDbError(FdbError);

impl FoundationDbError {
    /// FoundationDB's number of the error.
    pub fn code(self) -> i32 {
        self.0.code()
    }
}

impl From<FdbError> for FoundationDbError {
    fn from(error: FdbError) -> Self {
        Self(error)
    }
}

/// An answer of the client that its documentation rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unexpected {
    #[error("FoundationDB returned a key from outside of the range that was read")]
    ForeignKey,
    #[error("FoundationDB returned an empty page and says that there is more")]
    EmptyPage,
    #[error("FoundationDB returned a version below zero")]
    NegativeVersion,
}

/// What the client was asked for when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Anything that can't have an effect.
    Reading,
    /// A commit of writes.
    Committing,
}

/// What an error of the client is to the port.
///
/// Sizes are checked before the client sees them, so that the errors about them can say how much it
/// was; [`TRANSACTION_TOO_LARGE`] is the caller's to tell.
pub(super) fn kv_error(error: FdbError, doing: Doing) -> KvError {
    match (error.code(), doing) {
        (1020, _) => KvError::NotCommitted,
        // commit_unknown_result, and cluster_version_changed: the client has connected anew.
        (1021 | 1039, Doing::Committing) => KvError::CommitUnknownResult,
        // transaction_timed_out: the request may be on its way, and may be carried out later.
        (1031, Doing::Committing) => KvError::CommitUnknownResult,
        // The timeout is longer than a transaction lives, so what it ends is too old in any case.
        (1007 | 1031, _) => KvError::TransactionTooOld,
        (1009, _) => KvError::FutureVersion,
        // process_behind, database_locked, cluster_version_changed, commit_proxy_memory_limit_exceeded,
        // batch_transaction_throttled, grv_proxy_memory_limit_exceeded, tag_throttled and
        // proxy_tag_throttled: with those above, all that the client calls retryable.
        (1037 | 1038 | 1039 | 1042 | 1051 | 1078 | 1213 | 1223, _) => KvError::Overloaded,
        (code, doing) => KvError::Failed {
            // Codes from 2000 to 2999 say that the call was wrong, so that nothing was sent. Of others
            // the documentation does not say what became of the commit.
            maybe_committed: doing == Doing::Committing && !(2000..3000).contains(&code),
            source: Arc::new(FoundationDbError(error)),
        },
    }
}

/// `transaction_too_large`.
pub(super) const TRANSACTION_TOO_LARGE: i32 = 2101;
