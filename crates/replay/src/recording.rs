//! What a client's document went through.

use std::collections::BTreeMap;
use std::time::Duration;

use collabedit_sdk::{Committed, CounterSpan, DocumentEvent, PeerId};
use hdrhistogram::Histogram;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::error::ReplayError;
use crate::report::Percentiles;

/// One client's record.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) commits: Vec<Committed>,
    imports: Vec<(Instant, CounterSpan)>,
    acks: Vec<Duration>,
    /// Batches that were refused for now and sent again.
    pub(crate) refused_count: u64,
    /// The room beat while this client wrote.
    pub(crate) pulsed: bool,
}

impl Recording {
    /// Records until the document is closed.
    pub(crate) async fn of(
        mut events: broadcast::Receiver<DocumentEvent>,
    ) -> Result<Self, ReplayError> {
        let mut recording = Self::default();
        loop {
            match events.recv().await {
                Ok(event) => recording.add(event)?,
                Err(RecvError::Lagged(count)) => return Err(ReplayError::EventsMissed { count }),
                Err(RecvError::Closed) => return Ok(recording),
            }
        }
    }

    fn add(&mut self, event: DocumentEvent) -> Result<(), ReplayError> {
        match event {
            DocumentEvent::Committed(committed) => self.commits.push(committed),
            DocumentEvent::Acknowledged(acknowledged) => self.acks.push(acknowledged.latency),
            DocumentEvent::Imported { spans, at, .. } => {
                self.imports
                    .extend(spans.into_iter().map(|span| (at, span)));
            }
            DocumentEvent::Refused { .. } => self.refused_count += 1,
            DocumentEvent::Recovered(copy) => {
                let reason = format!("{}: {}", copy.code, copy.message);
                return Err(ReplayError::Refused { reason });
            }
            DocumentEvent::Pulse { beat_ms, .. } => self.pulsed |= beat_ms > 0,
            _ => {}
        }
        Ok(())
    }
}

/// From a commit to its ack, over all clients.
pub(crate) fn ack_latency(recordings: &[Recording]) -> Percentiles {
    percentiles(
        recordings
            .iter()
            .flat_map(|recording| recording.acks.iter().copied()),
    )
}

/// From an edit to its arrival in each other client's replica. An update counts from the first edit
/// in it, with the time that it waited for its commit.
pub(crate) fn propagation(recordings: &[Recording]) -> Percentiles {
    let mut written: BTreeMap<PeerId, Vec<(u32, Instant)>> = BTreeMap::new();
    for commit in recordings.iter().flat_map(|recording| &recording.commits) {
        written
            .entry(commit.span.peer)
            .or_default()
            .push((commit.span.end, commit.edited_at));
    }
    for commits in written.values_mut() {
        commits.sort_unstable();
    }
    let arrivals = recordings.iter().flat_map(|recording| &recording.imports);
    percentiles(arrivals.flat_map(|(at, span)| {
        let commits = written.get(&span.peer).map_or(&[][..], Vec::as_slice);
        let first = commits.partition_point(|(end, _)| *end <= span.start);
        commits[first..]
            .iter()
            .take_while(|(end, _)| *end <= span.end)
            .map(|(_, edited_at)| at.saturating_duration_since(*edited_at))
    }))
}

fn percentiles(latencies: impl Iterator<Item = Duration>) -> Percentiles {
    // From a microsecond to an hour, to three digits.
    let mut histogram: Histogram<u64> =
        Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order");
    for latency in latencies {
        histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }
    #[allow(clippy::cast_precision_loss)] // An hour in microseconds fits a double exactly.
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Percentiles {
        count: histogram.len(),
        p50_ms: at(0.50),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: at(1.0),
    }
}

#[cfg(test)]
mod tests {
    use collabedit_sdk::VersionVector;

    use super::*;

    #[test]
    fn propagation_counts_each_update_that_an_import_brings() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let peer = PeerId(1);
        let commit = |range: std::ops::Range<u32>, edited_at| Committed {
            span: CounterSpan {
                peer,
                start: range.start,
                end: range.end,
            },
            version: VersionVector::new(),
            updates: Vec::new(),
            edited_at,
            committed_at: edited_at + ms(5),
        };
        let author = Recording {
            commits: vec![commit(0..3, start), commit(3..4, start + ms(40))],
            ..Recording::default()
        };
        let reader = Recording {
            imports: vec![(
                start + ms(100),
                CounterSpan {
                    peer,
                    start: 0,
                    end: 4,
                },
            )],
            ..Recording::default()
        };
        let measured = propagation(&[author, reader]);
        assert_eq!(measured.count, 2);
        assert!((measured.max_ms - 100.0).abs() < 0.1, "{measured:?}");
        assert!((measured.p50_ms - 60.0).abs() < 0.1, "{measured:?}");
    }
}
