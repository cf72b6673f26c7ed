use std::time::Duration;

use document_types::limits::TRANSACTION_BYTES_MAX;

/// How often a simulated store fails, each as a probability, and how slow it is.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// A commit that conflicts with nothing is refused as a conflict.
    pub conflict: f64,
    /// A commit happens, and its result is unknown.
    pub unknown_committed: f64,
    /// A commit does not happen, and its result is unknown.
    pub unknown_lost: f64,
    /// A read fails because the transaction is too old.
    pub too_old: f64,
    /// A read fails because the store is behind.
    pub future_version: f64,
    /// A range is answered with half of what was asked for.
    pub short_page: f64,
    /// Larger transactions are refused.
    pub transaction_bytes_max: usize,
    /// Every step takes up to this long.
    pub delay_max: Duration,
    /// The store can't be reached.
    pub unreachable: bool,
}

impl Faults {
    /// A store that does not fail and takes no time.
    pub const NONE: Self = Self {
        conflict: 0.0,
        unknown_committed: 0.0,
        unknown_lost: 0.0,
        too_old: 0.0,
        future_version: 0.0,
        short_page: 0.0,
        transaction_bytes_max: TRANSACTION_BYTES_MAX,
        delay_max: Duration::ZERO,
        unreachable: false,
    };

    /// A store that fails in every way that heals, each with probability `chance`.
    pub fn stormy(chance: f64) -> Self {
        Self {
            conflict: chance,
            unknown_committed: chance,
            unknown_lost: chance,
            too_old: chance / 4.0,
            future_version: chance / 4.0,
            short_page: chance,
            delay_max: Duration::from_millis(20),
            ..Self::NONE
        }
    }
}

/// How often each fault has been injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Each counts the fault of its name in `Faults`.
pub struct FaultCounts {
    pub conflict: u64,
    pub unknown_committed: u64,
    pub unknown_lost: u64,
    pub too_old: u64,
    pub too_large: u64,
    pub future_version: u64,
    pub short_page: u64,
    pub delays: u64,
}
