//! Who sent harmful updates lately.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use document_types::Principal;
use document_types::limits::{HARMFUL_UPDATES_MAX, SUSPENDED_PRINCIPALS_MAX, SUSPENSION};
use tokio::time::Instant;

/// Counts harmful updates by principal. [`HARMFUL_UPDATES_MAX`] within [`SUSPENSION`] suspend the
/// principal until the first of them is that old.
#[derive(Debug, Default)]
pub(crate) struct Suspensions(Mutex<BTreeMap<Principal, VecDeque<Instant>>>);

impl Suspensions {
    /// Notes a harmful update.
    pub(crate) fn note(&self, principal: &Principal, now: Instant) {
        let mut harmful = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        harmful.retain(|_, times| {
            times
                .back()
                .is_some_and(|last| now.duration_since(*last) < SUSPENSION)
        });
        if harmful.len() >= SUSPENDED_PRINCIPALS_MAX && !harmful.contains_key(principal) {
            // Whoever floods this table with principals must not push a suspended one out of it;
            // each of theirs loses its session all the same.
            return;
        }
        let times = harmful.entry(principal.clone()).or_default();
        times.push_back(now);
        if times.len() > HARMFUL_UPDATES_MAX {
            times.pop_front();
        }
    }

    /// Whether the principal is suspended.
    pub(crate) fn is_suspended(&self, principal: &Principal, now: Instant) -> bool {
        let harmful = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        harmful.get(principal).is_some_and(|times| {
            times
                .iter()
                .filter(|time| now.duration_since(**time) < SUSPENSION)
                .count()
                >= HARMFUL_UPDATES_MAX
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use document_types::{DeviceId, UserId};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn three_harmful_updates_within_an_hour_suspend_for_that_hour() {
        let principal = Principal {
            user: UserId::parse("mallory").unwrap(),
            device: DeviceId::parse("dev_1").unwrap(),
        };
        let (suspensions, start) = (Suspensions::default(), Instant::now());
        let minute = Duration::from_secs(60);
        suspensions.note(&principal, start);
        suspensions.note(&principal, start + minute);
        assert!(!suspensions.is_suspended(&principal, start + minute));
        suspensions.note(&principal, start + 2 * minute);
        assert!(suspensions.is_suspended(&principal, start + 59 * minute));
        assert!(!suspensions.is_suspended(&principal, start + 60 * minute));
    }
}
