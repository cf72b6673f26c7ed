//! Slices can be imported one by one, each within the bounds of one import.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use crdt_document::{CrdtDocument, CrdtError, Slice, inspect};
use document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX;
use document_types::{CounterSpan, PeerId, VersionVector};
use proptest::prelude::*;
use support::{Editors, updates_since};

const NOW_MS: u64 = 4_000_000_000_000;

/// Imports each slice by itself and checks that it was applied whole, and is what it says.
fn import_one_by_one(document: &CrdtDocument, slices: &[Slice]) {
    for slice in slices {
        let inspected = inspect(&slice.bytes, NOW_MS).unwrap();
        assert!(slice.inserted_text_bytes as usize <= INSERTED_TEXT_PER_IMPORT_BYTES_MAX);
        assert_eq!(inspected.inserted_text_bytes, slice.inserted_text_bytes);
        let outcome = document.import(&slice.bytes).unwrap();
        assert_eq!(outcome.pending, []);
        assert_eq!(outcome.applied, [slice.span]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_is_known_already(seed: u64, editors in 1_usize..5, rounds in 2_usize..60) {
        let mut editors = Editors::new(seed, editors);
        editors.run(rounds / 2);
        editors.meet();
        let known = updates_since(&editors.docs[0], &loro::VersionVector::new());
        editors.run(rounds);
        editors.meet();
        let whole = CrdtDocument::new(PeerId(1)).unwrap();
        whole.import(&updates_since(&editors.docs[0], &loro::VersionVector::new())).unwrap();

        for known in [None, Some(known)] {
            let reader = CrdtDocument::new(PeerId(2)).unwrap();
            known.iter().for_each(|known| drop(reader.import(known).unwrap()));
            let slices = whole.export_since_in_slices(&reader.version().unwrap()).unwrap();
            import_one_by_one(&reader, &slices);
            prop_assert_eq!(reader.version().unwrap(), whole.version().unwrap());
            prop_assert_eq!(reader.state_hash().unwrap(), whole.state_hash().unwrap());
        }
    }
}

#[test]
fn one_insertion_of_half_a_megabyte_is_cut_at_characters() {
    let text: String = (0..180_000)
        .map(|i| ['a', 'ü', '語', '👩'][i % 4])
        .collect();
    let author = CrdtDocument::new(PeerId(1)).unwrap();
    author.insert_text("content", 0, "<>").unwrap();
    let before = author.version().unwrap();
    // As somebody else's client may write it.
    let content = author.engine().get_text("content");
    content.insert(1, &text).unwrap();
    author.commit().unwrap();

    let slices = author.export_since_in_slices(&before).unwrap();
    assert!(text.len() > 400_000 && slices.len() == text.len().div_ceil(16 * 1024));
    let reader = CrdtDocument::new(PeerId(2)).unwrap();
    reader
        .import(
            &author
                .export_spans(&[CounterSpan {
                    peer: PeerId(1),
                    start: 0,
                    end: 2,
                }])
                .unwrap(),
        )
        .unwrap();
    import_one_by_one(&reader, &slices);
    assert_eq!(reader.text().unwrap(), format!("<{text}>"));
    assert_eq!(reader.state_hash().unwrap(), author.state_hash().unwrap());
}

#[test]
fn a_clients_large_update_is_cut_before_it_is_let_in() {
    let author = CrdtDocument::new(PeerId(1)).unwrap();
    author.insert_text("content", 0, "intro ").unwrap();
    let server = CrdtDocument::detached().unwrap();
    server
        .import(&author.take_local_update().unwrap().unwrap())
        .unwrap();
    author
        .insert_text("content", 6, &"paste ".repeat(50_000))
        .unwrap();
    let update = author.take_local_update().unwrap().unwrap();
    let before = server.version().unwrap();

    let span = CounterSpan {
        peer: PeerId(1),
        start: 6,
        end: 300_006,
    };
    let slices = server.slice_update(&update, span).unwrap();
    assert_eq!(server.version().unwrap(), before, "cutting changes nothing");
    assert_eq!(slices.len(), 19);
    import_one_by_one(&server, &slices);
    server.materialise().unwrap();
    assert_eq!(server.state_hash().unwrap(), author.state_hash().unwrap());
}

#[test]
fn of_an_update_only_the_span_that_was_asked_for_is_cut_out() {
    let (author, other) = (
        CrdtDocument::new(PeerId(1)).unwrap(),
        CrdtDocument::new(PeerId(2)).unwrap(),
    );
    author.insert_text("content", 0, "mine").unwrap();
    let server = CrdtDocument::detached().unwrap();
    server
        .import(&author.take_local_update().unwrap().unwrap())
        .unwrap();
    other.insert_text("content", 0, "theirs").unwrap();
    author
        .import(&other.take_local_update().unwrap().unwrap())
        .unwrap();
    author.insert_text("content", 0, "more").unwrap();
    let rejoin = author.export_since(&server.version().unwrap()).unwrap();

    let span = CounterSpan {
        peer: PeerId(2),
        start: 0,
        end: 6,
    };
    let slices = server.slice_update(&rejoin, span).unwrap();
    let spans: Vec<_> = slices.iter().map(|slice| slice.span).collect();
    assert_eq!(spans, [span]);
    import_one_by_one(&server, &slices);
    let span = CounterSpan {
        peer: PeerId(1),
        start: 0,
        end: 8,
    };
    let slices = server.slice_update(&rejoin, span).unwrap();
    let own = CounterSpan { start: 4, ..span };
    assert_eq!(slices[0].span, own, "what is known already is left out");
}

#[test]
fn an_update_that_does_not_follow_is_not_cut() {
    let author = CrdtDocument::new(PeerId(1)).unwrap();
    author.insert_text("content", 0, "a").unwrap();
    author.take_local_update().unwrap();
    author.insert_text("content", 0, "b").unwrap();
    let second = author.take_local_update().unwrap().unwrap();
    let span = CounterSpan {
        peer: PeerId(1),
        start: 1,
        end: 2,
    };
    assert!(matches!(
        CrdtDocument::detached()
            .unwrap()
            .slice_update(&second, span),
        Err(CrdtError::MissingDependency { .. })
    ));
}

#[test]
fn a_style_is_never_cut_between_its_begin_and_its_end() {
    let author = CrdtDocument::new(PeerId(1)).unwrap();
    author
        .insert_text("content", 0, &"x".repeat(16 * 1024))
        .unwrap();
    // One operation that is not in a pair, so that the bound falls within one.
    author.set_map_text("map", "key", "value").unwrap();
    for start in 0..6_000 {
        author
            .engine()
            .get_text("content")
            .mark(start..start + 1, "bold", true)
            .unwrap();
    }
    author.commit().unwrap();
    let slices = author
        .export_since_in_slices(&VersionVector::new())
        .unwrap();
    assert_eq!(slices.len(), 3);
    let reader = CrdtDocument::new(PeerId(2)).unwrap();
    import_one_by_one(&reader, &slices);
    assert_eq!(reader.state_hash().unwrap(), author.state_hash().unwrap());
}
