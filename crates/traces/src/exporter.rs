use document_types::limits::{
    SPANS_EXPORT_TIME_MAX, SPANS_EXPORT_WAIT, SPANS_FLUSH_TIME_MAX, SPANS_PER_EXPORT_MAX,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::CollectorAddress;
use crate::span::count;
use crate::wire::{Finished, NodeName, request};

/// Brings spans to the collector. What does not reach it is dropped and counted: a trace is not worth
/// anything that an edit would have to wait for.
pub struct Exporter {
    finished: mpsc::Receiver<Finished>,
    waiting: Vec<Finished>,
    collector: TraceServiceClient<Channel>,
    address: CollectorAddress,
    node: NodeName,
    /// Whether the last message did not reach it, which is said once.
    is_failing: bool,
}

impl Exporter {
    pub(crate) fn new(
        finished: mpsc::Receiver<Finished>,
        address: &CollectorAddress,
        node: &NodeName,
    ) -> Self {
        Self {
            finished,
            waiting: Vec::new(),
            collector: TraceServiceClient::new(address.channel()),
            address: address.clone(),
            node: node.clone(),
            is_failing: false,
        }
    }

    /// Exports spans until `stop`, and then those that are left, for as long as that may take.
    pub async fn run(mut self, stop: CancellationToken) {
        let too_late = async {
            stop.cancelled().await;
            sleep(SPANS_FLUSH_TIME_MAX).await;
        };
        tokio::select! {
            biased;
            () = self.export_until(&stop) => {}
            () = too_late => tracing::warn!(collector = %self.address, "the last spans were not taken"),
        }
    }

    async fn export_until(&mut self, stop: &CancellationToken) {
        loop {
            let stopped = stop.run_until_cancelled(self.gather()).await.is_none();
            self.take();
            if self.waiting.is_empty() {
                return;
            }
            self.export().await;
            if stopped && self.finished.is_empty() {
                return;
            }
        }
    }

    /// Waits for a span, and a while for others. Nothing is lost if it is dropped.
    async fn gather(&mut self) {
        if self.finished.recv_many(&mut self.waiting, 1).await > 0 {
            sleep(SPANS_EXPORT_WAIT).await;
        }
    }

    fn take(&mut self) {
        while self.waiting.len() < SPANS_PER_EXPORT_MAX
            && let Ok(span) = self.finished.try_recv()
        {
            self.waiting.push(span);
        }
    }

    async fn export(&mut self) {
        let spans = std::mem::take(&mut self.waiting);
        let spans_count = spans.len();
        let exporting = self.collector.export(request(spans, &self.node));
        let exported = timeout(SPANS_EXPORT_TIME_MAX, exporting)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not answer")));
        match exported {
            Ok(answer) => {
                let partly = answer.into_inner().partial_success.unwrap_or_default();
                let rejected = usize::try_from(partly.rejected_spans).unwrap_or_default();
                count("rejected", rejected);
                count("exported", spans_count.saturating_sub(rejected));
                if self.is_failing {
                    tracing::info!(collector = %self.address, "spans reach the collector again");
                }
                self.is_failing = false;
            }
            Err(error) => {
                count("undelivered", spans_count);
                if !self.is_failing {
                    tracing::warn!(
                        collector = %self.address,
                        error = &error as &dyn std::error::Error,
                        "spans don't reach the collector, and are dropped until they do"
                    );
                }
                self.is_failing = true;
            }
        }
    }
}
