//! Editors that do everything the engine can, from a seed.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.
#![allow(dead_code)] // Each test binary uses a part of it.

use crdt_document::CrdtDocument;
use document_types::PeerId;
use loro::{
    ExpandType, JsonChange, LoroCounter, LoroDoc, LoroList, LoroMap, LoroMovableList, LoroText,
    LoroTree, LoroValue, StyleConfig, StyleConfigMap, TreeParentId, VersionVector,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Several replicas of one document, of which each edits and now and then takes in another's.
pub struct Editors {
    pub docs: Vec<LoroDoc>,
    pub rng: SmallRng,
    /// Every update that was exported on the way, with what its writer's replica held before it.
    pub updates: Vec<Vec<u8>>,
}

impl Editors {
    pub fn new(seed: u64, count: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let docs = (0..count)
            .map(|_| {
                let doc = LoroDoc::new();
                doc.set_peer_id(rng.random_range(0..u64::MAX)).unwrap();
                let mut styles = StyleConfigMap::new();
                for key in ["bold", "link"] {
                    styles.insert(
                        key.into(),
                        StyleConfig {
                            expand: ExpandType::After,
                        },
                    );
                }
                doc.config_text_style(styles);
                doc
            })
            .collect();
        Self {
            docs,
            rng,
            updates: Vec::new(),
        }
    }

    /// `rounds` of: an editor makes a few edits, and maybe takes in what another one has.
    pub fn run(&mut self, rounds: usize) -> &mut Self {
        for _ in 0..rounds {
            let editor = self.rng.random_range(0..self.docs.len());
            let doc = self.docs[editor].clone();
            let before = doc.oplog_vv();
            for _ in 0..self.rng.random_range(1..6) {
                edit(&doc, &mut self.rng);
            }
            if self.rng.random_bool(0.3) {
                doc.set_next_commit_timestamp(self.rng.random_range(0..2_000_000_000));
            }
            doc.commit();
            if doc.oplog_vv() != before {
                self.updates.push(updates_since(&doc, &before));
            }
            if self.rng.random_bool(0.5) {
                let from = self.rng.random_range(0..self.docs.len());
                let update = updates_since(&self.docs[from], &doc.oplog_vv());
                doc.import(&update).unwrap();
            }
        }
        self
    }

    /// Lets everyone know everything.
    pub fn meet(&self) {
        for doc in &self.docs {
            for other in &self.docs {
                doc.import(&updates_since(other, &doc.oplog_vv())).unwrap();
            }
        }
    }
}

pub fn updates_since(doc: &LoroDoc, known: &VersionVector) -> Vec<u8> {
    doc.export(loro::ExportMode::updates(known)).unwrap()
}

/// The document that the snapshot holds, writing as `peer`.
pub fn load(snapshot: &[u8], peer: u64) -> CrdtDocument {
    CrdtDocument::from_snapshot(snapshot, PeerId(peer)).unwrap()
}

/// What `edit` writes on top of the snapshot, as `forge` makes it say. It is forged in a document
/// without a state, since one with a state may panic.
pub fn forged(
    snapshot: &[u8],
    edit: impl FnOnce(&LoroDoc),
    forge: impl FnOnce(&mut Vec<JsonChange>),
) -> Vec<u8> {
    let writer = load(snapshot, 2);
    let known = writer.engine().oplog_vv();
    edit(writer.engine());
    writer.commit().unwrap();
    let end = writer.engine().oplog_vv();
    let mut json = writer
        .engine()
        .export_json_updates_without_peer_compression(&known, &end);
    forge(&mut json.changes);
    let scratch = load(snapshot, 3);
    scratch.detach().unwrap();
    scratch.engine().import_json_updates(json).unwrap();
    updates_since(scratch.engine(), &known)
}

const WORDS: [&str; 6] = ["a", "be", "naïve ", "日本語", "👩‍👩‍👧 ", "lorem ipsum dolor "];

/// One edit somewhere.
pub fn edit(doc: &LoroDoc, rng: &mut SmallRng) {
    match rng.random_range(0..20) {
        0..8 => edit_text(&doc.get_text("content"), rng),
        8..10 => edit_text(&doc.get_text("other"), rng),
        10..12 => edit_map(&doc.get_map("map"), rng, 3),
        12..14 => edit_list(&doc.get_list("list"), rng, 3),
        14..16 => edit_movable(&doc.get_movable_list("movable"), rng, 3),
        16..18 => edit_tree(&doc.get_tree("tree"), rng),
        // Whole numbers only, here and in maps: the gate refuses others, whose sums differ with the
        // order in which a replica gets them.
        18 => doc
            .get_counter("counter")
            .increment(f64::from(rng.random_range(-5..5)))
            .unwrap(),
        _ => {
            doc.commit();
            doc.set_next_commit_message(WORDS[rng.random_range(0..WORDS.len())]);
        }
    }
}

fn edit_text(text: &LoroText, rng: &mut SmallRng) {
    let len = text.len_unicode();
    match rng.random_range(0..10) {
        0..6 => {
            let word = WORDS[rng.random_range(0..WORDS.len())].repeat(rng.random_range(1..4));
            text.insert(rng.random_range(0..=len), &word).unwrap();
        }
        6..8 if len > 0 => {
            let start = rng.random_range(0..len);
            text.delete(start, rng.random_range(1..=(len - start).min(5)))
                .unwrap();
        }
        8 if len > 2 => {
            // A held backspace.
            for position in (0..len.min(3)).rev() {
                text.delete(position, 1).unwrap();
            }
        }
        _ if len > 1 => {
            let start = rng.random_range(0..len - 1);
            let end = rng.random_range(start + 1..=len);
            let key = ["bold", "link"][rng.random_range(0..2)];
            if rng.random_bool(0.7) {
                text.mark(start..end, key, value(rng, 1)).unwrap();
            } else {
                text.unmark(start..end, key).unwrap();
            }
        }
        _ => {}
    }
}

fn edit_map(map: &LoroMap, rng: &mut SmallRng, depth: usize) {
    let key = format!("k{}", rng.random_range(0..5));
    match rng.random_range(0..6) {
        0 => drop(map.delete(&key)),
        1 if depth > 0 => nest(rng, depth, |kind, rng| match kind {
            0 => edit_map(
                &map.insert_container(&key, LoroMap::new()).unwrap(),
                rng,
                depth - 1,
            ),
            1 => edit_list(
                &map.insert_container(&key, LoroList::new()).unwrap(),
                rng,
                depth - 1,
            ),
            2 => edit_text(&map.insert_container(&key, LoroText::new()).unwrap(), rng),
            3 => edit_tree(&map.insert_container(&key, LoroTree::new()).unwrap(), rng),
            4 => map
                .insert_container(&key, LoroCounter::new())
                .unwrap()
                .increment(1.0)
                .unwrap(),
            _ => {
                let list = map.insert_container(&key, LoroMovableList::new()).unwrap();
                edit_movable(&list, rng, depth - 1);
            }
        }),
        _ => map.insert(&key, value(rng, 2)).unwrap(),
    }
}

fn edit_list(list: &LoroList, rng: &mut SmallRng, depth: usize) {
    let len = list.len();
    match rng.random_range(0..6) {
        0 if len > 0 => {
            let start = rng.random_range(0..len);
            list.delete(start, rng.random_range(1..=len - start))
                .unwrap();
        }
        1 if depth > 0 => nest(rng, depth, |kind, rng| {
            if kind % 2 == 0 {
                edit_map(
                    &list.insert_container(len, LoroMap::new()).unwrap(),
                    rng,
                    depth - 1,
                );
            } else {
                edit_text(&list.insert_container(len, LoroText::new()).unwrap(), rng);
            }
        }),
        _ => {
            for _ in 0..rng.random_range(1..4) {
                list.push(value(rng, 2)).unwrap();
            }
        }
    }
}

fn edit_movable(list: &LoroMovableList, rng: &mut SmallRng, depth: usize) {
    let len = list.len();
    match rng.random_range(0..8) {
        0 if len > 0 => list.delete(rng.random_range(0..len), 1).unwrap(),
        1..3 if len > 1 => list
            .mov(rng.random_range(0..len), rng.random_range(0..len))
            .unwrap(),
        3 if len > 0 => list.set(rng.random_range(0..len), value(rng, 1)).unwrap(),
        4 if len > 0 && depth > 0 => {
            list.set_container(rng.random_range(0..len), LoroText::new())
                .unwrap();
        }
        _ => list
            .insert(rng.random_range(0..=len), value(rng, 1))
            .unwrap(),
    }
}

fn edit_tree(tree: &LoroTree, rng: &mut SmallRng) {
    let nodes = tree.get_nodes(false);
    let pick = |rng: &mut SmallRng| nodes[rng.random_range(0..nodes.len())].id;
    match rng.random_range(0..6) {
        0 if !nodes.is_empty() => tree.delete(pick(rng)).unwrap(),
        1 if nodes.len() > 1 => drop(tree.mov(pick(rng), pick(rng))),
        2 if !nodes.is_empty() => {
            let meta = tree.get_meta(pick(rng)).unwrap();
            edit_map(&meta, rng, 1);
        }
        3 if !nodes.is_empty() => drop(tree.create(pick(rng)).unwrap()),
        _ => drop(tree.create(TreeParentId::Root).unwrap()),
    }
}

fn nest(rng: &mut SmallRng, depth: usize, create: impl FnOnce(u32, &mut SmallRng)) {
    if depth > 0 {
        let kind = rng.random_range(0..6);
        create(kind, rng);
    }
}

fn value(rng: &mut SmallRng, depth: usize) -> LoroValue {
    match rng.random_range(0..8) {
        0 => LoroValue::Null,
        1 => rng.random_bool(0.5).into(),
        2 => rng.random::<i64>().into(),
        3 => f64::from(rng.random::<i32>()).sqrt().into(),
        4 => LoroValue::Binary(vec![rng.random(); 5].into()),
        5 if depth > 0 => {
            let len = rng.random_range(0..3);
            (0..len)
                .map(|_| value(rng, depth - 1))
                .collect::<Vec<_>>()
                .into()
        }
        6 if depth > 0 => {
            let len = rng.random_range(0..3);
            LoroValue::Map(
                (0..len)
                    .map(|i| (format!("v{i}"), value(rng, depth - 1)))
                    .collect(),
            )
        }
        _ => WORDS[rng.random_range(0..WORDS.len())].into(),
    }
}

/// The checksum of an envelope made right again after its bytes were changed.
pub fn seal(update: &mut [u8]) {
    if update.len() > 20 {
        let checksum = xxhash_rust::xxh32::xxh32(&update[20..], u32::from_le_bytes(*b"LORO"));
        update[16..20].copy_from_slice(&checksum.to_le_bytes());
    }
}
