//! Bugs that are planted in the ports, one at a time, to see whether the simulation finds them. One
//! that it does not find is a hole in the checks or in the plans.

mod log;
mod store;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use clock::{CeilingError, CeilingStore};
use document_types::{DocumentId, HlcTimestamp};
use dry_run::{
    ClearRequest, Clearing, DryRun, DryRunError, DryRunRequest, InProcessDryRun, Tried, Verdict,
};

use crate::plan::Plan;
use crate::ports::Ports;
use crate::run::run;
pub use log::BuggyLog;
pub use store::BuggyKv;

/// Seeds within which each bug has to be found.
const SEEDS_MAX: u64 = 2_000;
/// Threads that share the seeds.
const THREADS: usize = 2;

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A node sees its own records before they are durable, and so acknowledges before the append.
    ReadsWhatIsNotDurable,
    /// An append of unknown result counts as written.
    UnknownAppendIsWritten,
    /// A record whose append was said to have failed comes all the same, behind the next one.
    FailedAppendComesLate,
    /// Each node reads its own records before those of the others, so that of two conflicting spans
    /// through two gates both count.
    OwnRecordsFirst,
    /// A merger takes the second half of a batch for the first.
    HalvesOutOfOrder,
    /// The applied position is committed before what it stands for.
    AppliedBeforeTheRest,
    /// A commit of unknown result counts as done.
    UnknownCommitIsDone,
    /// The merged position is one ahead of what is merged.
    MergedRunsAhead,
    /// A transaction that read a document's head is committed although the head has changed.
    HeadDoesNotConflict,
    /// What waits for its dependencies is not stored.
    PendingIsNotStored,
    /// A fold sets its snapshot although another fold was faster.
    FoldsAtOnce,
    /// A node that starts again goes on under its first epoch.
    EpochIsNotNew,
    /// The ceiling of a node's stamps is not kept.
    CeilingIsNotKept,
    /// Nothing is tried before it is appended.
    NothingIsTried,
}

/// A dry run that finds no harm in anything.
pub struct NoDryRun;

#[async_trait]
impl DryRun for NoDryRun {
    async fn try_updates(&self, request: DryRunRequest) -> Result<Tried, DryRunError> {
        Ok(Tried {
            verdicts: vec![Verdict::Harmless; request.candidates.len()],
            ..Tried::default()
        })
    }

    async fn clear(&self, request: ClearRequest) -> Result<Vec<Clearing>, DryRunError> {
        InProcessDryRun::default().clear(request).await
    }

    async fn forget(&self, _: &DocumentId) {}
}

/// A ceiling that forgets.
pub struct NoCeiling;

#[async_trait]
impl CeilingStore for NoCeiling {
    async fn raise(&self, _: HlcTimestamp) -> Result<(), CeilingError> {
        Ok(())
    }
}

/// The first seed that finds the bug, and what it found.
fn find(bug: Bug) -> Option<(u64, String)> {
    let (next, found) = (AtomicU64::new(1), AtomicBool::new(false));
    let first: Mutex<Option<(u64, String)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !found.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS_MAX {
                        return;
                    }
                    let outcome = run(&Plan::draw(seed), Ports { bug: Some(bug) });
                    if let Some(violation) = outcome.violations.into_iter().next() {
                        found.store(true, Ordering::Relaxed);
                        *first.lock().expect("no thread panics with it") = Some((seed, violation));
                    }
                }
            });
        }
    });
    first.into_inner().expect("no thread panics with it")
}

macro_rules! bugs_are_found {
    ($($test:ident: $bug:ident,)*) => {
        $(
            #[test]
            fn $test() {
                let found = find(Bug::$bug);
                let (seed, violation) = found.unwrap_or_else(|| {
                    panic!("{:?} is not found with {SEEDS_MAX} seeds", Bug::$bug)
                });
                let violation: String = violation.chars().take(300).collect();
                println!("seed {seed} finds {:?}: {violation}", Bug::$bug);
            }
        )*
    };
}

bugs_are_found! {
    an_ack_before_the_append_is_found: ReadsWhatIsNotDurable,
    an_unknown_append_taken_for_written_is_found: UnknownAppendIsWritten,
    a_second_record_in_flight_after_a_failed_one_is_found: FailedAppendComesLate,
    conflicting_spans_through_two_gates_are_found: OwnRecordsFirst,
    halves_of_a_batch_out_of_order_are_found: HalvesOutOfOrder,
    an_applied_offset_before_the_rest_is_found: AppliedBeforeTheRest,
    an_unknown_commit_taken_for_done_is_found: UnknownCommitIsDone,
    a_merged_offset_ahead_is_found: MergedRunsAhead,
    a_head_that_does_not_conflict_is_found: HeadDoesNotConflict,
    pending_that_is_not_stored_is_found: PendingIsNotStored,
    two_folds_at_once_are_found: FoldsAtOnce,
    an_epoch_used_twice_is_found: EpochIsNotNew,
    a_forgotten_ceiling_is_found: CeilingIsNotKept,
    a_gate_that_tries_nothing_is_found: NothingIsTried,
}
