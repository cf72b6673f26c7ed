use std::collections::BTreeMap;
use std::time::Duration;

use document_types::DocumentId;
use serde::Serialize;

use super::prometheus::Buckets;
use super::recording::Recording;
use super::scenario::Scenario;
use super::server_watch::ServerSample;
use super::tally::Minute;
use crate::Latencies;

const MINUTE: Duration = Duration::from_secs(60);

/// What a crowd measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was played.
    pub scenario: Scenario,
    /// Where.
    pub documents: Vec<DocumentId>,
    /// Updates that should have been sent.
    pub planned: u64,
    /// Updates that were sent.
    pub offered: u64,
    /// Updates that were acknowledged.
    pub acknowledged: u64,
    /// From the first round to the last receipt.
    pub played_seconds: f64,
    /// Updates that were acknowledged a second.
    pub rate_per_second: f64,
    /// What went wrong.
    pub failures: Failures,
    /// From sending to the acknowledgement, as the clients see it.
    pub ack: LatencyFigures,
    /// From sending to the receipt at every other client, as the clients see it.
    pub seen: LatencyFigures,
    /// From a cursor's movement to its receipt at every other client, of those that were received.
    pub cursor: LatencyFigures,
    /// From when an update was due to when it was sent.
    pub behind: LatencyFigures,
    /// The beat's length at each beat.
    pub beat: LatencyFigures,
    /// What the server says and uses.
    pub server: ServerFigures,
    /// The same by the minute.
    pub minutes: Vec<MinuteFigures>,
    /// The gate's processor time for an update in the last whole minute, as a multiple of that in the
    /// second; the first is left out, in which the document is new. `None` with less than three.
    pub gate_cpu_growth: Option<f64>,
}

/// What went wrong.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failures {
    /// Clients that stopped early, by why. All of a document stop with the first.
    pub clients: BTreeMap<String, u64>,
    /// What some of them said.
    pub messages: Vec<String>,
    /// Documents that are not what was recorded.
    pub different: Vec<String>,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyFigures {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Their median.
    pub p50_ms: f64,
    /// 95 % are not above it.
    pub p95_ms: f64,
    /// 99 % are not above it.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// A quantile of a server's histogram.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QuantileFigures {
    /// It is above this,
    pub above_ms: f64,
    /// not above this,
    pub at_most_ms: f64,
    /// and about this, if the values between the two are spread evenly.
    pub estimate_ms: f64,
}

/// A server's histogram of milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HistogramFigures {
    /// How many values.
    pub count: u64,
    /// The median. `None` if there are no values, or if it is above all bounds.
    pub p50: Option<QuantileFigures>,
    /// 95 % are not above it.
    pub p95: Option<QuantileFigures>,
    /// 99 % are not above it.
    pub p99: Option<QuantileFigures>,
}

/// What the server says of the whole run, and uses in it.
#[derive(Clone, Debug, Serialize)]
pub struct ServerFigures {
    /// From its receipt of a batch to the acknowledgement's bytes on the socket.
    pub ack: HistogramFigures,
    /// From its receipt of an update to its bytes on another socket, for the oldest update in each frame.
    pub delivery: HistogramFigures,
    /// Processor time of the gate's dry runs for an update.
    pub gate_cpu_us_per_update: f64,
    /// What its processes use, if they are known.
    pub processes: Option<ProcessFigures>,
}

/// What the server's processes use.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessFigures {
    /// Processor time for an update, of all they do.
    pub cpu_us_per_update: f64,
    /// Processor time in percent of one core.
    pub cpu_percent_of_a_core: f64,
    /// Memory before the first update.
    pub resident_before_bytes: u64,
    /// The most memory at the end of any second.
    pub resident_max_bytes: u64,
    /// Memory after the last update.
    pub resident_after_bytes: u64,
}

/// One minute.
#[derive(Clone, Debug, Serialize)]
pub struct MinuteFigures {
    /// Which, from 1.
    pub minute: usize,
    /// Updates that were acknowledged in it.
    pub acknowledged: u64,
    /// See [`Report::ack`].
    pub ack: LatencyFigures,
    /// See [`Report::seen`].
    pub seen: LatencyFigures,
    /// See [`Report::beat`].
    pub beat: LatencyFigures,
    /// See [`ServerFigures::ack`].
    pub server_ack: HistogramFigures,
    /// See [`ServerFigures::delivery`].
    pub server_delivery: HistogramFigures,
    /// The median over its seconds of the gate's processor time for an update.
    pub gate_cpu_us_per_update: Option<f64>,
    /// The same of all that the processes do.
    pub cpu_us_per_update: Option<f64>,
    /// The processes' memory at its end.
    pub resident_bytes: Option<u64>,
}

/// What was seen of the server: before, each second, and after.
pub(super) struct Watched {
    pub(super) samples: Vec<ServerSample>,
}

impl Failures {
    /// Whether nothing went wrong.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.different.is_empty()
    }
}

impl Report {
    pub(super) fn new(
        (scenario, documents): (&Scenario, Vec<DocumentId>),
        recording: &Recording,
        played: Duration,
        minutes: &[Minute],
        watched: &Watched,
        failures: Failures,
    ) -> Self {
        let whole = Minute::sum(minutes);
        let played_seconds = played.as_secs_f64();
        let minutes: Vec<_> = (0..)
            .zip(minutes)
            .map(|(number, minute)| MinuteFigures::new(number, minute, watched))
            .collect();
        let whole_minutes = usize::try_from(played.as_secs() / MINUTE.as_secs()).unwrap_or(0);
        let gate_cpu = |minute: usize| minutes.get(minute)?.gate_cpu_us_per_update;
        let growth = gate_cpu(1).zip(gate_cpu(whole_minutes.saturating_sub(1)));
        Self {
            scenario: scenario.clone(),
            documents,
            planned: recording.updates().len() as u64 * u64::from(scenario.documents),
            offered: whole.offered,
            acknowledged: whole.acknowledged,
            played_seconds,
            rate_per_second: number(whole.acknowledged) / played_seconds.max(f64::MIN_POSITIVE),
            failures,
            ack: LatencyFigures::of(&whole.ack),
            seen: LatencyFigures::of(&whole.seen),
            cursor: LatencyFigures::of(&whole.cursor),
            behind: LatencyFigures::of(&whole.behind),
            beat: LatencyFigures::of(&whole.beat),
            server: ServerFigures::new(watched),
            gate_cpu_growth: growth
                .filter(|_| whole_minutes >= 3)
                .map(|(second, last)| last / second),
            minutes,
        }
    }
}

impl LatencyFigures {
    fn of(latencies: &Latencies) -> Self {
        Self {
            count: latencies.count(),
            mean_ms: latencies.mean_ms(),
            p50_ms: latencies.quantile_ms(0.5),
            p95_ms: latencies.quantile_ms(0.95),
            p99_ms: latencies.quantile_ms(0.99),
            max_ms: latencies.quantile_ms(1.0),
        }
    }
}

impl HistogramFigures {
    fn of(buckets: &Buckets) -> Self {
        let quantile = |share| {
            buckets.quantile(share).map(|quantile| QuantileFigures {
                above_ms: quantile.low,
                at_most_ms: quantile.high,
                estimate_ms: quantile.estimate,
            })
        };
        Self {
            count: buckets.count(),
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
        }
    }
}

/// What changed from one sample to a later one.
struct Change<'a> {
    from: &'a ServerSample,
    to: &'a ServerSample,
}

impl Change<'_> {
    fn updates(&self) -> f64 {
        number(self.to.acknowledged.saturating_sub(self.from.acknowledged))
    }

    fn gate_cpu_us_per_update(&self) -> Option<f64> {
        let spent = self.to.dry_run.saturating_sub(self.from.dry_run);
        self.per_update(spent)
    }

    fn processor_time(&self) -> Option<Duration> {
        let (from, to) = (self.from.usage?, self.to.usage?);
        Some(to.processor_time.saturating_sub(from.processor_time))
    }

    fn per_update(&self, spent: Duration) -> Option<f64> {
        (self.updates() > 0.0).then(|| spent.as_secs_f64() * 1e6 / self.updates())
    }

    fn ack(&self) -> HistogramFigures {
        HistogramFigures::of(&self.to.ack.since(&self.from.ack))
    }

    fn delivery(&self) -> HistogramFigures {
        HistogramFigures::of(&self.to.delivery.since(&self.from.delivery))
    }
}

impl Watched {
    /// From the first sample to the last.
    fn whole(&self) -> Option<Change<'_>> {
        Some(Change {
            from: self.samples.first()?,
            to: self.samples.last()?,
        })
    }

    /// The samples of a minute, with the last before it.
    fn of_minute(&self, minute: u32) -> &[ServerSample] {
        // A sample at the turn of a minute belongs to the one that has just passed.
        let until = |minute: u32| {
            let end = MINUTE * minute + Duration::from_millis(500);
            self.samples.partition_point(|sample| sample.at < end)
        };
        &self.samples[until(minute).saturating_sub(1)..until(minute + 1)]
    }
}

impl ServerFigures {
    fn new(watched: &Watched) -> Self {
        let whole = watched.whole();
        let none = HistogramFigures::of(&Buckets::default());
        let processes = whole.as_ref().and_then(|whole| {
            let spent = whole.processor_time()?;
            let resident = watched.samples.iter().filter_map(|sample| sample.usage);
            Some(ProcessFigures {
                cpu_us_per_update: whole.per_update(spent)?,
                cpu_percent_of_a_core: share_of_a_core(
                    spent,
                    whole.to.at.saturating_sub(whole.from.at),
                ),
                resident_before_bytes: whole.from.usage?.resident_bytes,
                resident_max_bytes: resident.map(|usage| usage.resident_bytes).max()?,
                resident_after_bytes: whole.to.usage?.resident_bytes,
            })
        });
        Self {
            ack: whole.as_ref().map_or(none, Change::ack),
            delivery: whole.as_ref().map_or(none, Change::delivery),
            gate_cpu_us_per_update: whole
                .and_then(|whole| whole.gate_cpu_us_per_update())
                .unwrap_or_default(),
            processes,
        }
    }
}

impl MinuteFigures {
    fn new(number: u32, minute: &Minute, watched: &Watched) -> Self {
        let samples = watched.of_minute(number);
        let seconds: Vec<_> = samples
            .windows(2)
            .map(|pair| Change {
                from: &pair[0],
                to: &pair[1],
            })
            .collect();
        let whole = Watched {
            samples: samples.to_vec(),
        };
        let none = HistogramFigures::of(&Buckets::default());
        Self {
            minute: number as usize + 1,
            acknowledged: minute.acknowledged,
            ack: LatencyFigures::of(&minute.ack),
            seen: LatencyFigures::of(&minute.seen),
            beat: LatencyFigures::of(&minute.beat),
            server_ack: whole.whole().map_or(none, |whole| whole.ack()),
            server_delivery: whole.whole().map_or(none, |whole| whole.delivery()),
            gate_cpu_us_per_update: median(
                seconds
                    .iter()
                    .filter_map(Change::gate_cpu_us_per_update)
                    .collect(),
            ),
            cpu_us_per_update: median(
                seconds
                    .iter()
                    .filter_map(|second| second.per_update(second.processor_time()?))
                    .collect(),
            ),
            resident_bytes: samples
                .last()
                .and_then(|sample| Some(sample.usage?.resident_bytes)),
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[allow(clippy::cast_precision_loss)] // Counts and bytes are far below 2^52.
fn number(count: u64) -> f64 {
    count as f64
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    number(bytes) / (1024.0 * 1024.0)
}

pub(super) fn share_of_a_core(spent: Duration, within: Duration) -> f64 {
    spent.as_secs_f64() / within.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second each, in which 10 updates cost `gate_us` each.
    fn samples(gate_us: &[u64]) -> Watched {
        let mut dry_run = Duration::ZERO;
        let sample = |second: u32, dry_run| ServerSample {
            at: Duration::from_secs(second.into()),
            ack: Buckets::default(),
            delivery: Buckets::default(),
            dry_run,
            acknowledged: u64::from(second) * 10,
            usage: None,
        };
        let mut samples = vec![sample(0, dry_run)];
        for (second, gate_us) in (1..).zip(gate_us) {
            dry_run += Duration::from_micros(gate_us * 10);
            samples.push(sample(second, dry_run));
        }
        Watched { samples }
    }

    #[test]
    fn growth_is_that_of_the_last_whole_minute_over_the_second() {
        let scenario = Scenario {
            documents: 1,
            people_per_document: 1,
            updates_per_second: 10.0,
            seconds: 1,
            ramp_up_seconds: 0,
            readers_per_document: 0,
            cursors_per_second: 0.0,
            flooders_per_document: 0,
        };
        let recording = Recording::make(&scenario).unwrap();
        let gate_us = [vec![900; 60], vec![100; 60], vec![150; 60], vec![800; 5]].concat();
        let watched = samples(&gate_us);
        let report = |seconds| {
            let minutes = vec![Minute::default(); 4];
            let played = Duration::from_secs(seconds);
            let failures = Failures::default();
            let played_there = (&scenario, Vec::new());
            Report::new(
                played_there,
                &recording,
                played,
                &minutes,
                &watched,
                failures,
            )
        };
        let minutes: Vec<_> = report(185)
            .minutes
            .iter()
            .map(|minute| minute.gate_cpu_us_per_update)
            .collect();
        assert_eq!(
            minutes,
            [Some(900.0), Some(100.0), Some(150.0), Some(800.0)]
        );
        assert_eq!(report(185).gate_cpu_growth, Some(1.5));
        assert_eq!(report(179).gate_cpu_growth, None);
    }
}
