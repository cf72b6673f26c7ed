use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};

/// Ends a process in the reverse order of its start, within one deadline.
///
/// What started last is what others reach the process through, so it ends first, and what it used is
/// still there while it does.
#[derive(Default)]
pub struct Shutdown {
    phases: Vec<Phase>,
}

struct Phase {
    name: &'static str,
    end: Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>,
}

/// How a drain went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Phases that ended by themselves, in that order.
    pub finished: Vec<&'static str>,
    /// Phases whose time ran out; what they did not finish is lost with the process, as in a crash.
    pub abandoned: Vec<&'static str>,
}

impl Shutdown {
    /// A process in which nothing has started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how a component that has just started ends. `end` must be safe to drop at any await.
    pub fn register<F>(&mut self, name: &'static str, end: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.phases.push(Phase {
            name,
            end: Box::new(move || end().boxed()),
        });
    }

    /// Ends everything, the last started first, within `time_max`.
    ///
    /// A phase gets at most half of the time that is left, so that one that hangs can't take the
    /// time of those behind it: the store is synced even when a socket would not close.
    pub async fn drain(self, time_max: Duration) -> DrainReport {
        let deadline = Instant::now() + time_max;
        let mut report = DrainReport::default();
        let mut phases = self.phases;
        while let Some(Phase { name, end }) = phases.pop() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = if phases.is_empty() { left } else { left / 2 };
            if timeout(share, end()).await.is_ok() {
                report.finished.push(name);
            } else {
                tracing::warn!(
                    phase = name,
                    share_ms = share.as_millis(),
                    "drain abandoned a phase"
                );
                report.abandoned.push(name);
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn what_started_last_ends_first() {
        let mut shutdown = Shutdown::new();
        for name in ["store", "log", "gateway"] {
            shutdown.register(name, async || ());
        }
        let report = shutdown.drain(Duration::from_secs(10)).await;
        assert_eq!(report.finished, ["gateway", "log", "store"]);
        assert!(report.abandoned.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_that_hangs_leaves_time_for_those_behind_it() {
        let mut shutdown = Shutdown::new();
        shutdown.register("store", || tokio::time::sleep(Duration::from_millis(1_200)));
        shutdown.register("merger", pending);
        shutdown.register("gateway", pending);
        let started = Instant::now();
        let report = shutdown.drain(Duration::from_secs(10)).await;
        assert_eq!(report.abandoned, ["gateway", "merger"]);
        assert_eq!(report.finished, ["store"]);
        assert_eq!(
            started.elapsed(),
            Duration::from_millis(5_000 + 2_500 + 1_200)
        );
    }
}
