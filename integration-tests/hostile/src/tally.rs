use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Answers between two lines of progress.
const PROGRESS_STEP: u64 = 2_000;

/// What became of the mutants. Clones count together.
#[derive(Clone, Debug)]
pub struct Tally {
    began: Instant,
    counts: Arc<Mutex<Counts>>,
}

/// The numbers of a [`Tally`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Mutants that were answered.
    answered: u64,
    /// Answers by what they said.
    outcomes: BTreeMap<String, u64>,
    /// Mutants whose answer was lost because an earlier one cost the session.
    unanswered: u64,
    /// Sessions that were opened, each by a principal of its own.
    sessions: u64,
    /// Sessions that were lost, by what was said.
    lost: BTreeMap<String, u64>,
    slowest: Duration,
}

impl Tally {
    /// Nothing so far.
    pub fn new(began: Instant) -> Self {
        Self {
            began,
            counts: Arc::default(),
        }
    }

    /// An answer came, `waited` after its mutant was sent.
    pub(crate) fn answered(&self, outcome: &str, waited: Duration) {
        let told = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.answered += 1;
            counts.slowest = counts.slowest.max(waited);
            *counts.outcomes.entry(outcome.to_owned()).or_default() += 1;
            counts.answered.is_multiple_of(PROGRESS_STEP)
        };
        if told {
            println!("{}", self.line());
        }
    }

    /// A session was opened.
    pub(crate) fn opened(&self) {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sessions += 1;
    }

    /// A session was lost, and with it `unanswered` answers.
    pub(crate) fn lost(&self, reason: &str, unanswered: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.unanswered += unanswered as u64;
        *counts.lost.entry(reason.to_owned()).or_default() += 1;
    }

    /// Mutants that were answered.
    pub fn answered_count(&self) -> u64 {
        self.counts().answered
    }

    /// Answers whose outcome begins with `outcome`.
    pub fn count_of(&self, outcome: &str) -> u64 {
        let counts = self.counts();
        let matching = counts
            .outcomes
            .iter()
            .filter(|(name, _)| name.starts_with(outcome));
        matching.map(|(_, count)| count).sum()
    }

    /// One line of progress.
    pub fn line(&self) -> String {
        let counts = self.counts();
        format!(
            "{:7.1?} s: {} answered ({} acked, {} refused), {} unanswered, {} sessions",
            self.began.elapsed().as_secs_f64(),
            counts.answered,
            self.count_of("acked"),
            self.count_of("refused"),
            counts.unanswered,
            counts.sessions
        )
    }

    /// All of it, a line each.
    pub fn report(&self) -> String {
        let counts = self.counts();
        let mut lines = vec![self.line()];
        for (outcome, count) in &counts.outcomes {
            lines.push(format!("  {count:8} {outcome}"));
        }
        for (reason, count) in &counts.lost {
            lines.push(format!("  {count:8} sessions lost: {reason}"));
        }
        lines.push(format!("  slowest answer {:?}", counts.slowest));
        lines.join("\n")
    }

    fn counts(&self) -> Counts {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
