//! The ports as the services get them: as they are, or with a bug planted in them.

use std::sync::Arc;

use clock::CeilingStore;
use document_store::{FoldInput, NodeCeiling, OrderedKv, SimulatedKv, SnapshotId};
use document_types::{NodeEpoch, NodeId};
use dry_run::DryRun;
use op_log::{OpLog, SimulatedOpLog};

use crate::planted::{self, Bug};
use crate::trial::FaultyDryRun;

/// How handles are handed to the services.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// What is wrong with them.
    pub bug: Option<Bug>,
}

impl Ports {
    /// A node's log.
    pub fn log(self, log: Arc<SimulatedOpLog>, node: NodeId) -> Arc<dyn OpLog> {
        match self.bug {
            Some(
                bug @ (Bug::ReadsWhatIsNotDurable
                | Bug::UnknownAppendIsWritten
                | Bug::FailedAppendComesLate
                | Bug::OwnRecordsFirst),
            ) => Arc::new(planted::BuggyLog::new(log, bug, Some(node))),
            _ => log,
        }
    }

    /// A merger's log.
    pub fn merger_log(self, log: Arc<SimulatedOpLog>) -> Arc<dyn OpLog> {
        match self.bug {
            Some(bug @ Bug::HalvesOutOfOrder) => Arc::new(planted::BuggyLog::new(log, bug, None)),
            _ => log,
        }
    }

    /// A node's or a merger's store.
    pub fn kv(self, kv: SimulatedKv) -> Arc<dyn OrderedKv> {
        match self.bug {
            Some(
                bug @ (Bug::AppliedBeforeTheRest
                | Bug::UnknownCommitIsDone
                | Bug::MergedRunsAhead
                | Bug::HeadDoesNotConflict
                | Bug::PendingIsNotStored),
            ) => Arc::new(planted::BuggyKv { inner: kv, bug }),
            _ => Arc::new(kv),
        }
    }

    /// Where a node tries updates.
    pub fn dry_run(self, dry_run: FaultyDryRun) -> Arc<dyn DryRun> {
        match self.bug {
            Some(Bug::NothingIsTried) => Arc::new(planted::NoDryRun),
            _ => Arc::new(dry_run),
        }
    }

    /// The epoch that a node gives its records.
    pub fn epoch(self, taken: NodeEpoch) -> NodeEpoch {
        match self.bug {
            Some(Bug::EpochIsNotNew) => NodeEpoch(1),
            _ => taken,
        }
    }

    /// Where a node keeps its ceiling.
    pub fn ceilings(self, ceiling: NodeCeiling) -> Arc<dyn CeilingStore> {
        match self.bug {
            Some(Bug::CeilingIsNotKept) => Arc::new(planted::NoCeiling),
            _ => Arc::new(ceiling),
        }
    }

    /// What a fold says it began with, when it ends while `newest` is the document's snapshot.
    pub fn began_with(self, input: FoldInput, newest: Option<SnapshotId>) -> FoldInput {
        match self.bug {
            Some(Bug::FoldsAtOnce) => FoldInput {
                started_from: newest,
                ..input
            },
            _ => input,
        }
    }
}
