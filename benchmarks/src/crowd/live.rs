use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use super::report::{mebibytes, share_of_a_core};
use super::server_watch::ServerSample;
use super::tally::{Minute, Tally};

/// What is shown while a crowd plays: a line on the standard error that is written over every second, or
/// a line a second where that is no terminal.
pub(super) struct Live {
    is_terminal: bool,
    acknowledged: u64,
    at: Duration,
}

impl Live {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: stderr().is_terminal(),
            acknowledged: 0,
            at: Duration::ZERO,
        }
    }

    /// Says something once.
    pub(super) fn say(&mut self, text: &str) {
        let erase = if self.is_terminal { "\r\x1b[K" } else { "" };
        // Nobody may be reading.
        let _ = writeln!(stderr(), "{erase}{text}");
    }

    /// Shows how it goes, `at` after the beginning.
    pub(super) fn show(&mut self, at: Duration, tally: &Tally, samples: &[ServerSample]) {
        let (offered, acknowledged, latencies) = {
            let minutes = tally.minutes();
            let sum = |count: fn(&Minute) -> u64| minutes.iter().map(count).sum::<u64>();
            let latencies = minutes.last().map_or_else(String::new, |minute| {
                format!(
                    ", ack p95 {:.0} ms, seen p95 {:.0} ms",
                    minute.ack.quantile_ms(0.95),
                    minute.seen.quantile_ms(0.95)
                )
            });
            (
                sum(|minute| minute.offered),
                sum(|minute| minute.acknowledged),
                latencies,
            )
        };
        let passed = at.saturating_sub(self.at).as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // Far below 2^52.
        let rate = (acknowledged - self.acknowledged) as f64 / passed.max(0.001);
        let server = match samples {
            [.., before, now] => describe(before, now),
            _ => String::new(),
        };
        (self.acknowledged, self.at) = (acknowledged, at);
        let line = format!(
            "{:>5.0} s  {offered} offered, {acknowledged} acknowledged, {rate:.0}/s{latencies}{server}",
            at.as_secs_f64()
        );
        let (before, after) = if self.is_terminal {
            ("\r\x1b[K", "")
        } else {
            ("", "\n")
        };
        let _ = write!(stderr(), "{before}{line}{after}");
        let _ = stderr().flush();
    }

    /// Leaves the last line standing.
    pub(super) fn end(&mut self) {
        if self.is_terminal {
            let _ = writeln!(stderr());
        }
    }
}

fn describe(before: &ServerSample, now: &ServerSample) -> String {
    let (Some(earlier), Some(usage)) = (before.usage, now.usage) else {
        return String::new();
    };
    let spent = usage.processor_time.saturating_sub(earlier.processor_time);
    let share = share_of_a_core(spent, now.at.saturating_sub(before.at));
    format!(
        "; server {share:.0} % of a core, {:.0} MiB",
        mebibytes(usage.resident_bytes)
    )
}
