use std::time::Duration;

use clock::Random;

/// What goes wrong in a [`SimulatedLog`](super::SimulatedLog). Chances are from 0 to 1 and are drawn
/// for each call; those of an append exclude one another and are tried in the order given here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultChances {
    /// An append or a read takes up to this long.
    pub delay_max: Duration,
    /// A write whose result is unknown, and the repetition of a record, arrive up to this late.
    pub lateness_max: Duration,
    /// The record is refused at once, as too many wait.
    pub overloaded: f64,
    /// The record is definitely not written.
    pub failed: f64,
    /// The result is unknown and the record is, or will be, written.
    pub unknown_written: f64,
    /// The result is unknown and the record is not written.
    pub unknown_lost: f64,
    /// The record is written twice.
    pub duplicated: f64,
    /// A read fails.
    pub read_failed: f64,
    /// A read returns one entry although there may be more.
    pub read_short: f64,
}

impl FaultChances {
    /// Nothing goes wrong, and nothing takes time.
    pub const NONE: Self = Self {
        delay_max: Duration::ZERO,
        lateness_max: Duration::ZERO,
        overloaded: 0.0,
        failed: 0.0,
        unknown_written: 0.0,
        unknown_lost: 0.0,
        duplicated: 0.0,
        read_failed: 0.0,
        read_short: 0.0,
    };

    /// A swarm of faults: each class is there or not, and as likely as `random` says, so that many
    /// seeds together meet the classes alone, together, rarely and often.
    pub fn swarm(random: &Random) -> Self {
        // Up to one call in eight, for half of the classes.
        let chance = || {
            let per_thousand = u32::try_from(random.below(125)).unwrap_or(0);
            if random.chance(0.5) {
                f64::from(per_thousand) / 1_000.0
            } else {
                0.0
            }
        };
        Self {
            delay_max: Duration::from_millis(random.below(50)),
            lateness_max: Duration::from_millis(random.below(2_000)),
            overloaded: chance(),
            failed: chance(),
            unknown_written: chance(),
            unknown_lost: chance(),
            duplicated: chance(),
            read_failed: chance(),
            read_short: chance(),
        }
    }

    pub(super) fn draw_fate(&self, random: &Random) -> Fate {
        for (chance, fate) in [
            (self.overloaded, Fate::Overloaded),
            (self.failed, Fate::Failed),
            (self.unknown_written, Fate::UnknownWritten),
            (self.unknown_lost, Fate::UnknownLost),
            (self.duplicated, Fate::Duplicated),
        ] {
            if random.chance(chance) {
                return fate;
            }
        }
        Fate::Written
    }

    pub(super) fn draw_delay(&self, random: &Random) -> Duration {
        draw(random, self.delay_max)
    }

    pub(super) fn draw_lateness(&self, random: &Random) -> Duration {
        draw(random, self.lateness_max)
    }
}

/// In whole milliseconds, which is how finely tokio sleeps.
fn draw(random: &Random, max: Duration) -> Duration {
    let max_ms = u64::try_from(max.as_millis()).unwrap_or(u64::MAX - 1);
    Duration::from_millis(random.below(max_ms + 1))
}

/// What becomes of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Written,
    Duplicated,
    UnknownWritten,
    UnknownLost,
    Failed,
    Overloaded,
}

impl Fate {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Written | Self::Duplicated => "a crash of the node",
            Self::UnknownWritten | Self::UnknownLost => "a timeout",
            Self::Failed | Self::Overloaded => "a refusal",
        }
    }
}

/// What a simulated log gives as the cause of an error.
#[derive(Debug, thiserror::Error)]
#[error("a simulated fault: {0}")]
pub(super) struct SimulatedFault(pub(super) &'static str);

/// How often each fault has struck. A suite of simulations that never reached one has not tested it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Appends refused at once.
    pub overloaded: u64,
    /// Appends that definitely failed.
    pub failed: u64,
    /// Appends of unknown result that are written, at once or later.
    pub unknown_written: u64,
    /// Appends of unknown result that are not written.
    pub unknown_lost: u64,
    /// Records written twice.
    pub duplicated: u64,
    /// Records in flight that reached the log although their node crashed.
    pub crash_kept: u64,
    /// Records in flight that were lost when their node crashed.
    pub crash_lost: u64,
    /// Reads that failed.
    pub reads_failed: u64,
    /// Reads that were cut to one entry.
    pub reads_short: u64,
}

impl FaultCounts {
    pub(super) fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Written => {}
            Fate::Duplicated => self.duplicated += 1,
            Fate::UnknownWritten => self.unknown_written += 1,
            Fate::UnknownLost => self.unknown_lost += 1,
            Fate::Failed => self.failed += 1,
            Fate::Overloaded => self.overloaded += 1,
        }
    }
}
