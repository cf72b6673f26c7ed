//! What a counter may be incremented by, and that whole numbers add up to the same in every order.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use crdt_document::{CrdtDocument, InspectError, inspect, read};
use document_types::PeerId;
use document_types::limits::COUNTER_INCREMENT_MAX;
use loro::{
    ContainerTrait, LoroCounter, LoroDoc, LoroList, LoroMap, LoroMovableList, TreeParentId,
    VersionVector,
};
use proptest::prelude::*;
use support::{seal, updates_since};

const NOW_MS: u64 = 4_000_000_000_000;
const MAX: i64 = COUNTER_INCREMENT_MAX as i64;

/// Where a counter may stand: at the root, or as a child of anything that has children.
#[derive(Clone, Copy, Debug)]
enum Place {
    Root,
    Map,
    /// The same counter for whoever names the key first.
    MergeableMap,
    List,
    MovableList,
    TreeNode,
    Deep,
}

const PLACES: [Place; 7] = [
    Place::Root,
    Place::Map,
    Place::MergeableMap,
    Place::List,
    Place::MovableList,
    Place::TreeNode,
    Place::Deep,
];

fn counter_at(doc: &LoroDoc, place: Place) -> LoroCounter {
    let child = LoroCounter::new;
    match place {
        Place::Root => Ok(doc.get_counter("counter")),
        Place::Map => doc.get_map("map").insert_container("counter", child()),
        Place::MergeableMap => doc.get_map("map").ensure_mergeable_counter("counter"),
        Place::List => doc.get_list("list").insert_container(0, child()),
        Place::MovableList => doc.get_movable_list("movable").insert_container(0, child()),
        Place::TreeNode => {
            let tree = doc.get_tree("tree");
            let node = tree.create(TreeParentId::Root).unwrap();
            tree.get_meta(node)
                .unwrap()
                .insert_container("counter", child())
        }
        Place::Deep => doc
            .get_map("map")
            .insert_container("list", LoroList::new())
            .and_then(|list| list.insert_container(0, LoroMovableList::new()))
            .and_then(|list| list.insert_container(0, LoroMap::new()))
            .and_then(|map| map.insert_container("counter", child())),
    }
    .unwrap()
}

/// What the engine exports of an author who increments a counter so, in the midst of other work.
fn update_with(place: Place, increments: &[f64]) -> Vec<u8> {
    let doc = LoroDoc::new();
    doc.set_peer_id(1).unwrap();
    doc.get_text("content").insert(0, "before").unwrap();
    let counter = counter_at(&doc, place);
    for increment in increments {
        counter.increment(*increment).unwrap();
    }
    doc.get_text("content").insert(0, "after").unwrap();
    doc.get_list("list").push(0.5).unwrap();
    doc.commit();
    updates_since(&doc, &VersionVector::new())
}

fn is_let_in(update: &[u8]) -> bool {
    match inspect(update, NOW_MS) {
        Ok(_) => true,
        Err(InspectError::InexactIncrement { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// An update whose counter is incremented by `increment`, which the engine would encode as a whole
/// number, in its encoding of fractions.
fn encoded_as_a_fraction(increment: f64) -> Vec<u8> {
    let placeholder = 0.123_f64.to_be_bytes();
    let mut update = update_with(Place::Map, &[0.123]);
    let at = update
        .windows(8)
        .position(|bytes| bytes == placeholder)
        .unwrap();
    update[at..at + 8].copy_from_slice(&increment.to_be_bytes());
    seal(&mut update);
    update
}

#[test]
fn whole_numbers_are_let_in_up_to_the_limit() {
    for place in PLACES {
        for increment in [0, 1, -1, MAX, -MAX] {
            assert!(is_let_in(&update_with(
                place,
                &[1.0, increment as f64, 1.0]
            )));
        }
        // The engine encodes those below 2^27 as whole numbers, and those from there on as fractions.
        for increment in [MAX + 1, -MAX - 1, (1 << 27) - 1, 1 << 27, -1 << 27, 1 << 60] {
            let update = update_with(place, &[1.0, increment as f64, 1.0]);
            assert!(!is_let_in(&update), "{increment} in {place:?}");
        }
    }
}

#[test]
fn what_is_no_whole_number_is_refused_wherever_the_counter_stands() {
    for place in PLACES {
        for increment in [
            0.1,
            -0.1,
            0.5,
            1.0 + f64::EPSILON,
            f64::EPSILON,
            f64::MAX,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            for increments in [
                [increment, 1.0, 2.0],
                [1.0, increment, 2.0],
                [1.0, 2.0, increment],
            ] {
                let update = update_with(place, &increments);
                assert!(!is_let_in(&update), "{increment} in {place:?}");
            }
        }
    }
}

#[test]
fn a_counter_that_is_put_in_with_a_value_is_incremented_by_it() {
    for (value, expected) in [(3.0, true), (0.1, false)] {
        let doc = LoroDoc::new();
        let counter = LoroCounter::new();
        counter.increment(value).unwrap();
        let map = doc.get_map("map");
        map.insert_container("counter", counter).unwrap();
        doc.commit();
        let update = updates_since(&doc, &VersionVector::new());
        assert_eq!(is_let_in(&update), expected, "{value}");
    }
}

#[test]
fn one_author_s_fraction_is_found_among_others_whole_numbers() {
    let docs: Vec<_> = (1..=5)
        .map(|peer| {
            let doc = LoroDoc::new();
            doc.set_peer_id(peer).unwrap();
            let increment = if peer == 3 { -0.25 } else { -25.0 };
            doc.get_counter("counter").increment(increment).unwrap();
            doc.commit();
            doc
        })
        .collect();
    for doc in &docs[1..] {
        docs[0]
            .import(&updates_since(doc, &VersionVector::new()))
            .unwrap();
    }
    let update = updates_since(&docs[0], &VersionVector::new());
    let increment = "-0.25".to_owned();
    assert_eq!(
        inspect(&update, NOW_MS),
        Err(InspectError::InexactIncrement { increment })
    );
}

#[test]
fn whole_numbers_are_let_in_also_as_the_engine_encodes_fractions() {
    for increment in [0.0, -0.0, 3.0, -3.0, MAX as f64, -MAX as f64] {
        let update = encoded_as_a_fraction(increment);
        assert!(is_let_in(&update), "{increment}");
        let reader = CrdtDocument::new(PeerId(2)).unwrap();
        reader.import(&update).unwrap();
        let read = reader.deep_value_json().unwrap();
        assert_eq!(read["map"]["counter"], serde_json::json!(increment + 0.0));
    }
    for increment in [(MAX + 1) as f64, 0.5, f64::NAN, f64::MIN_POSITIVE] {
        assert!(!is_let_in(&encoded_as_a_fraction(increment)), "{increment}");
    }
}

#[test]
fn the_refusal_says_what_to_do() {
    let error = inspect(&update_with(Place::Root, &[0.1]), NOW_MS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a counter is incremented by 0.1, and replicas would not agree on the sum: increment it by \
         whole numbers of at most 1048576 either way, count what has fractions in its smallest unit, \
         and split what is larger"
    );
}

#[test]
fn a_fraction_that_is_logged_already_can_be_read_but_what_is_no_number_can_not() {
    assert!(read(&update_with(Place::Root, &[0.1])).is_ok());
    assert!(read(&update_with(Place::Root, &[1e300])).is_ok());
    for increment in [f64::NAN, f64::INFINITY] {
        assert!(matches!(
            read(&update_with(Place::Root, &[increment])),
            Err(InspectError::InexactIncrement { .. })
        ));
    }
}

/// Any number, whole ones and those near the limit more often than chance would have it.
fn any_increment() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::num::f64::ANY,
        -2.0..2.0_f64,
        (-2 * MAX..=2 * MAX).prop_map(|whole| whole as f64),
        (-4 * MAX..=4 * MAX).prop_map(|halves| halves as f64 / 2.0),
        any::<i64>().prop_map(|whole| whole as f64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn exactly_the_exact_is_let_in(increment in any_increment(), place in 0..PLACES.len()) {
        let update = update_with(PLACES[place], &[increment]);
        // The engine writes what is closer to zero than this as zero, and others see no more of it.
        let is_written_as_zero = increment.abs() < f64::EPSILON;
        let is_whole = increment.is_finite() && increment.trunc() == increment;
        let is_exact = is_whole && increment.abs() <= MAX as f64;
        prop_assert_eq!(is_let_in(&update), is_exact || is_written_as_zero);
    }

    #[test]
    fn what_is_let_in_adds_up_to_the_same_in_every_order(
        increments in prop::collection::vec(
            prop::collection::vec(prop_oneof![-MAX..=MAX, Just(MAX), Just(-MAX), -9..9_i64], 1..5),
            1..8,
        ),
        order in prop::collection::vec(any::<prop::sample::Index>(), 30),
    ) {
        let base = LoroDoc::new();
        base.set_peer_id(1).unwrap();
        let child = counter_at(&base, Place::Deep).id();
        base.commit();
        let known = base.oplog_vv();
        let mut updates = vec![updates_since(&base, &VersionVector::new())];
        let mut expected = 0;
        for (peer, increments) in (2..).zip(&increments) {
            let author = base.fork();
            author.set_peer_id(peer).unwrap();
            for increment in increments {
                expected += increment;
                author.get_counter("counter").increment(*increment as f64).unwrap();
                author.get_counter(child.clone()).decrement(*increment as f64).unwrap();
            }
            author.commit();
            updates.push(updates_since(&author, &known));
        }
        for update in &updates {
            prop_assert!(is_let_in(update));
        }

        let forwards = CrdtDocument::new(PeerId(100)).unwrap();
        for update in &updates {
            forwards.import(update).unwrap();
        }
        let sums = forwards.deep_value_json().unwrap();
        // A root that holds nothing is not shown, and a counter at zero holds nothing.
        let sum = sums["counter"].as_f64().unwrap_or_default();
        let child_sum = sums["map"]["list"][0][0]["counter"].as_f64().unwrap();
        prop_assert_eq!((sum, child_sum), (expected as f64, -expected as f64));

        let hash = forwards.state_hash().unwrap();
        let together = CrdtDocument::new(PeerId(101)).unwrap();
        together.import_batch(&updates).unwrap();
        prop_assert_eq!(together.state_hash().unwrap(), hash);
        for (at, other) in order.iter().enumerate() {
            let (at, other) = (at % updates.len(), other.index(updates.len()));
            updates.swap(at, other);
        }
        let shuffled = CrdtDocument::new(PeerId(102)).unwrap();
        let (first, rest) = updates.split_at(updates.len() / 2);
        for update in first {
            shuffled.import(update).unwrap();
        }
        // Half of the sum as a snapshot holds it, and half of it taken back and done again.
        let snapshot = shuffled.export_snapshot().unwrap();
        let loaded = CrdtDocument::from_snapshot(&snapshot, PeerId(103)).unwrap();
        let before = shuffled.frontiers().unwrap();
        for update in [first, rest].concat() {
            loaded.import(&update).unwrap();
            shuffled.import(&update).unwrap();
        }
        shuffled.check_retreat(&before).unwrap();
        prop_assert_eq!(shuffled.state_hash().unwrap(), hash);
        prop_assert_eq!(loaded.state_hash().unwrap(), hash);
    }
}
