//! Spans on their way to a collector, and what becomes of them where there is none.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::sync::Arc;

use clock::{Clock, Random, SystemClock};
use document_types::limits::{SPANS_WAITING_MAX, TRACED_BATCHES_PER_SECOND_MAX};
use document_types::{NodeId, RegionId, TraceContext, TraceRatio};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trace_collector::Collector;
use traces::{Exporter, NodeName, Stage, TraceParts, Traces};

const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traces(collector: &str) -> (Traces, Exporter) {
    Traces::new(TraceParts {
        collector: collector.parse().unwrap(),
        ratio: TraceRatio::ONE_IN_HUNDRED,
        node: NodeName {
            region: RegionId::parse("eu-west-1").unwrap(),
            node: NodeId(3),
            version: "1.2.3",
        },
        clock: Arc::new(SystemClock),
        random: Random::from_seed(1),
    })
}

fn client() -> Option<TraceContext> {
    TraceContext::parse(CLIENT)
}

#[tokio::test]
async fn stages_reach_the_collector_as_parts_of_their_trace() {
    let collector = Collector::start().await;
    let (traces, exporter) = traces(&collector.url());
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(exporter.run(stop.clone()));

    let before_ns = SystemClock.now_us() * 1_000;
    let mut batch = traces.span(Stage::Batch, client());
    batch.set("collabedit.document", "notes".to_owned());
    let gate = traces.span(Stage::Gate, batch.context());
    let mut dry_run = gate.child(Stage::DryRun);
    dry_run.fail("unavailable");
    dry_run.end();
    gate.end();
    batch.end();
    let now = Instant::now();
    let times = (now, now);
    traces.first(Stage::KeyPress, client().unwrap(), times, Vec::new());
    let spans = collector.until(|spans| spans.len() == 4).await;

    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (key_press, batch, gate, dry_run) =
        (of("key press"), of("batch"), of("gate"), of("dry run"));
    let parents = [key_press, batch, gate, dry_run].map(|span| span.parent.as_str());
    let expected = ["", "b7ad6b7169203331", batch.id.as_str(), gate.id.as_str()];
    assert_eq!(parents, expected);
    assert_eq!(key_press.id, "b7ad6b7169203331");
    for span in &spans {
        assert_eq!(span.trace, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.instance, "eu-west-1/3");
        assert!(span.start_ns >= before_ns && span.end_ns >= span.start_ns);
    }
    assert_eq!(batch.service, "collabedit-gateway");
    assert_eq!(gate.service, "collabedit-collaboration");
    assert_eq!(batch.attributes["collabedit.document"], "notes");
    assert_eq!(dry_run.failure.as_deref(), Some("unavailable"));
    assert_eq!(gate.failure, None);

    // What is over when the process ends still goes out.
    traces.span(Stage::Merge, client()).end();
    stop.cancel();
    running.join_all().await;
    assert_eq!(collector.spans().len(), 5);
}

#[tokio::test]
async fn what_is_not_traced_is_nothing_and_a_context_passes_through_where_tracing_is_off() {
    let collector = Collector::start().await;
    let (on, _exporter) = traces(&collector.url());
    let none = on.span(Stage::Gate, None);
    assert!(!none.is_open() && none.context().is_none());
    assert!(none.child(Stage::DryRun).context().is_none());

    let off = Traces::off();
    let passing = off.span(Stage::Gate, client());
    assert!(!passing.is_open());
    assert_eq!(passing.child(Stage::DryRun).context(), client());
    assert_eq!((off.ratio(), off.admit(client())), (None, None));
}

#[tokio::test(start_paused = true)]
async fn clients_can_have_only_so_much_traced() {
    let (traces, _exporter) = traces("http://127.0.0.1:4317");
    let admitted = || {
        (0..10 * TRACED_BATCHES_PER_SECOND_MAX)
            .filter(|_| traces.admit(client()).is_some())
            .count()
    };
    assert_eq!(admitted(), TRACED_BATCHES_PER_SECOND_MAX as usize);
    assert_eq!(admitted(), 0);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(admitted(), TRACED_BATCHES_PER_SECOND_MAX as usize);
    assert_eq!(traces.admit(None), None);
}

#[tokio::test]
async fn a_collector_that_hangs_holds_nobody_up_and_is_not_waited_for_in_the_end() {
    // It takes the connection and says nothing.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", hanging.local_addr().unwrap());
    let (traces, exporter) = traces(&address);
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(exporter.run(stop.clone()));
    // Whoever makes a span never waits, whatever became of those before it.
    for _ in 0..3 * SPANS_WAITING_MAX {
        traces.span(Stage::Gate, client()).end();
    }
    let _connection = hanging.accept().await.unwrap();
    stop.cancel();
    running.join_all().await;
}

#[tokio::test]
async fn spans_go_out_again_once_a_collector_is_there() {
    let address = {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        taken.local_addr().unwrap()
    };
    let (traces, exporter) = traces(&format!("http://{address}"));
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(exporter.run(stop.clone()));
    traces.span(Stage::Gate, client()).end();
    let collector = Collector::start_at(address).await;
    loop {
        traces.span(Stage::Merge, client()).end();
        if !collector.spans().is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.join_all().await;
}
