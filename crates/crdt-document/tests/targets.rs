//! Whether what operations name was ever in their container.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use crdt_document::{CrdtDocument, CrdtError, inspect, quiet_guarded_panics};
use document_types::{PeerId, VersionVector};
use loro::{
    ContainerID, ContainerType, JsonChange, JsonMovableListOp, JsonOpContent, LoroDoc, LoroMap,
    LoroMovableList, LoroTree, TreeParentId,
};
use support::{Editors, forged, load};

const NOW_MS: u64 = 4_000_000_000_000;
const ROOT: TreeParentId = TreeParentId::Root;

/// A document with two nodes in a tree, two elements in a movable list, and the same within a map.
fn ground() -> (Vec<u8>, VersionVector) {
    let doc = LoroDoc::new();
    doc.set_peer_id(1).unwrap();
    doc.get_text("content").insert(0, "hello").unwrap();
    let map = doc.get_map("map");
    let trees = [
        doc.get_tree("tree"),
        map.insert_container("tree", LoroTree::new()).unwrap(),
    ];
    for tree in trees {
        tree.create(ROOT).unwrap();
        tree.create(ROOT).unwrap();
    }
    let lists = [
        doc.get_movable_list("list"),
        map.insert_container("list", LoroMovableList::new())
            .unwrap(),
    ];
    for list in lists {
        list.push("a").unwrap();
        list.push("b").unwrap();
    }
    doc.commit();
    let snapshot = doc.export(loro::ExportMode::Snapshot).unwrap();
    let version = load(&snapshot, 9).version().unwrap();
    (snapshot, version)
}

/// Imports an update that passes inspection, and checks what it names.
fn take(document: &CrdtDocument, update: &[u8]) -> Result<(), CrdtError> {
    let inspected = inspect(update, NOW_MS).unwrap();
    assert_eq!(inspected.missing(&document.version().unwrap()), None);
    assert!(document.import(update)?.pending.is_empty());
    document.check_targets(&inspected)
}

/// Moves all operations of a kind to another root of that kind.
fn to_other_root(kind: ContainerType) -> impl FnOnce(&mut Vec<JsonChange>) {
    move |changes| {
        for op in changes.iter_mut().flat_map(|change| &mut change.ops) {
            if op.container.container_type() == kind {
                op.container = ContainerID::new_root("other", kind);
            }
        }
    }
}

/// The update is harmful, and if importing it goes well it is refused all the same.
fn assert_refused(snapshot: &[u8], update: &[u8], name: &str) {
    quiet_guarded_panics();
    let detached = load(snapshot, 4);
    detached.detach().unwrap();
    let outcome = take(&detached, update);
    assert!(
        matches!(outcome, Err(CrdtError::ForeignTarget { .. })),
        "{name}: {outcome:?}"
    );
    let attached = take(&load(snapshot, 4), update);
    assert!(
        matches!(
            attached,
            Err(CrdtError::ForeignTarget { .. } | CrdtError::Panicked { .. })
        ),
        "{name}: {attached:?}"
    );
}

#[test]
fn nodes_that_the_tree_never_had_are_refused() {
    let (snapshot, _) = ground();
    type Edit = fn(&LoroTree);
    let edits: [(&str, Edit); 4] = [
        ("move", |tree| {
            let roots = tree.roots();
            tree.mov(roots[1], roots[0]).unwrap();
        }),
        ("move to the root", |tree| {
            tree.mov_after(tree.roots()[0], tree.roots()[1]).unwrap();
        }),
        ("create", |tree| {
            tree.create(tree.roots()[0]).unwrap();
        }),
        ("delete", |tree| tree.delete(tree.roots()[1]).unwrap()),
    ];
    for (name, edit) in edits {
        let honest = forged(&snapshot, |doc| edit(&doc.get_tree("tree")), |_| {});
        take(&load(&snapshot, 4), &honest).unwrap();
        let other = to_other_root(ContainerType::Tree);
        let mutant = forged(&snapshot, |doc| edit(&doc.get_tree("tree")), other);
        assert_refused(&snapshot, &mutant, name);
    }
}

#[test]
fn elements_that_the_list_never_had_are_refused() {
    let (snapshot, _) = ground();
    type Edit = fn(&LoroMovableList);
    let edits: [(&str, Edit); 2] = [
        ("move", |list| list.mov(0, 1).unwrap()),
        ("set", |list| list.set(0, "c").unwrap()),
    ];
    for (name, edit) in edits {
        let write = |doc: &LoroDoc| edit(&doc.get_movable_list("list"));
        take(&load(&snapshot, 4), &forged(&snapshot, write, |_| {})).unwrap();
        let other = to_other_root(ContainerType::MovableList);
        assert_refused(&snapshot, &forged(&snapshot, write, other), name);
    }
    // An operation of the same list that made no element, and one that is no operation of a list.
    for lamport in [0, 1] {
        let mutant = forged(
            &snapshot,
            |doc| {
                doc.get_movable_list("list").set(0, "c").unwrap();
            },
            |changes| {
                let JsonOpContent::MovableList(JsonMovableListOp::Set { elem_id, .. }) =
                    &mut changes[0].ops[0].content
                else {
                    panic!("it is a set");
                };
                elem_id.lamport = lamport;
            },
        );
        assert_refused(&snapshot, &mutant, "made by another kind of operation");
    }
}

#[test]
fn nodes_and_elements_that_their_namer_did_not_know_are_refused() {
    let (snapshot, _) = ground();
    let base = load(&snapshot, 7);
    let node = base.engine().get_tree("tree").create(ROOT).unwrap();
    base.engine().get_movable_list("list").push("new").unwrap();
    base.commit().unwrap();
    let with_new = base.export_snapshot().unwrap();
    let type_first = |doc: &LoroDoc| doc.get_text("content").insert(0, "some time").unwrap();
    let forget = |changes: &mut Vec<JsonChange>| {
        // The writer's own first change says that it was written on top of nothing.
        changes[0].deps = vec![];
    };
    let moves = |doc: &LoroDoc| {
        type_first(doc);
        let tree = doc.get_tree("tree");
        tree.mov(node, tree.roots()[0]).unwrap();
    };
    let sets = |doc: &LoroDoc| {
        // Its lamport time has to be later than what it names all the same.
        (0..4).for_each(|_| type_first(doc));
        doc.get_movable_list("list").set(2, "newer").unwrap();
    };
    assert_refused(&with_new, &forged(&with_new, moves, forget), "node");
    assert_refused(&with_new, &forged(&with_new, sets, forget), "element");
    take(&load(&with_new, 4), &forged(&with_new, moves, |_| {})).unwrap();
    take(&load(&with_new, 4), &forged(&with_new, sets, |_| {})).unwrap();
}

/// Two people move, delete and set the same nodes and elements at the same time, at the top and in a
/// map. Whoever has one's edits takes the other's, loaded or live.
#[test]
fn concurrent_edits_of_the_same_nodes_and_elements_pass() {
    let (snapshot, version) = ground();
    let edit = |peer: u64| {
        let document = load(&snapshot, peer);
        let doc = document.engine();
        let map: LoroMap = doc.get_map("map");
        let nested = |key: &str| map.get(key).unwrap().into_container().unwrap();
        for tree in [doc.get_tree("tree"), nested("tree").into_tree().unwrap()] {
            let roots = tree.roots();
            let child = tree.create(roots[0]).unwrap();
            if peer == 2 {
                tree.mov(roots[1], child).unwrap();
                tree.delete(roots[0]).unwrap();
            } else {
                tree.mov(roots[0], roots[1]).unwrap();
                tree.mov(child, roots[1]).unwrap();
            }
        }
        for list in [
            doc.get_movable_list("list"),
            nested("list").into_movable_list().unwrap(),
        ] {
            list.push("own").unwrap();
            list.set(2, "changed").unwrap();
            list.mov(0, 1).unwrap();
            if peer == 2 {
                list.delete(0, 2).unwrap();
            } else {
                list.set(1, "both").unwrap();
            }
        }
        document.commit().unwrap();
        document
    };
    let (one, other) = (edit(2), edit(3));
    let updates = [&one, &other].map(|document| document.export_since(&version).unwrap());
    for (first, second) in [(0, 1), (1, 0)] {
        let live = load(&snapshot, 4);
        take(&live, &updates[first]).unwrap();
        let loaded = load(&live.export_snapshot().unwrap(), 5);
        take(&live, &updates[second]).unwrap();
        take(&loaded, &updates[second]).unwrap();
        assert_eq!(live.state_hash().unwrap(), loaded.state_hash().unwrap());
    }
    // Both at once, and on top of both the moves of what one of them deleted.
    let (known, late) = (one.version().unwrap(), load(&snapshot, 6));
    late.import(&updates[1]).unwrap();
    let tree = late.engine().get_tree("tree");
    tree.mov(tree.roots()[0], ROOT).unwrap();
    late.commit().unwrap();
    take(&one, &late.export_since(&known).unwrap()).unwrap();
}

/// Undoing a deletion names the deleted node again, and the engine writes that as a creation of its own
/// in between.
#[test]
fn undoing_and_redoing_passes() {
    let (snapshot, mut known) = ground();
    let (writer, reader) = (load(&snapshot, 2), load(&snapshot, 3));
    let doc = writer.engine();
    let mut undo = loro::UndoManager::new(doc);
    undo.set_merge_interval(0);
    let (tree, list) = (doc.get_tree("tree"), doc.get_movable_list("list"));
    let edits: [&dyn Fn(); 5] = [
        &|| tree.mov(tree.roots()[1], tree.roots()[0]).unwrap(),
        &|| tree.delete(tree.roots()[0]).unwrap(),
        &|| list.mov(0, 1).unwrap(),
        &|| list.set(0, "changed").unwrap(),
        &|| list.delete(0, 2).unwrap(),
    ];
    for edit in edits {
        edit();
        writer.commit().unwrap();
    }
    let mut told = 0;
    for round in 0..4 {
        for _ in 0..edits.len() {
            let update = writer.export_since(&known).unwrap();
            take(&reader, &update).unwrap();
            known = writer.version().unwrap();
            told += u32::from(if round % 2 == 0 {
                undo.undo().unwrap()
            } else {
                undo.redo().unwrap()
            });
        }
    }
    assert_eq!(told, 20, "each is undone and redone twice");
    let rest = writer.export_since(&known).unwrap();
    take(&reader, &rest).unwrap();
    assert_eq!(reader.state_hash().unwrap(), writer.state_hash().unwrap());
}

#[test]
fn whatever_honest_editors_do_passes() {
    for seed in 0..12 {
        let mut editors = Editors::new(seed, 4);
        editors.run(60);
        let mut document = CrdtDocument::new(PeerId(u64::MAX - 1)).unwrap();
        let mut named = 0;
        for (index, update) in editors.updates.iter().enumerate() {
            named += u32::from(inspect(update, NOW_MS).unwrap().names_targets);
            take(&document, update).unwrap();
            if index % 10 == 9 {
                document = load(&document.export_snapshot().unwrap(), 8);
            }
        }
        assert!(named > 5, "only {named} updates name anything");
    }
}

#[test]
fn what_names_nothing_says_so() {
    let (snapshot, version) = ground();
    let document = load(&snapshot, 2);
    let doc = document.engine();
    doc.get_text("content").insert(0, "text").unwrap();
    doc.get_map("map").insert("key", "value").unwrap();
    doc.get_movable_list("list").push("c").unwrap();
    doc.get_tree("tree").create(ROOT).unwrap();
    document.commit().unwrap();
    let update = document.export_since(&version).unwrap();
    assert!(!inspect(&update, NOW_MS).unwrap().names_targets);
}

/// Two people who create a node at the same time, in trees whose positions end in random bytes.
fn jittered_neighbours() -> Vec<Vec<u8>> {
    [1, 2]
        .map(|peer| {
            let doc = LoroDoc::new();
            doc.set_peer_id(peer).unwrap();
            let tree = doc.get_tree("tree");
            tree.enable_fractional_index(1);
            // Of several such nodes one at least ends in something else than the end of a position.
            for _ in 0..4 {
                tree.create_at(ROOT, 0).unwrap();
            }
            doc.commit();
            doc.export(loro::ExportMode::all_updates()).unwrap()
        })
        .into()
}

#[test]
fn positions_without_an_end_are_refused() {
    for update in jittered_neighbours() {
        let refused = inspect(&update, NOW_MS).unwrap_err();
        assert!(refused.to_string().contains("has no end"), "{refused}");
    }
}

#[test]
fn what_the_engine_makes_of_trees_by_itself_passes() {
    let doc = LoroDoc::new();
    doc.set_peer_id(1).unwrap();
    let tree = doc.get_tree("tree");
    for round in 0..300 {
        let middle = tree.children_num(ROOT).unwrap_or(0) / 2;
        let node = tree.create_at(ROOT, middle).unwrap();
        match round % 3 {
            0 => tree.mov_to(node, ROOT, 0).unwrap(),
            1 => tree.mov_after(node, tree.roots()[0]).unwrap(),
            _ if round % 30 == 2 => tree.delete(node).unwrap(),
            _ => {}
        }
    }
    doc.commit();
    let update = doc.export(loro::ExportMode::all_updates()).unwrap();
    inspect(&update, NOW_MS).unwrap();
}
