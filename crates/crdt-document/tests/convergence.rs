//! The same operations give the same state hash, however and in whatever order they came.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use crdt_document::{CrdtDocument, Overlap};
use document_types::{CounterSpan, PeerId, VersionVector};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use support::{Editors, updates_since};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn in_any_order_and_by_any_way(seed: u64, editors in 1_usize..5, rounds in 1_usize..60) {
        let mut editors = Editors::new(seed, editors);
        editors.run(rounds);
        editors.meet();
        let whole = CrdtDocument::new(PeerId(1)).unwrap();
        whole.import(&updates_since(&editors.docs[0], &loro::VersionVector::new())).unwrap();
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

        // From a snapshot.
        let snapshot = batched.export_snapshot().unwrap();
        let loaded = CrdtDocument::from_snapshot(&snapshot, PeerId(4)).unwrap();
        prop_assert_eq!(loaded.state_hash().unwrap(), expected);
        prop_assert_eq!(loaded.deep_value_json().unwrap(), whole.deep_value_json().unwrap());
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
