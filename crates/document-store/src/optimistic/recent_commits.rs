use std::collections::VecDeque;

use document_types::limits::{RECENT_COMMITS_BYTES_MAX, TRANSACTION_TIME_MAX};
use tokio::time::Instant;

use super::RangeSet;
use crate::ordered_kv::{CommitVersion, KvError};

/// What the latest commits wrote: enough to tell whether a transaction conflicts with one of them.
///
/// It reaches back [`TRANSACTION_TIME_MAX`] and holds [`RECENT_COMMITS_BYTES_MAX`] of keys; a
/// transaction that read before that is too old.
#[derive(Debug)]
pub(crate) struct RecentCommits {
    commits: VecDeque<Commit>,
    key_bytes: usize,
    /// The commits above this version are all here.
    complete_above: CommitVersion,
}

#[derive(Debug)]
struct Commit {
    version: CommitVersion,
    at: Instant,
    writes: RangeSet,
    key_bytes: usize,
}

impl RecentCommits {
    /// No commits, in a store that stands at `version`.
    pub fn new(version: CommitVersion) -> Self {
        Self {
            commits: VecDeque::new(),
            key_bytes: 0,
            complete_above: version,
        }
    }

    /// The version above which every commit is here. Transactions that read below it are too old.
    pub fn complete_above(&self) -> CommitVersion {
        self.complete_above
    }

    /// Whether a transaction that read `reads` at `read_version` may commit now.
    pub fn check(&self, read_version: CommitVersion, reads: &RangeSet) -> Result<(), KvError> {
        if read_version < self.complete_above {
            return Err(KvError::TransactionTooOld);
        }
        let mut later = self
            .commits
            .iter()
            .rev()
            .take_while(|commit| commit.version > read_version);
        if later.any(|commit| commit.writes.intersects(reads)) {
            return Err(KvError::NotCommitted);
        }
        Ok(())
    }

    /// Adds a commit that wrote `writes`, and forgets the ones that are too old.
    pub fn record(&mut self, version: CommitVersion, at: Instant, writes: RangeSet) {
        let key_bytes = writes.key_bytes();
        self.key_bytes += key_bytes;
        self.commits.push_back(Commit {
            version,
            at,
            writes,
            key_bytes,
        });
        while let Some(oldest) = self.commits.front() {
            let fits = self.key_bytes <= RECENT_COMMITS_BYTES_MAX;
            if fits && at.saturating_duration_since(oldest.at) <= TRANSACTION_TIME_MAX {
                break;
            }
            self.key_bytes -= oldest.key_bytes;
            self.complete_above = oldest.version;
            self.commits.pop_front();
        }
    }
}
