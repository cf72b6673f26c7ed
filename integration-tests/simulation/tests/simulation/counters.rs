//! The services' own metrics, read to know which rare states a run has met.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// The counters that tell of rare states, and what those are called.
const RARE: &[(&str, &str)] = &[
    (
        collaboration::metrics::APPEND_RETRIES,
        "an append was tried again",
    ),
    (
        collaboration::metrics::UPDATES_VOID,
        "an update in the log was void",
    ),
    (collaboration::metrics::EQUIVOCATIONS, "equivocation met"),
    (collaboration::metrics::SLOW_CONSUMERS, "slow consumer"),
    (
        collaboration::metrics::HARMFUL_UPDATES,
        "the dry run found harm",
    ),
    (
        merger::metrics::POSITION_MOVED,
        "a merger found the state moved",
    ),
    (merger::metrics::BATCHES_RETRIED, "a merger began again"),
    (merger::metrics::FOLDS, "a merger folded"),
    (
        merger::metrics::FOLDS_SUPERSEDED,
        "a merger's fold was superseded",
    ),
    (
        "collabedit_document_store_retries_total",
        "a transaction was tried again",
    ),
    (
        "collabedit_document_store_append_splits_total",
        "a merge was split",
    ),
];

/// Counts what is counted on this thread.
#[derive(Debug, Default)]
pub struct Counters(Mutex<BTreeMap<String, Arc<Count>>>);

#[derive(Debug, Default)]
struct Count(AtomicU64);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Counters {
    /// How often something was counted, whatever the labels.
    pub fn count(&self, name: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .get(name)
            .map_or(0, |count| count.0.load(Ordering::Relaxed))
    }

    /// Adds the counts of rare states to `met`.
    pub fn add_to(&self, met: &mut BTreeMap<&'static str, u64>) {
        for (counter, state) in RARE {
            *met.entry(state).or_default() += self.count(counter);
        }
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get(key.name()) {
            return Counter::from_arc(count.clone());
        }
        let count = Arc::new(Count::default());
        counts.insert(key.name().to_owned(), count.clone());
        Counter::from_arc(count)
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
