//! Optimistic transactions over anything that can give a snapshot and apply a commit: what the
//! embedded and the simulated store have in common.

mod range_set;
mod recent_commits;
mod transaction;
mod write_buffer;

pub(crate) use range_set::RangeSet;
pub(crate) use recent_commits::RecentCommits;
pub(crate) use transaction::{CommitRequest, Committer, OptimisticTransaction, Snapshot, Visit};
pub(crate) use write_buffer::WriteBuffer;
