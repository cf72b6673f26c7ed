//! The same operations give the same state hash, however and in whatever order they came.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use crdt_document::{CrdtDocument, Overlap};
use document_types::{CounterSpan, PeerId, VersionVector};
use proptest::prelude::*;
use rand::Rng;
use rand::seq::SliceRandom;
use support::{Editors, updates_since};

/// `cases` unless `PROPTEST_CASES` asks for another number, which `with_cases` would not heed.
#[allow(clippy::disallowed_methods)] // Whoever runs more of them says so.
fn config(cases: u32) -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default()
    } else {
        ProptestConfig::with_cases(cases)
    }
}

/// What a few editors wrote gives one state, however and in whatever order a replica gets it.
fn converge(seed: u64, editors: usize, rounds: usize) -> Result<(), TestCaseError> {
    let mut editors = Editors::new(seed, editors);
    editors.run(rounds);
    editors.meet();
    let whole = CrdtDocument::new(PeerId(1)).unwrap();
    whole
        .import(&updates_since(
            &editors.docs[0],
            &loro::VersionVector::new(),
        ))
        .unwrap();
    let expected = whole.state_hash().unwrap();

    // One by one, shuffled, each twice: what comes too early waits in the engine.
    let shuffled = CrdtDocument::new(PeerId(2)).unwrap();
    let mut updates = [editors.updates.clone(), editors.updates.clone()].concat();
    updates.shuffle(&mut editors.rng);
    for update in &updates {
        shuffled.import(update).unwrap();
    }
    prop_assert_eq!(shuffled.state_hash().unwrap(), expected);

    // As batches, with another root named in vain.
    let batched = CrdtDocument::new(PeerId(3)).unwrap();
    batched.text_in("never written").unwrap();
    for batch in editors.updates.chunks(5) {
        batched.import_batch(batch).unwrap();
    }
    prop_assert_eq!(batched.state_hash().unwrap(), expected);

    // Detached, then materialised.
    let detached = CrdtDocument::detached().unwrap();
    for update in &editors.updates {
        detached.import(update).unwrap();
    }
    prop_assert_eq!(detached.state_hash().unwrap(), expected);
    prop_assert!(detached.is_detached().unwrap());

    // From a snapshot, whose containers are decoded when they are first read: once as they lie there,
    // and once more after everything has been read.
    let snapshot = batched.export_snapshot().unwrap();
    let loaded = CrdtDocument::from_snapshot(&snapshot, PeerId(4)).unwrap();
    prop_assert_eq!(loaded.state_hash().unwrap(), expected);
    prop_assert_eq!(
        loaded.deep_value_json().unwrap(),
        whole.deep_value_json().unwrap()
    );
    prop_assert_eq!(loaded.state_hash().unwrap(), expected);

    // From a snapshot of the first half, with the rest shuffled on top.
    let (first, rest) = editors.updates.split_at(editors.updates.len() / 2);
    let early = CrdtDocument::new(PeerId(5)).unwrap();
    early.import_batch(first).unwrap();
    let half = early.export_snapshot().unwrap();
    let joined = CrdtDocument::from_snapshot(&half, PeerId(6)).unwrap();
    let mut rest = rest.to_vec();
    rest.shuffle(&mut editors.rng);
    for update in &rest {
        joined.import(update).unwrap();
    }
    prop_assert_eq!(joined.state_hash().unwrap(), expected);

    // Taken back now and then to a version it had before, as the gate does; and with the later updates
    // first, so that many wait.
    let retreating = CrdtDocument::new(PeerId(7)).unwrap();
    let mut versions = vec![retreating.frontiers().unwrap()];
    for update in rest.iter().chain(first) {
        retreating.import(update).unwrap();
        versions.push(retreating.frontiers().unwrap());
        if editors.rng.random_bool(0.2) {
            let before = editors.rng.random_range(0..versions.len());
            retreating.check_retreat(&versions[before]).unwrap();
        }
    }
    prop_assert_eq!(retreating.state_hash().unwrap(), expected);
    Ok(())
}

/// A text of nothing but style anchors was empty or not depending on whether the engine had decoded
/// it, so that what was loaded from a snapshot differed.
#[test]
fn a_case_that_once_differed() {
    converge(15_135_556_895_586_758_211, 2, 36).unwrap();
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn in_any_order_and_by_any_way(seed: u64, editors in 1_usize..5, rounds in 1_usize..60) {
        converge(seed, editors, rounds)?;
    }

    #[test]
    fn an_export_with_other_boundaries_is_the_same_operations(
        seed: u64, editors in 1_usize..4, rounds in 1_usize..40
    ) {
        let mut editors = Editors::new(seed, editors);
        editors.run(rounds);
        editors.meet();
        let document = CrdtDocument::new(PeerId(1)).unwrap();
        for update in &editors.updates {
            document.import(update).unwrap();
        }
        // A replica that took everything in at once cuts its changes elsewhere.
        let other = CrdtDocument::from_snapshot(&document.export_snapshot().unwrap(), PeerId(2)).unwrap();
        for span in document.version().unwrap().beyond(&VersionVector::new()) {
            let update = other.export_spans(&[span]).unwrap();
            let middle = span.end / 2;
            for overlap in [span, CounterSpan { start: middle, ..span }, CounterSpan { end: middle.max(1), ..span }] {
                prop_assert_eq!(document.compare_overlap(&update, overlap).unwrap(), Overlap::Equal);
            }
        }
    }
}

#[test]
fn applied_is_exactly_what_moved_the_version() {
    let mut editors = Editors::new(11, 4);
    editors.run(120);
    let document = CrdtDocument::new(PeerId(1)).unwrap();
    let mut updates = editors.updates.clone();
    updates.shuffle(&mut editors.rng);
    for update in &updates {
        let before = document.version().unwrap();
        let outcome = document.import(update).unwrap();
        let moved: Vec<_> = document.version().unwrap().beyond(&before).collect();
        assert_eq!(outcome.applied, moved);
    }
}

#[test]
fn a_batch_that_holds_a_refused_update_keeps_what_came_before_it() {
    let author = CrdtDocument::new(PeerId(1)).unwrap();
    author.insert_text("content", 0, "a").unwrap();
    let good = author.take_local_update().unwrap().unwrap();
    let mut bad = good.to_vec();
    bad.truncate(30);
    support::seal(&mut bad);
    let reader = CrdtDocument::new(PeerId(2)).unwrap();
    assert!(reader.import_batch(&[good.to_vec(), bad]).is_err());
    assert!(!reader.is_detached().unwrap());
    assert_eq!(reader.text().unwrap(), "a");
}
