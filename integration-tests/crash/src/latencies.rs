use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long after a kill a batch is begun that the kill may still delay.
const AFTERMATH: Duration = Duration::from_secs(10);

/// When batches were committed and acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Vec<Answer>>>);

#[derive(Clone, Copy)]
struct Answer {
    committed_at: Instant,
    answered_at: Instant,
}

impl Answers {
    /// Notes that something was acknowledged, so long after it was committed.
    pub(crate) fn note(&self, answered_at: Instant, latency: Duration) {
        let committed_at = answered_at.checked_sub(latency);
        let answer = Answer {
            committed_at: committed_at.unwrap_or(answered_at),
            answered_at,
        };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push(answer);
    }

    /// How long the answers took that these kills, which are in their order, may have delayed, for each
    /// name of what was killed.
    pub(crate) fn around(&self, kills: &[Kill]) -> BTreeMap<&'static str, Aftermath> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut delayed = vec![Vec::new(); kills.len()];
        for answer in answers.iter() {
            // One that waited since before two kills is the second one's.
            let may_delay = |kill: &Kill| {
                kill.at <= answer.answered_at && answer.committed_at <= kill.at + AFTERMATH
            };
            if let Some(kill) = kills.iter().rposition(may_delay) {
                delayed[kill].push(answer.answered_at - answer.committed_at);
            }
        }
        let mut by_name: BTreeMap<_, (Vec<_>, Vec<_>)> = BTreeMap::new();
        for (kill, delayed) in kills.iter().zip(delayed) {
            let (all, longest) = by_name.entry(kill.of).or_default();
            longest.push(delayed.iter().max().copied().unwrap_or_default());
            all.extend(delayed);
        }
        let aftermath = |(of, (all, longest))| {
            let (all, longest) = (Latencies::of(all), Latencies::of(longest));
            (of, Aftermath { all, longest })
        };
        by_name.into_iter().map(aftermath).collect()
    }
}

/// Something that was done to a run's processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// What it was done to.
    pub(crate) of: &'static str,
    /// When.
    pub(crate) at: Instant,
}

/// How long clients waited for their acknowledgements when something was killed.
#[derive(Clone, Debug, Default)]
pub struct Aftermath {
    /// Batches that were in flight at a kill, or begun within ten seconds after one and before the next.
    pub all: Latencies,
    /// Of each kill the batch that waited longest.
    pub longest: Latencies,
}

impl fmt::Display for Aftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, longest } = self;
        write!(
            f,
            "{} kills; {} batches in flight then or begun within {} s were acknowledged after {all}; \
             the longest of each kill after {longest}",
            longest.0.len(),
            all.0.len(),
            AFTERMATH.as_secs()
        )
    }
}

/// Times in ascending order, which show themselves as percentiles.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    /// What `percent` of them did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        let latency = self.0.get(rank.saturating_sub(1));
        latency.copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent| self.percentile(percent).as_millis();
        write!(
            f,
            "{} ms p50, {} p95, {} p99, {} max",
            at(50),
            at(95),
            at(99),
            at(100)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_that_a_kill_may_have_delayed_and_no_other() {
        let (answers, second) = (Answers::default(), Duration::from_secs(1));
        let kill = Instant::now() + 100 * second;
        let server = |at| Kill { of: "a server", at };
        answers.note(kill - second, second);
        // One was in flight at the kill, one was begun after it, and one long after it.
        answers.note(kill + 3 * second, 4 * second);
        answers.note(kill + 3 * second, 2 * second);
        answers.note(kill + 14 * second, second);
        let aftermaths = answers.around(&[server(kill)]);
        let aftermath = &aftermaths["a server"];
        assert_eq!(aftermath.all.0, [2 * second, 4 * second]);
        assert_eq!(aftermath.longest.0, [4 * second]);
        // Each batch is one kill's,
        let aftermaths = answers.around(&[server(kill), server(kill + 2 * second)]);
        let aftermath = &aftermaths["a server"];
        assert_eq!(aftermath.all.0, [2 * second, 4 * second]);
        assert_eq!(aftermath.longest.0, [Duration::ZERO, 4 * second]);
        // whatever was killed.
        let broker = Kill {
            of: "a broker",
            at: kill + 2 * second,
        };
        let aftermaths = answers.around(&[server(kill), broker]);
        assert_eq!(aftermaths["a server"].longest.0, [Duration::ZERO]);
        assert_eq!(aftermaths["a broker"].longest.0, [4 * second]);
    }

    #[test]
    fn percentiles_are_among_the_times() {
        let latencies = Latencies::of((1..=10).rev().map(Duration::from_millis).collect());
        assert_eq!(latencies.to_string(), "5 ms p50, 10 p95, 10 p99, 10 max");
        assert_eq!(Latencies::default().percentile(99), Duration::ZERO);
    }
}
