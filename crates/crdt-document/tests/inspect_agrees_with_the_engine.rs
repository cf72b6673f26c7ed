//! What our own reader says of an update is what the engine says of it.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use crdt_document::{CrdtDocument, inspect};
use document_types::record::OperationKind;
use document_types::{CounterSpan, OpId, PeerId};
use loro::{
    ExportMode, JsonChange, JsonListOp, JsonMapOp, JsonMovableListOp, JsonOpContent, JsonTextOp,
    JsonTreeOp, LoroDoc, LoroValue, VersionVector,
};
use proptest::prelude::*;
use support::{Editors, updates_since};

const NOW_MS: u64 = 4_000_000_000_000;

/// What the engine says of the same bytes.
struct Told {
    spans: Vec<CounterSpan>,
    start: Vec<OpId>,
}

fn engine_tells(update: &[u8]) -> Told {
    let meta = LoroDoc::decode_import_blob_meta(update, true).unwrap();
    let ends: BTreeMap<_, _> = meta.partial_end_vv.iter().map(|(p, c)| (*p, *c)).collect();
    let spans = ends
        .into_iter()
        .map(|(peer, end)| CounterSpan {
            peer: PeerId(peer),
            start: meta
                .partial_start_vv
                .get(&peer)
                .copied()
                .unwrap_or(0)
                .try_into()
                .unwrap(),
            end: end.try_into().unwrap(),
        })
        .collect();
    let start = meta
        .start_frontiers
        .iter()
        .map(|id| OpId {
            peer: PeerId(id.peer),
            counter: id.counter.try_into().unwrap(),
        })
        .collect();
    Told { spans, start }
}

#[derive(Default)]
struct Content {
    kinds: BTreeSet<OperationKind>,
    text_bytes: usize,
    operations: usize,
}

impl Content {
    fn of(changes: &[JsonChange]) -> Self {
        let mut content = Self::default();
        for op in changes.iter().flat_map(|change| &change.ops) {
            content.operations += op.content.op_len();
            content.add(&op.content);
        }
        content
    }

    fn add(&mut self, op: &JsonOpContent) {
        use OperationKind::{Delete, Insert, Move, Other, Set, Style};
        let kind = match op {
            JsonOpContent::Text(JsonTextOp::Insert { text, .. }) => {
                self.text_bytes += text.len();
                Insert
            }
            JsonOpContent::Text(JsonTextOp::Delete { .. })
            | JsonOpContent::List(JsonListOp::Delete { .. })
            | JsonOpContent::MovableList(JsonMovableListOp::Delete { .. })
            | JsonOpContent::Map(JsonMapOp::Delete { .. })
            | JsonOpContent::Tree(JsonTreeOp::Delete { .. }) => Delete,
            JsonOpContent::Text(_) => Style,
            JsonOpContent::List(JsonListOp::Insert { value, .. })
            | JsonOpContent::MovableList(JsonMovableListOp::Insert { value, .. }) => {
                value.iter().for_each(|value| self.creates(value));
                Insert
            }
            JsonOpContent::MovableList(JsonMovableListOp::Move { .. })
            | JsonOpContent::Tree(JsonTreeOp::Move { .. }) => Move,
            JsonOpContent::MovableList(JsonMovableListOp::Set { value, .. })
            | JsonOpContent::Map(JsonMapOp::Insert { value, .. }) => {
                self.creates(value);
                Set
            }
            JsonOpContent::Tree(JsonTreeOp::Create { .. }) => Insert,
            JsonOpContent::Future(_) => Other,
        };
        self.kinds.insert(kind);
    }

    fn creates(&mut self, value: &LoroValue) {
        if matches!(value, LoroValue::Container(_)) {
            self.kinds.insert(OperationKind::CreateContainer);
        }
    }
}

/// Checks `update`, which `doc` holds.
fn check(doc: &LoroDoc, update: &[u8]) {
    let inspected = inspect(update, NOW_MS).unwrap();
    let told = engine_tells(update);
    let spans: Vec<_> = inspected.spans.iter().map(|span| span.span).collect();
    assert_eq!(spans, told.spans);
    let dependencies: Vec<_> = inspected
        .spans
        .iter()
        .flat_map(|span| span.dependencies.iter().copied())
        .collect();
    for start in &told.start {
        // The engine counts a peer's own last operation among them.
        let is_own = spans.iter().any(|span| span.peer == start.peer);
        let covered = dependencies
            .iter()
            .any(|id| id.peer == start.peer && id.counter >= start.counter);
        assert!(
            is_own || covered,
            "{start} is missing from {dependencies:?}"
        );
    }
    let mut changes = Vec::new();
    for span in &told.spans {
        let (start, end) = (span.start.try_into().unwrap(), span.end.try_into().unwrap());
        changes.extend(doc.export_json_in_id_span(loro::IdSpan::new(span.peer.0, start, end)));
    }
    let content = Content::of(&changes);
    assert_eq!(inspected.kinds, content.kinds);
    assert_eq!(inspected.inserted_text_bytes as usize, content.text_bytes);
    assert_eq!(inspected.operation_count as usize, content.operations);
    for span in &inspected.spans {
        let first = changes
            .iter()
            .find(|change| change.id.peer == span.span.peer.0)
            .unwrap();
        assert_eq!(span.lamport, first.lamport);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn on_documents_of_every_kind(seed: u64, editors in 1_usize..6, rounds in 1_usize..80) {
        let mut editors = Editors::new(seed, editors);
        editors.run(rounds);
        editors.meet();
        let doc = &editors.docs[0];
        check_if_any(doc, &updates_since(doc, &VersionVector::new()));
        for update in &editors.updates {
            check(doc, update);
        }
    }

    #[test]
    fn on_updates_that_begin_and_end_anywhere(seed: u64, editors in 1_usize..4, rounds in 1_usize..40) {
        let mut editors = Editors::new(seed, editors);
        editors.run(rounds);
        editors.meet();
        let doc = CrdtDocument::new(PeerId(1)).unwrap();
        doc.import(&updates_since(&editors.docs[0], &VersionVector::new())).unwrap();
        for slice in doc.export_since_in_slices(&document_types::VersionVector::new()).unwrap() {
            check(doc.engine(), &slice.bytes);
        }
    }
}

fn check_if_any(doc: &LoroDoc, update: &[u8]) {
    if doc.len_ops() > 0 {
        check(doc, update);
    }
}

#[test]
fn a_document_of_many_peers_is_read_whole() {
    let mut editors = Editors::new(7, 100);
    editors.run(600);
    editors.meet();
    let doc = &editors.docs[0];
    let update = doc.export(ExportMode::all_updates()).unwrap();
    check(doc, &update);
    assert!(inspect(&update, NOW_MS).unwrap().spans.len() > 90);
}
