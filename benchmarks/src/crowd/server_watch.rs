use std::time::Duration;

use anyhow::Context;

use super::process_usage::ProcessUsage;
use super::prometheus::{Buckets, Exposition};
use super::run::Target;

/// What the server tells of itself, and its processes use, at one moment.
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
    /// If the server does not answer, or one of its processes is gone.
    pub(super) async fn take(target: &Target, at: Duration) -> anyhow::Result<Self> {
        let body = replay::get(&target.url, "/metrics").await;
        let body = body.with_context(|| format!("reading the metrics of {}", target.url))?;
        let text = std::str::from_utf8(&body).context("the server's metrics are no text")?;
        let usage = match target.processes.as_slice() {
            [] => None,
            processes => Some(ProcessUsage::of(processes)?),
        };
        let told = Exposition(text);
        Ok(Self {
            at,
            ack: told.buckets("collabedit_gateway_ack_ms"),
            delivery: told.buckets("collabedit_gateway_delivery_ms"),
            dry_run: Duration::from_micros(
                told.counter("collabedit_collaboration_dry_run_cpu_us_total"),
            ),
            acknowledged: told.counter("collabedit_collaboration_updates_acknowledged_total"),
            usage,
        })
    }
}
