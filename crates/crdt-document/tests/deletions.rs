//! Whether what deletions take is what they name.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use std::time::Duration;

use crdt_document::{CrdtDocument, CrdtError, inspect, quiet_guarded_panics};
use document_types::PeerId;
use loro::{JsonChange, JsonListOp, JsonOpContent, JsonTextOp, LoroDoc};
use support::{Editors, forged, load};

const NOW_MS: u64 = 4_000_000_000_000;

fn take(document: &CrdtDocument, updates: &[Vec<u8>]) -> Result<(), CrdtError> {
    let inspected: Vec<_> = updates
        .iter()
        .map(|update| inspect(update, NOW_MS).unwrap())
        .collect();
    let before = document.frontiers()?;
    let no_time = || Duration::ZERO;
    let (outcome, _) = document.import_batch_checked(updates, &inspected, no_time)?;
    assert!(outcome.pending.is_empty());
    document.check_retreat(&before)
}

#[test]
fn whatever_honest_editors_delete_passes() {
    for seed in 0..30_u8 {
        let mut editors = Editors::new(seed.into(), 4);
        editors.run(80);
        let document = CrdtDocument::new(PeerId(1)).unwrap();
        for updates in editors.updates.chunks(1 + usize::from(seed % 4)) {
            take(&document, updates).unwrap();
        }
    }
}

/// The same text is cut by two people at once, and each has typed into it.
#[test]
fn what_was_deleted_before_may_be_named_again() {
    let ground = CrdtDocument::new(PeerId(1)).unwrap();
    let words = "some words ".repeat(40);
    ground.insert_text("content", 0, &words).unwrap();
    let snapshot = ground.export_snapshot().unwrap();
    let known = ground.version().unwrap();
    let cut = |peer: u64, at: usize, len: usize| {
        let writer = load(&snapshot, peer);
        writer.insert_text("content", at + 5, "new").unwrap();
        let text = writer.engine().get_text("content");
        text.delete(at, len).unwrap();
        writer.insert_text("content", at, "instead").unwrap();
        writer.commit().unwrap();
        writer.export_since(&known).unwrap().to_vec()
    };
    let cuts = [cut(2, 10, 300), cut(3, 150, 250), cut(4, 0, 440)];
    let reader = load(&snapshot, 5);
    take(&reader, &cuts[..1]).unwrap();
    take(&reader, &cuts[1..]).unwrap();
}

/// Changes what each deletion says.
fn in_deletions(forge: impl Fn(Deletion<'_>)) -> impl FnOnce(&mut Vec<JsonChange>) {
    move |changes| {
        for op in changes.iter_mut().flat_map(|change| &mut change.ops) {
            if let JsonOpContent::Text(JsonTextOp::Delete { pos, start_id, .. })
            | JsonOpContent::List(JsonListOp::Delete { pos, start_id, .. }) = &mut op.content
            {
                forge(Deletion { pos, start_id });
            }
        }
    }
}

struct Deletion<'a> {
    pos: &'a mut i32,
    start_id: &'a mut loro::ID,
}

#[test]
fn deletions_that_take_what_they_do_not_name_are_refused() {
    quiet_guarded_panics();
    let ground = CrdtDocument::new(PeerId(1)).unwrap();
    ground.insert_text("content", 0, "0123456789").unwrap();
    let list = ground.engine().get_list("list");
    (0..10).for_each(|i| list.push(i).unwrap());
    ground.commit().unwrap();
    let snapshot = ground.export_snapshot().unwrap();
    let concurrent = {
        let writer = load(&snapshot, 7);
        writer.insert_text("content", 1, "between").unwrap();
        writer
            .engine()
            .get_list("list")
            .insert(1, "between")
            .unwrap();
        writer.commit().unwrap();
        writer.export_since(&ground.version().unwrap()).unwrap()
    };
    type Edit = fn(&LoroDoc);
    let edits: [Edit; 3] = [
        |doc| doc.get_text("content").delete(3, 2).unwrap(),
        |doc| doc.get_list("list").delete(3, 2).unwrap(),
        |doc| {
            let text = doc.get_text("content");
            text.insert(4, "own").unwrap();
            text.delete(2, 6).unwrap();
        },
    ];
    type Forge = fn(Deletion<'_>);
    let forges: [Forge; 3] = [
        |deletion| *deletion.pos -= 1,
        |deletion| deletion.start_id.counter += 1,
        // An element that nobody has made.
        |deletion| deletion.start_id.counter += 1_000,
    ];
    for (edited, edit) in edits.into_iter().enumerate() {
        for is_concurrent in [false, true] {
            let reader = || {
                let reader = load(&snapshot, 4);
                if is_concurrent {
                    reader.import(&concurrent).unwrap();
                }
                reader
            };
            take(&reader(), &[forged(&snapshot, edit, |_| {})]).unwrap();
            for (how, forge) in forges.into_iter().enumerate() {
                let outcome = take(&reader(), &[forged(&snapshot, edit, in_deletions(forge))]);
                assert!(
                    matches!(
                        outcome,
                        Err(CrdtError::ForeignDeletion | CrdtError::Panicked { .. })
                    ),
                    "edit {edited} forged by {how}, concurrent {is_concurrent}: {outcome:?}"
                );
            }
        }
    }
}
