//! The conflicts of the field's textbooks, one test each. `docs/conflicts.md` shows the same outcomes
//! to people; whoever changes one changes the other.
//!
//! Every case is merged in both orders of arrival. The order in which the server stamped the edits is
//! the order of arrival, so equal outcomes say that stamps don't decide a merge.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

use crdt_document::{CONTENT, CrdtDocument};
use document_types::PeerId;
use loro::UndoManager;

/// Two people who have the same text and don't see each other's edits yet.
struct Pair {
    ada: CrdtDocument,
    bob: CrdtDocument,
}

impl Pair {
    fn sharing(text: &str) -> Self {
        let start = CrdtDocument::new(PeerId(1)).unwrap();
        start.insert_text(CONTENT, 0, text).unwrap();
        start.commit().unwrap();
        let snapshot = start.export_snapshot().unwrap();
        let load = |peer| CrdtDocument::from_snapshot(&snapshot, PeerId(peer)).unwrap();
        Self {
            ada: load(2),
            bob: load(3),
        }
    }

    /// The text after both have seen everything, checked to be the same for both and for servers
    /// that saw Ada's edits first, or Bob's.
    fn merged(&self) -> String {
        self.ada.commit().unwrap();
        self.bob.commit().unwrap();
        let (ada_knew, bob_knew) = (self.ada.version().unwrap(), self.bob.version().unwrap());
        let from_ada = self.ada.export_since(&bob_knew).unwrap();
        let from_bob = self.bob.export_since(&ada_knew).unwrap();
        let (ada_all, bob_all) = (
            self.ada.export_since(&Default::default()),
            self.bob.export_since(&Default::default()),
        );
        let texts = [
            [ada_all.as_ref(), bob_all.as_ref()],
            [bob_all.as_ref(), ada_all.as_ref()],
        ]
        .map(|order| {
            let server = CrdtDocument::new(PeerId(9)).unwrap();
            for update in order {
                server.import(update.unwrap()).unwrap();
            }
            (server.text().unwrap(), server.state_hash().unwrap())
        });
        assert_eq!(texts[0], texts[1], "the order of arrival decided");
        self.ada.import(&from_bob).unwrap();
        self.bob.import(&from_ada).unwrap();
        assert_eq!(self.ada.text().unwrap(), texts[0].0);
        assert_eq!(self.bob.text().unwrap(), texts[0].0);
        assert_eq!(self.ada.state_hash().unwrap(), texts[0].1);
        texts[0].0.clone()
    }
}

fn replace(document: &CrdtDocument, text: &str, by: &str) {
    let content = document.text().unwrap();
    let at = content[..content.find(text).unwrap()].chars().count();
    document
        .delete_text(CONTENT, at, text.chars().count())
        .unwrap();
    document.insert_text(CONTENT, at, by).unwrap();
}

fn insert_after(document: &CrdtDocument, text: &str, inserted: &str) {
    let content = document.text().unwrap();
    let at = content[..content.find(text).unwrap() + text.len()]
        .chars()
        .count();
    document.insert_text(CONTENT, at, inserted).unwrap();
}

#[test]
fn both_replace_one_word() {
    let pair = Pair::sharing("a good day");
    replace(&pair.ada, "good", "great");
    replace(&pair.bob, "good", "fine");
    // Both words stand, whole and side by side; the old one is gone once.
    assert_eq!(pair.merged(), "a greatfine day");
}

#[test]
fn one_deletes_the_line_into_which_the_other_types() {
    let pair = Pair::sharing("first\nsecond\nthird");
    replace(&pair.ada, "second\n", "");
    insert_after(&pair.bob, "sec", "XYZ");
    // What Bob typed stays, where the line was; what was there when Ada deleted it goes.
    assert_eq!(pair.merged(), "first\nXYZthird");
}

#[test]
fn two_insert_at_one_place() {
    let pair = Pair::sharing("[]");
    insert_after(&pair.ada, "[", "ada");
    insert_after(&pair.bob, "[", "bob");
    // One after the other, never letter by letter.
    assert_eq!(pair.merged(), "[adabob]");
}

#[test]
fn undo_takes_back_ones_own_edit_across_anothers() {
    let pair = Pair::sharing("one three");
    let mut undo = UndoManager::new(pair.ada.engine());
    insert_after(&pair.ada, "one", " two");
    pair.ada.commit().unwrap();
    insert_after(&pair.bob, "three", " four");
    assert_eq!(pair.merged(), "one two three four");
    assert!(undo.undo().unwrap());
    assert_eq!(pair.merged(), "one three four");
    assert!(undo.redo().unwrap());
    assert_eq!(pair.merged(), "one two three four");
}
