use std::time::Duration;

use anyhow::Context;

use super::process_usage::ProcessUsage;
use super::prometheus::{Buckets, Exposition};
use super::run::Target;

/// What the servers tell of themselves, and their processes use, at one moment.
#[derive(Clone, Debug)]
pub(super) struct ServerSample {
    /// How long after the crowd began to write.
    pub(super) at: Duration,
    /// From the receipt of a batch to its acknowledgement on the socket.
    pub(super) ack: Buckets,
    /// From the receipt of an update to its bytes on the other sockets.
    pub(super) delivery: Buckets,
    /// Processor time of the gate's dry runs.
    pub(super) dry_run: Duration,
    /// Updates that were acknowledged.
    pub(super) acknowledged: u64,
    /// What its processes use, if they are known.
    pub(super) usage: Option<ProcessUsage>,
}

impl ServerSample {
    /// Reads what there is now.
    ///
    /// # Errors
    /// If a server does not answer, or one of its processes is gone.
    pub(super) async fn take(target: &Target, at: Duration) -> anyhow::Result<Self> {
        let mut sample = Self {
            at,
            ack: Buckets::default(),
            delivery: Buckets::default(),
            dry_run: Duration::ZERO,
            acknowledged: 0,
            usage: match target.processes.as_slice() {
                [] => None,
                processes => Some(ProcessUsage::of(processes)?),
            },
        };
        for url in &target.urls {
            let body = replay::get(url, "/metrics").await;
            let body = body.with_context(|| format!("reading the metrics of {url}"))?;
            let text = std::str::from_utf8(&body).context("the server's metrics are no text")?;
            sample.add(&Exposition(text));
        }
        Ok(sample)
    }

    /// What one server tells.
    fn add(&mut self, told: &Exposition<'_>) {
        self.ack.add(&told.buckets("collabedit_gateway_ack_ms"));
        self.delivery
            .add(&told.buckets("collabedit_gateway_delivery_ms"));
        let dry_run_us = told.counter("collabedit_collaboration_dry_run_cpu_us_total");
        self.dry_run += Duration::from_micros(dry_run_us);
        self.acknowledged += told.counter("collabedit_collaboration_updates_acknowledged_total");
    }
}
