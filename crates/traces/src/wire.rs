use std::collections::BTreeMap;

use document_types::{NodeId, RegionId, SpanId, TraceContext};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use crate::{Stage, Value};

/// Who exports spans.
#[derive(Clone, Debug)]
pub struct NodeName {
    /// The node's region.
    pub region: RegionId,
    /// The node.
    pub node: NodeId,
    /// Which version of the program it runs.
    pub version: &'static str,
}

/// A span that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) stage: Stage,
    pub(crate) context: TraceContext,
    pub(crate) parent: Option<SpanId>,
    /// When it began and ended, in microseconds since the Unix epoch.
    pub(crate) times_us: (u64, u64),
    pub(crate) attributes: Vec<(&'static str, Value)>,
    pub(crate) failure: Option<String>,
}

/// One message to the collector. Each stage is a part of its own service, also where one process runs
/// them all, so that whoever reads a trace sees which service was slow.
pub(crate) fn request(spans: Vec<Finished>, node: &NodeName) -> ExportTraceServiceRequest {
    let mut services: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for span in spans {
        let service = services.entry(span.stage.service()).or_default();
        service.push(span.into());
    }
    let resource_spans = services
        .into_iter()
        .map(|(service, spans)| ResourceSpans {
            resource: Some(resource(service, node)),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "collabedit".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

fn resource(service: &str, node: &NodeName) -> Resource {
    let instance = format!("{}/{}", node.region, node.node);
    let attributes = [
        ("service.name", service.to_owned()),
        ("service.version", node.version.to_owned()),
        ("service.instance.id", instance),
        ("collabedit.region", node.region.to_string()),
        ("collabedit.node", node.node.to_string()),
    ];
    Resource {
        attributes: attributes
            .map(|(key, value)| key_value(key, value.into()))
            .into(),
        ..Resource::default()
    }
}

impl From<Finished> for Span {
    fn from(span: Finished) -> Self {
        let (start_us, end_us) = span.times_us;
        let parent = span.parent.map(|parent| parent.bytes().to_vec());
        let status = span.failure.map(|message| Status {
            code: StatusCode::Error.into(),
            message,
        });
        Self {
            trace_id: span.context.trace.bytes().to_vec(),
            span_id: span.context.span.bytes().to_vec(),
            parent_span_id: parent.unwrap_or_default(),
            name: span.stage.name().to_owned(),
            kind: span.stage.kind().into(),
            start_time_unix_nano: start_us.saturating_mul(1_000),
            end_time_unix_nano: end_us.saturating_mul(1_000),
            attributes: span
                .attributes
                .into_iter()
                .map(|(key, value)| key_value(key, value))
                .collect(),
            status,
            ..Self::default()
        }
    }
}

fn key_value(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Number(number) => {
            any_value::Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX))
        }
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
