//! What the engine does that one would not expect, each as a test of what we make of it.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use crdt_document::{
    CrdtDocument, CrdtError, InspectError, Overlap, inspect, quiet_guarded_panics,
};
use document_types::{CounterSpan, PeerId, VersionVector};
use loro::{LoroDoc, LoroMap};

const NOW_MS: u64 = 1_800_000_000_000;
const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);

fn writes(peer: PeerId, text: &str) -> CrdtDocument {
    let document = CrdtDocument::new(peer).unwrap();
    append(&document, text);
    document
}

fn append(document: &CrdtDocument, text: &str) {
    let end = document.text_in("content").unwrap().chars().count();
    document.insert_text("content", end, text).unwrap();
    document.commit().unwrap();
}

fn all(document: &CrdtDocument) -> bytes::Bytes {
    document.export_since(&VersionVector::new()).unwrap()
}

#[test]
fn an_update_without_its_dependency_is_pending_and_a_snapshot_loses_it() {
    let author = writes(A, "a");
    let first = author.take_local_update().unwrap().unwrap();
    append(&author, "b");
    let second = author.take_local_update().unwrap().unwrap();

    let reader = CrdtDocument::new(B).unwrap();
    let outcome = reader.import(&second).unwrap();
    assert_eq!(outcome.applied, []);
    assert_eq!(
        outcome.pending,
        [CounterSpan {
            peer: A,
            start: 1,
            end: 2
        }]
    );
    assert!(reader.version().unwrap().is_empty());

    let reloaded = CrdtDocument::from_snapshot(&reader.export_snapshot().unwrap(), B).unwrap();
    reloaded.import(&first).unwrap();
    assert_eq!(reloaded.text().unwrap(), "a", "what was pending is gone");

    let outcome = reader.import(&first).unwrap();
    assert_eq!(
        outcome.applied,
        [CounterSpan {
            peer: A,
            start: 0,
            end: 2
        }]
    );
    assert_eq!(reader.text().unwrap(), "ab");
}

#[test]
fn equivocation_imports_without_an_error_and_the_state_hash_tells() {
    let (honest, forged) = (writes(A, "cat"), writes(A, "dog"));
    let (left, right) = (CrdtDocument::new(B).unwrap(), CrdtDocument::new(B).unwrap());
    left.import(&all(&honest)).unwrap();
    right.import(&all(&forged)).unwrap();
    assert!(left.import(&all(&right)).unwrap().applied.is_empty());
    assert!(right.import(&all(&left)).unwrap().applied.is_empty());
    assert_eq!(left.version().unwrap(), right.version().unwrap());
    assert_ne!(left.text().unwrap(), right.text().unwrap());
    assert_ne!(left.state_hash().unwrap(), right.state_hash().unwrap());

    let overlap = CounterSpan {
        peer: A,
        start: 0,
        end: 3,
    };
    assert_eq!(
        left.compare_overlap(&all(&honest), overlap).unwrap(),
        Overlap::Equal
    );
    assert_eq!(
        left.compare_overlap(&all(&forged), overlap).unwrap(),
        Overlap::Different
    );
}

#[test]
fn a_foreign_continuation_swallows_the_peers_own_operation() {
    let victim = writes(A, "mine");
    let server = CrdtDocument::detached().unwrap();
    server.import(&all(&victim)).unwrap();
    let attacker = CrdtDocument::from_snapshot(&victim.export_snapshot().unwrap(), A).unwrap();
    append(&attacker, "!");
    server
        .import(&attacker.take_local_update().unwrap().unwrap())
        .unwrap();

    append(&victim, "?");
    let own = victim
        .export_spans(&[CounterSpan {
            peer: A,
            start: 4,
            end: 5,
        }])
        .unwrap();
    let outcome = server.import(&own).unwrap();
    assert_eq!(
        (outcome.applied, outcome.pending),
        (vec![], vec![]),
        "Ok, and nothing happened"
    );
    assert_eq!(
        server
            .compare_overlap(
                &own,
                CounterSpan {
                    peer: A,
                    start: 4,
                    end: 5
                }
            )
            .unwrap(),
        Overlap::Different
    );
}

#[test]
fn a_snapshot_is_no_update() {
    let snapshot = writes(A, "a").export_snapshot().unwrap();
    assert_eq!(inspect(&snapshot, NOW_MS), Err(InspectError::Snapshot));
}

#[test]
fn a_change_from_the_future_is_refused_wherever_it_stands_in_the_update() {
    for forged in [i64::MAX, i64::MAX - 5, 1 << 50, 1_800_000_000 + 25 * 3_600] {
        let doc = LoroDoc::new();
        doc.set_peer_id(1).unwrap();
        for timestamp in [1_700_000_000, forged, 1_700_000_001] {
            doc.get_text("content").insert(0, "x").unwrap();
            doc.set_next_commit_timestamp(timestamp);
            doc.commit();
        }
        let update = support::updates_since(&doc, &loro::VersionVector::new());
        assert_eq!(
            inspect(&update, NOW_MS),
            Err(InspectError::TimestampAhead {
                timestamp_s: forged
            })
        );
    }
}

#[test]
fn a_stamp_inherited_from_a_clock_that_is_a_little_ahead_is_taken() {
    let doc = LoroDoc::new();
    doc.get_text("content").insert(0, "x").unwrap();
    doc.set_next_commit_timestamp(1_800_000_000 + 23 * 3_600);
    doc.commit();
    let update = support::updates_since(&doc, &loro::VersionVector::new());
    assert!(inspect(&update, NOW_MS).is_ok());
}

#[test]
fn a_checksum_of_other_bytes_is_refused() {
    let mut update = all(&writes(A, "abc")).to_vec();
    let last = update.len() - 1;
    update[last] ^= 1;
    assert_eq!(inspect(&update, NOW_MS), Err(InspectError::Checksum));
}

#[test]
fn history_from_before_a_shallow_snapshot_is_refused_instead_of_exported_in_vain() {
    let author = writes(A, "old");
    let before = author.version().unwrap();
    append(&author, "new");
    let frontiers = author.engine().oplog_frontiers();
    let shallow = loro::ExportMode::shallow_snapshot(&frontiers);
    let shallow = author.engine().export(shallow).unwrap();
    let compacted = CrdtDocument::from_snapshot(&shallow, B).unwrap();
    assert_eq!(compacted.text().unwrap(), "oldnew");
    assert!(matches!(
        compacted.export_since(&before),
        Err(CrdtError::HistoryTrimmed)
    ));
    assert!(matches!(
        compacted.export_since_in_slices(&before),
        Err(CrdtError::HistoryTrimmed)
    ));
    assert!(
        compacted
            .export_since(&compacted.version().unwrap())
            .is_ok()
    );
}

#[test]
fn a_refused_import_leaves_the_document_as_it_was() {
    let document = writes(A, "abc");
    let hash = document.state_hash().unwrap();
    let mut update = all(&writes(B, "xyz")).to_vec();
    update.truncate(update.len() - 4);
    support::seal(&mut update);
    assert!(matches!(
        document.import(&update),
        Err(CrdtError::Refused(_))
    ));
    assert_eq!(document.state_hash().unwrap(), hash);
}

/// Nested containers: what overflowed a thread's stack when read is refused before it is read.
#[test]
fn containers_that_nest_too_deep_are_refused_by_inspection() {
    let doc = LoroDoc::new();
    let mut map = doc.get_map("map");
    for _ in 0..200 {
        map = map.insert_container("child", LoroMap::new()).unwrap();
    }
    doc.commit();
    let update = support::updates_since(&doc, &loro::VersionVector::new());
    assert!(matches!(
        inspect(&update, NOW_MS),
        Err(InspectError::TooDeep { .. })
    ));
}

#[test]
fn containers_nested_one_update_at_a_time_are_refused_by_the_document() {
    let author = CrdtDocument::new(A).unwrap();
    let reader = CrdtDocument::new(B).unwrap();
    let mut map = author.engine().get_map("map");
    let mut refused_at = None;
    for depth in 1..=150 {
        map = map.insert_container("child", LoroMap::new()).unwrap();
        let update = author.take_local_update().unwrap().unwrap();
        let inspected = inspect(&update, NOW_MS).unwrap();
        reader.import(&update).unwrap();
        if let Err(error) = reader.check_depth(&inspected) {
            assert!(matches!(error, CrdtError::TooDeep { .. }));
            refused_at = Some(depth);
            break;
        }
    }
    assert_eq!(
        refused_at,
        Some(100),
        "the root is the first of a hundred levels"
    );
    assert!(matches!(
        reader.deep_value_json(),
        Err(CrdtError::TooDeep { .. })
    ));
    assert!(matches!(
        reader.state_hash(),
        Err(CrdtError::TooDeep { .. })
    ));
    assert!(reader.text().is_ok(), "the document is not poisoned");
}

#[test]
fn a_style_without_its_end_imports_and_leaves_a_snapshot_that_nobody_can_load() {
    let author = writes(A, "abc");
    author
        .engine()
        .get_text("content")
        .mark(0..2, "bold", true)
        .unwrap();
    author.commit().unwrap();
    let begin = author
        .export_spans(&[CounterSpan {
            peer: A,
            start: 0,
            end: 4,
        }])
        .unwrap();
    assert!(matches!(
        inspect(&begin, NOW_MS),
        Err(InspectError::Malformed { .. })
    ));

    quiet_guarded_panics();
    let reader = CrdtDocument::new(B).unwrap();
    reader.import(&begin).unwrap();
    assert_eq!(reader.text().unwrap(), "abc", "nothing seems wrong");
    assert!(matches!(
        reader.check_reload(),
        Err(CrdtError::Panicked { .. })
    ));
    assert!(
        !reader.is_poisoned(),
        "what was loaded is lost, what it was loaded from is not"
    );
    reader
        .import(&author.export_since(&reader.version().unwrap()).unwrap())
        .unwrap();
    assert!(reader.check_reload().is_ok());
}

#[test]
fn the_text_is_the_root_named_content_or_else_the_first_that_holds_something() {
    let document = CrdtDocument::new(A).unwrap();
    assert_eq!(document.text().unwrap(), "");
    document.insert_text("zebra", 0, "z").unwrap();
    document.insert_text("apple", 0, "a").unwrap();
    document.text_in("aardvark").unwrap();
    assert_eq!(document.text().unwrap(), "a");
    document.insert_text("content", 0, "c").unwrap();
    assert_eq!(document.text().unwrap(), "c");
}

#[test]
fn the_reserved_peer_id_is_refused() {
    assert!(matches!(
        CrdtDocument::new(PeerId(u64::MAX)),
        Err(CrdtError::Refused(_))
    ));
}

#[test]
fn local_updates_are_given_out_once_also_after_a_reload() {
    let document = writes(A, "a");
    assert!(document.take_local_update().unwrap().is_some());
    assert!(document.take_local_update().unwrap().is_none());
    let again = CrdtDocument::from_snapshot(&document.export_snapshot().unwrap(), A).unwrap();
    assert!(again.take_local_update().unwrap().is_none());
    append(&again, "b");
    let update = again.take_local_update().unwrap().unwrap();
    document.import(&update).unwrap();
    assert_eq!(document.text().unwrap(), "ab");
}

/// The engine calls a text whose styled characters are all deleted empty until the text is decoded,
/// and then not, since the style's anchors are still there. We call it empty always.
#[test]
fn a_text_of_nothing_but_style_anchors_is_empty_before_and_after_it_is_decoded() {
    let author = CrdtDocument::new(A).unwrap();
    let emptied = author.engine().get_text("aside");
    emptied.insert(0, "x").unwrap();
    emptied.mark(0..1, "bold", true).unwrap();
    emptied.delete(0, 1).unwrap();
    author.engine().get_text("body").insert(0, "kept").unwrap();
    author.commit().unwrap();
    assert!(!emptied.is_empty(), "decoded, the engine counts anchors");

    let imported = CrdtDocument::new(B).unwrap();
    imported.import(&all(&author)).unwrap();
    let snapshot = author.export_snapshot().unwrap();
    let load = || CrdtDocument::from_snapshot(&snapshot, B).unwrap();
    let undecoded = load().engine().get_text("aside").is_empty();
    assert!(undecoded, "undecoded, the engine counts characters");

    let expected = author.state_hash().unwrap();
    let loaded = load();
    assert_eq!(loaded.state_hash().unwrap(), expected);
    // Reading decodes the text, and what was read must not depend on what was read before.
    loaded.engine().get_text("aside").to_delta();
    assert!(!loaded.engine().get_text("aside").is_empty());
    for document in [&author, &imported, &loaded, &load()] {
        assert_eq!(document.state_hash().unwrap(), expected);
        assert_eq!(document.text().unwrap(), "kept");
        assert_eq!(
            document.deep_value_json().unwrap(),
            serde_json::json!({ "body": "kept" })
        );
    }
}

/// The engine rounds a counter's sum after each increment, so what replicas come to depends on the order
/// in which they got them, and they never agree again.
#[test]
fn fractional_increments_add_up_to_what_their_order_makes_of_them() {
    let updates: Vec<_> = [(1, 0.1), (2, 0.2), (3, 0.3)]
        .map(|(peer, increment)| {
            let author = CrdtDocument::new(PeerId(peer)).unwrap();
            let counter = author.engine().get_counter("counter");
            counter.increment(increment).unwrap();
            author.take_local_update().unwrap().unwrap()
        })
        .into();
    let replica = |order: [usize; 3]| {
        let document = CrdtDocument::new(PeerId(4)).unwrap();
        for index in order {
            document.import(&updates[index]).unwrap();
        }
        document
    };
    let (forwards, backwards) = (replica([0, 1, 2]), replica([2, 1, 0]));
    assert_eq!(forwards.version().unwrap(), backwards.version().unwrap());
    let value = |document: &CrdtDocument| document.deep_value_json().unwrap().to_string();
    assert_eq!(value(&forwards), r#"{"counter":0.6000000000000001}"#);
    assert_eq!(value(&backwards), r#"{"counter":0.6}"#);
    assert_ne!(
        forwards.state_hash().unwrap(),
        backwards.state_hash().unwrap()
    );
    for update in &updates {
        assert!(matches!(
            inspect(update, NOW_MS),
            Err(InspectError::InexactIncrement { .. })
        ));
    }
}

/// The engine writes an increment of less than 2^-52 as the whole number 0, but adds it to its own
/// replica as it is. Nobody else can see that, so nobody else can refuse it.
#[test]
fn a_tiny_increment_stays_with_its_author_until_the_document_is_loaded_from_elsewhere() {
    let author = CrdtDocument::new(A).unwrap();
    let counter = author.engine().get_counter("counter");
    counter.increment(f64::EPSILON / 2.0).unwrap();
    let update = author.take_local_update().unwrap().unwrap();
    assert!(inspect(&update, NOW_MS).is_ok());
    let reader = CrdtDocument::new(B).unwrap();
    reader.import(&update).unwrap();
    assert_eq!(reader.version().unwrap(), author.version().unwrap());
    assert_ne!(reader.state_hash().unwrap(), author.state_hash().unwrap());
}
