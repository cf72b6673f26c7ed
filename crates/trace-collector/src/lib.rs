//! A collector for tests: takes spans over OTLP, as Jaeger does, and shows them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// How long spans may take to come. The machine may be busy; nothing here measures time.
const COME_TIME_MAX: Duration = Duration::from_secs(60);

/// A collector that runs until it is dropped.
pub struct Collector {
    address: SocketAddr,
    spans: watch::Receiver<Vec<CollectedSpan>>,
    _serving: JoinSet<()>,
}

/// A span as it was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedSpan {
    /// Its name.
    pub name: String,
    /// The service that it is of.
    pub service: String,
    /// The process that exported it.
    pub instance: String,
    /// Its trace, in hexadecimal.
    pub trace: String,
    /// Its id, in hexadecimal.
    pub id: String,
    /// The id of the span that it is a part of, empty for the first of a trace.
    pub parent: String,
    /// Nanoseconds since the Unix epoch at which it began,
    pub start_ns: u64,
    /// and at which it ended.
    pub end_ns: u64,
    /// What it says of itself.
    pub attributes: BTreeMap<String, String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts one at an address.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (keeper, spans) = watch::channel(Vec::new());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            Server::builder()
                .add_service(TraceServiceServer::new(Keeper(keeper)))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        Self {
            address,
            spans,
            _serving: serving,
        }
    }

    /// Where it takes spans.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has taken so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.spans.borrow().clone()
    }

    /// Waits until what it has taken is enough.
    pub async fn until(&self, is_enough: impl Fn(&[CollectedSpan]) -> bool) -> Vec<CollectedSpan> {
        let mut spans = self.spans.clone();
        let come = timeout(COME_TIME_MAX, spans.wait_for(|spans| is_enough(spans)));
        match come.await {
            Ok(spans) => spans.unwrap().clone(),
            Err(_) => panic!("waited in vain for spans; these came: {:#?}", self.spans()),
        }
    }
}

struct Keeper(watch::Sender<Vec<CollectedSpan>>);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = collected(request.into_inner());
        self.0.send_modify(|kept| kept.extend(spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn collected(request: ExportTraceServiceRequest) -> Vec<CollectedSpan> {
    let mut collected = Vec::new();
    for of_service in request.resource_spans {
        let resource = attributes(of_service.resource.unwrap().attributes);
        let spans = of_service.scope_spans.into_iter().flat_map(|of| of.spans);
        collected.extend(spans.map(|span| CollectedSpan {
            name: span.name,
            service: resource["service.name"].clone(),
            instance: resource["service.instance.id"].clone(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            start_ns: span.start_time_unix_nano,
            end_ns: span.end_time_unix_nano,
            attributes: attributes(span.attributes),
            failure: span.status.map(|status| status.message),
        }));
    }
    collected
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => text,
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            other => panic!("{} has the value {other:?}", attribute.key),
        };
        (attribute.key, value)
    };
    attributes.into_iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
