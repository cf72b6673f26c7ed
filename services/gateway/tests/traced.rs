//! Traced batches: which are, what of them goes on, and what is believed of what clients say of them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use clock::{Random, SystemClock};
use document_types::{NodeId, RegionId, TraceContext, TraceRatio};
use service_api::Submission;
use sync_protocol::{Magic, Message};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trace_collector::Collector;
use traces::{NodeName, TraceParts, Traces};

use support::{Client, Served, join_payload, subscription};

const SPAN: &str = "b7ad6b7169203331";

/// A gateway that traces, and who takes its spans.
struct Traced {
    served: Served,
    collector: Collector,
    _exporting: JoinSet<()>,
}

impl Traced {
    async fn start() -> Self {
        let collector = Collector::start().await;
        let (traces, exporter) = Traces::new(TraceParts {
            collector: collector.url().parse().unwrap(),
            ratio: TraceRatio::ONE_IN_HUNDRED,
            node: NodeName {
                region: RegionId::parse("local").unwrap(),
                node: NodeId(1),
                version: "1",
            },
            clock: Arc::new(SystemClock),
            random: Random::from_seed(1),
        });
        let mut exporting = JoinSet::new();
        exporting.spawn(exporter.run(CancellationToken::new()));
        Self {
            served: Served::with(|state| state.traces = traces).await,
            collector,
            _exporting: exporting,
        }
    }

    async fn submissions(&self, count: usize) -> Vec<Submission> {
        let room = self.served.rooms.room("notes");
        room.until(|log| log.submissions.len() == count)
            .await
            .submissions
    }
}

fn update() -> Bytes {
    let doc = loro::LoroDoc::new();
    doc.get_text("text").insert(0, "hi").unwrap();
    doc.commit();
    Bytes::from(doc.export(loro::ExportMode::all_updates()).unwrap())
}

fn traceparent(trace: u8) -> String {
    format!("00-{:032x}-{SPAN}-01", u128::from(trace) + 1)
}

/// Offers a batch, with the trace of the same number, and waits for its answer.
async fn offer(client: &mut Client, batch: u8, is_traced: bool) {
    let notes = subscription(Magic::Loro, "notes");
    if is_traced {
        let text = format!(
            r#"{{"type":"trace","document":"notes","batch":"{}","traceparent":"{}"}}"#,
            format!("{batch:02x}").repeat(8),
            traceparent(batch)
        );
        client.send_text(&text).await;
    }
    client.offer(&notes, batch, vec![update()]).await;
    assert!(matches!(client.message(&notes).await, Message::Ack { .. }));
    client.text().await;
}

async fn report(client: &mut Client, batch: u8, waited_us: u32, answered_us: u32) {
    let text = format!(
        r#"{{"type":"traced","document":"notes","batch":"{}","waited_us":{waited_us},"answered_us":{answered_us}}}"#,
        format!("{batch:02x}").repeat(8),
    );
    client.send_text(&text).await;
}

#[tokio::test]
async fn a_batch_goes_on_as_a_part_of_the_gateways_span_and_its_client_says_how_long_it_took() {
    let traced = Traced::start().await;
    let mut client = traced.served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.join(&notes, join_payload("dev_a")).await;
    offer(&mut client, 1, true).await;
    offer(&mut client, 2, false).await;
    // Of what was not traced, or is none of its own, a client can say what it likes.
    report(&mut client, 2, 1, 1).await;
    report(&mut client, 9, 1, 1).await;
    report(&mut client, 1, 40_000, 2_000_000).await;
    report(&mut client, 1, 1, 1).await;

    let submissions = traced.submissions(2).await;
    let wanted = TraceContext::parse(&traceparent(1)).unwrap();
    let context = submissions[0].trace.unwrap();
    assert_eq!(context.trace, wanted.trace);
    assert_ne!(context.span, wanted.span);
    assert_eq!(submissions[1].trace, None);

    // A third one, so that whatever the second led to would have come before it.
    offer(&mut client, 3, true).await;
    let third = traceparent(3)[3..35].to_owned();
    let is_there =
        |spans: &[trace_collector::CollectedSpan]| spans.iter().any(|span| span.trace == third);
    let spans = traced.collector.until(is_there).await;
    let first: Vec<_> = spans.iter().filter(|span| span.trace != third).collect();
    assert_eq!(first.len(), 2, "{first:#?}");
    let of = |name: &str| first.iter().find(|span| span.name == name).unwrap();
    let (batch, key_press) = (of("batch"), of("key press"));
    assert_eq!(batch.parent, SPAN);
    assert_eq!(batch.id, context.span.to_string());
    assert_eq!(key_press.id, SPAN);
    assert_eq!(key_press.parent, "");
    // The client's two seconds lie around what the gateway saw of them, with the wait before them.
    assert_eq!(key_press.end_ns - key_press.start_ns, 2_040_000_000);
    assert!(key_press.start_ns + 40_000_000 < batch.start_ns);
    assert!(key_press.end_ns > batch.end_ns);
}
