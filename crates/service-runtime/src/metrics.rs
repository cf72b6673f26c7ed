use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How often what histograms hold back is folded in, so that they stay small between two scrapes.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Upper bounds of the buckets of times, in seconds: from a hit in memory to a drain that hangs.
const SECONDS_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0,
];
/// Upper bounds of the buckets of times, in milliseconds: fine where acknowledgements and beats lie.
const MILLISECONDS_BUCKETS: [f64; 20] = [
    0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0, 35.0, 50.0, 75.0, 100.0, 125.0, 150.0, 200.0,
    300.0, 500.0, 1e3, 2.5e3, 10e3,
];
/// Upper bounds of the buckets of sizes, in bytes: from a keystroke to the largest record.
const BYTES_BUCKETS: [f64; 8] = [
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
];
/// Upper bounds of the buckets of counts.
const COUNT_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1_024.0];

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// The recorder of metrics can't be set up.
#[derive(Debug, thiserror::Error)]
#[error("the recorder of metrics can't be set up")]
pub struct MetricsError(#[from] metrics_exporter_prometheus::BuildError);

impl Metrics {
    /// The recorder of this process, installed at the first call. Nodes that share a process, as in
    /// tests, share its metrics.
    ///
    /// # Errors
    /// [`MetricsError`] if something else in this process has installed a recorder.
    pub fn install() -> Result<Self, MetricsError> {
        static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = installed.as_ref() {
            return Ok(metrics.clone());
        }
        let metrics = Self(builder()?.install_recorder()?);
        *installed = Some(metrics.clone());
        Ok(metrics)
    }

    /// The route `/metrics`, in Prometheus' text format.
    pub fn router(&self) -> Router {
        let handle = self.0.clone();
        let render = async move || {
            (
                [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                handle.render(),
            )
        };
        Router::new().route("/metrics", get(render))
    }

    /// Keeps histograms small; runs until it is dropped.
    pub async fn upkeep(self) {
        let mut period = tokio::time::interval(UPKEEP_PERIOD);
        loop {
            period.tick().await;
            self.0.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    let suffix = |suffix: &str| Matcher::Suffix(suffix.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(suffix("_ms"), &MILLISECONDS_BUCKETS)?
        .set_buckets_for_metric(suffix("_bytes"), &BYTES_BUCKETS)?
        // What names none of these units counts something.
        .set_buckets(&COUNT_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_get_buckets_by_their_unit() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("append_seconds").record(0.02);
            metrics::counter!("appends_total").increment(3);
        });
        let text = recorder.handle().render();
        assert!(
            text.contains("append_seconds_bucket{le=\"0.01\"} 0"),
            "{text}"
        );
        assert!(
            text.contains("append_seconds_bucket{le=\"0.025\"} 1"),
            "{text}"
        );
        assert!(text.contains("appends_total 3"), "{text}");
    }
}
