//! Edits of every kind that the engine has.

use clock::Random;
use loro::{
    LoroDoc, LoroList, LoroMap, LoroMovableList, LoroResult, LoroText, LoroTree, LoroValue,
    TreeParentId,
};

use crate::mutant::place;

const WORDS: [&str; 6] = ["a", "be", "naïve ", "日本語", "👩‍👩‍👧 ", "lorem ipsum dolor "];
const STYLES: [&str; 2] = ["bold", "link"];
/// How deep an edit nests containers.
const DEPTH: u64 = 3;

/// One edit somewhere in `doc`.
pub(crate) fn edit(doc: &LoroDoc, random: &Random) -> LoroResult<()> {
    match random.below(20) {
        0..8 => edit_text(&doc.get_text("content"), random),
        8..10 => edit_text(&doc.get_text("other"), random),
        10..12 => edit_map(&doc.get_map("map"), random, DEPTH),
        12..14 => edit_list(&doc.get_list("list"), random, DEPTH),
        14..16 => edit_movable(&doc.get_movable_list("movable"), random, DEPTH),
        16..18 => edit_tree(&doc.get_tree("tree"), random),
        18 => doc.get_counter("counter").increment(1.0),
        _ => {
            doc.commit();
            doc.set_next_commit_message(word(random));
            edit_map(&doc.get_map("map"), random, DEPTH)
        }
    }
}

/// An insertion of `len` characters into the text that people read.
pub(crate) fn paste(doc: &LoroDoc, random: &Random, len: usize) -> LoroResult<()> {
    let text = doc.get_text("content");
    let pasted: String = word(random).chars().cycle().take(len).collect();
    text.insert(place(random, text.len_unicode() + 1), &pasted)
}

fn edit_text(text: &LoroText, random: &Random) -> LoroResult<()> {
    let len = text.len_unicode();
    match random.below(10) {
        6..8 if len > 0 => {
            let start = place(random, len);
            text.delete(start, 1 + place(random, (len - start).min(5)))
        }
        8 if len > 2 => {
            // A held backspace.
            for position in (0..3).rev() {
                text.delete(position, 1)?;
            }
            Ok(())
        }
        9 if len > 1 => {
            let start = place(random, len - 1);
            let end = start + 1 + place(random, len - start - 1);
            let style = STYLES[place(random, STYLES.len())];
            if random.chance(0.7) {
                text.mark(start..end, style, value(random, 1))
            } else {
                text.unmark(start..end, style)
            }
        }
        _ => {
            let words = word(random).repeat(1 + place(random, 3));
            text.insert(place(random, len + 1), &words)
        }
    }
}

fn edit_map(map: &LoroMap, random: &Random, depth: u64) -> LoroResult<()> {
    let key = format!("k{}", random.below(5));
    match random.below(6) {
        0 => map.delete(&key),
        1 if depth > 0 => match random.below(5) {
            0 => edit_map(
                &map.insert_container(&key, LoroMap::new())?,
                random,
                depth - 1,
            ),
            1 => edit_list(
                &map.insert_container(&key, LoroList::new())?,
                random,
                depth - 1,
            ),
            2 => edit_text(&map.insert_container(&key, LoroText::new())?, random),
            3 => edit_tree(&map.insert_container(&key, LoroTree::new())?, random),
            _ => edit_movable(
                &map.insert_container(&key, LoroMovableList::new())?,
                random,
                depth - 1,
            ),
        },
        _ => map.insert(&key, value(random, 2)),
    }
}

fn edit_list(list: &LoroList, random: &Random, depth: u64) -> LoroResult<()> {
    let len = list.len();
    match random.below(6) {
        0 if len > 0 => {
            let start = place(random, len);
            list.delete(start, 1 + place(random, len - start))
        }
        1 if depth > 0 && random.chance(0.5) => edit_map(
            &list.insert_container(len, LoroMap::new())?,
            random,
            depth - 1,
        ),
        1 if depth > 0 => edit_text(&list.insert_container(len, LoroText::new())?, random),
        _ => {
            for _ in 0..=random.below(3) {
                list.push(value(random, 2))?;
            }
            Ok(())
        }
    }
}

fn edit_movable(list: &LoroMovableList, random: &Random, depth: u64) -> LoroResult<()> {
    let len = list.len();
    match random.below(8) {
        0 if len > 0 => list.delete(place(random, len), 1),
        1..3 if len > 1 => list.mov(place(random, len), place(random, len)),
        3 if len > 0 => list.set(place(random, len), value(random, 1)),
        4 if len > 0 && depth > 0 => {
            let text = list.set_container(place(random, len), LoroText::new())?;
            edit_text(&text, random)
        }
        _ => list.insert(place(random, len + 1), value(random, 1)),
    }
}

fn edit_tree(tree: &LoroTree, random: &Random) -> LoroResult<()> {
    let nodes = tree.get_nodes(false);
    if nodes.is_empty() {
        return tree.create(TreeParentId::Root).map(drop);
    }
    let one = nodes[place(random, nodes.len())].id;
    let other = nodes[place(random, nodes.len())].id;
    match random.below(6) {
        0 => tree.delete(one),
        // A node can't go below itself; then there is one edit fewer.
        1 => tree.mov(one, other).or(Ok(())),
        2 => edit_map(&tree.get_meta(one)?, random, 1),
        3 => tree.create(one).map(drop),
        _ => tree.create(TreeParentId::Root).map(drop),
    }
}

fn value(random: &Random, depth: u64) -> LoroValue {
    match random.below(8) {
        0 => LoroValue::Null,
        1 => random.chance(0.5).into(),
        2 => i64::from_le_bytes(random.next_u64().to_le_bytes()).into(),
        3 => f64::from_bits(random.next_u64()).into(),
        4 => LoroValue::Binary(vec![7; 5].into()),
        5 if depth > 0 => (0..random.below(3))
            .map(|_| value(random, depth - 1))
            .collect::<Vec<_>>()
            .into(),
        6 if depth > 0 => LoroValue::Map(
            (0..random.below(3))
                .map(|i| (format!("v{i}"), value(random, depth - 1)))
                .collect(),
        ),
        _ => word(random).into(),
    }
}

fn word(random: &Random) -> &'static str {
    WORDS[place(random, WORDS.len())]
}
