//! What tests of traces share: a client that makes an edit, and the form that its trace has to have.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::{BTreeMap, BTreeSet};

use collabedit_sdk::{Client, Document, DocumentId, Options};
use trace_collector::{CollectedSpan, Collector};

/// What nobody may find in a trace.
pub const SECRET: &str = "xyzzy";

/// The spans of an edit, each with the one that it is a part of.
const STAGES: [(&str, Option<&str>); 8] = [
    ("key press", None),
    ("batch", Some("key press")),
    ("gate", Some("batch")),
    ("dry run", Some("gate")),
    ("append", Some("batch")),
    ("deliver", Some("append")),
    ("merge", Some("append")),
    ("commit", Some("merge")),
];

/// The settings of a node that has every edit traced.
pub fn traced(collector: &str) -> Vec<String> {
    vec![
        format!("--set=telemetry.otlp.endpoint={collector}"),
        "--set=telemetry.otlp.sampling_ratio=1".to_owned(),
    ]
}

/// A document that is open at `url`, with everything that it has.
///
/// # Errors
/// If it can't be opened.
pub async fn open(url: &str) -> anyhow::Result<(Client, Document)> {
    let client = Client::connect(Options::new(url))?;
    let document = client.open(&DocumentId::parse("notes")?)?;
    document.wait_caught_up().await?;
    Ok((client, document))
}

/// Waits for the spans of one edit and checks that they are one whole trace, from the client to the
/// store's commit.
///
/// # Panics
/// If they are not.
pub async fn one_whole_trace(collector: &Collector) -> BTreeMap<String, CollectedSpan> {
    let names = |spans: &[CollectedSpan]| -> BTreeSet<String> {
        spans.iter().map(|span| span.name.clone()).collect()
    };
    let expected: BTreeSet<_> = STAGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let spans = collector
        .until(|spans| names(spans).is_superset(&expected))
        .await;
    let traces: BTreeSet<_> = spans.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), 1, "one trace: {spans:#?}");
    assert_eq!(spans.len(), STAGES.len(), "each stage once: {spans:#?}");
    let spans: BTreeMap<_, _> = spans
        .into_iter()
        .map(|span| (span.name.clone(), span))
        .collect();
    for (name, parent) in STAGES {
        let span = &spans[name];
        let parent_id = parent.map_or("", |parent| &spans[parent].id);
        assert_eq!(span.parent, parent_id, "{name} is a part of {parent:?}");
        assert_eq!(span.failure, None, "{name}");
        assert!(span.start_ns <= span.end_ns, "{name}");
        let said = format!("{:?}", span.attributes);
        assert!(!said.contains(SECRET), "{name} shows what was written");
    }
    spans
}
