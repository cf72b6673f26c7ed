//! One digest for what a document holds: equal in every replica that has the same operations,
//! however and in whatever order it got them.

use document_types::Digest;
use document_types::limits::CONTAINER_DEPTH_MAX;
use loro::{Container, LoroDoc, LoroValue, TextDelta};

use crate::read::{container_name, descend, is_empty, roots, tree_nodes};
use crate::{CrdtDocument, CrdtError};

impl CrdtDocument {
    /// BLAKE3 over the version vector and the state in a canonical form: peers, roots and keys sorted,
    /// texts with their styles, empty roots left out (merely naming a root creates it).
    ///
    /// A detached document is materialised first; see [`CrdtDocument::materialise`] for its cost.
    ///
    /// # Errors
    /// [`CrdtError::TooDeep`] beyond [`CONTAINER_DEPTH_MAX`] levels.
    pub fn state_hash(&self) -> Result<Digest, CrdtError> {
        if self.is_detached()? {
            self.materialise()?;
        }
        self.commit()?;
        let version = self.version()?;
        self.call(|doc| {
            let mut canonical = Canonical::new();
            canonical.length(version.len());
            for (peer, end) in version.iter() {
                canonical.bytes(&peer.0.to_le_bytes());
                canonical.bytes(&end.to_le_bytes());
            }
            for ((name, kind), container) in roots(doc) {
                if !is_empty(&container) {
                    canonical.text(&name);
                    canonical.bytes(&[kind]);
                    canonical.container(doc, &container, CONTAINER_DEPTH_MAX)?;
                }
            }
            Ok(canonical.finish())
        })?
    }
}

/// Writes values so that no two different ones give the same bytes: each has a tag, and whatever has
/// no fixed length has its length before it.
struct Canonical(blake3::Hasher);

impl Canonical {
    fn new() -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"collabedit state 1");
        Self(hasher)
    }

    fn finish(self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn length(&mut self, length: usize) {
        self.bytes(&(length as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes(text.as_bytes());
    }

    fn container(
        &mut self,
        doc: &LoroDoc,
        container: &Container,
        depth: usize,
    ) -> Result<(), CrdtError> {
        let depth = descend(depth)?;
        self.text(&container_name(container));
        match container {
            Container::List(list) => self.list(doc, &list.to_vec(), depth)?,
            Container::MovableList(list) => self.list(doc, &list.to_vec(), depth)?,
            Container::Map(map) => self.value(doc, &map.get_value(), depth)?,
            Container::Text(text) => self.rich_text(doc, text.to_delta(), depth)?,
            Container::Tree(tree) => {
                let nodes = tree_nodes(tree);
                self.length(nodes.len());
                for node in nodes {
                    self.text(&node.id.to_string());
                    self.text(
                        &node
                            .parent
                            .tree_id()
                            .map_or(String::new(), |id| id.to_string()),
                    );
                    self.text(&node.fractional_index.to_string());
                    let meta = Container::Map(tree.get_meta(node.id)?);
                    self.container(doc, &meta, depth)?;
                }
            }
            Container::Counter(counter) => self.bytes(&counter.get_value().to_bits().to_le_bytes()),
            Container::Unknown(_) => {}
        }
        Ok(())
    }

    fn list(&mut self, doc: &LoroDoc, values: &[LoroValue], depth: usize) -> Result<(), CrdtError> {
        self.length(values.len());
        values
            .iter()
            .try_for_each(|value| self.value(doc, value, depth))
    }

    fn value(&mut self, doc: &LoroDoc, value: &LoroValue, depth: usize) -> Result<(), CrdtError> {
        match value {
            LoroValue::Null => self.bytes(&[0]),
            LoroValue::Bool(value) => self.bytes(&[1, u8::from(*value)]),
            LoroValue::I64(value) => {
                self.bytes(&[2]);
                self.bytes(&value.to_le_bytes());
            }
            LoroValue::Double(value) => {
                self.bytes(&[3]);
                self.bytes(&value.to_bits().to_le_bytes());
            }
            LoroValue::String(value) => {
                self.bytes(&[4]);
                self.text(value);
            }
            LoroValue::Binary(value) => {
                self.bytes(&[5]);
                self.length(value.len());
                self.bytes(value);
            }
            LoroValue::List(values) => {
                self.bytes(&[6]);
                self.list(doc, values, descend(depth)?)?;
            }
            LoroValue::Map(values) => {
                self.bytes(&[7]);
                let depth = descend(depth)?;
                self.members(doc, values.iter(), depth)?;
            }
            LoroValue::Container(id) => {
                self.bytes(&[8]);
                match doc.get_container(id.clone()) {
                    Some(container) => self.container(doc, &container, depth)?,
                    None => self.bytes(&[9]),
                }
            }
        }
        Ok(())
    }

    fn members<'a>(
        &mut self,
        doc: &LoroDoc,
        members: impl Iterator<Item = (&'a String, &'a LoroValue)>,
        depth: usize,
    ) -> Result<(), CrdtError> {
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by_key(|(key, _)| *key);
        self.length(members.len());
        for (key, value) in members {
            self.text(key);
            self.value(doc, value, depth)?;
        }
        Ok(())
    }

    /// Runs of equal style are joined, and a style whose value is null counts as none: where the
    /// engine cuts its runs depends on the order of imports.
    fn rich_text(
        &mut self,
        doc: &LoroDoc,
        delta: Vec<TextDelta>,
        depth: usize,
    ) -> Result<(), CrdtError> {
        let mut runs: Vec<(String, Vec<(String, LoroValue)>)> = Vec::new();
        for part in delta {
            let TextDelta::Insert { insert, attributes } = part else {
                continue;
            };
            let mut styles: Vec<_> = attributes
                .into_iter()
                .flatten()
                .filter(|(_, value)| !matches!(value, LoroValue::Null))
                .collect();
            styles.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            match runs.last_mut() {
                Some((text, last)) if *last == styles => text.push_str(&insert),
                _ => runs.push((insert, styles)),
            }
        }
        self.length(runs.len());
        for (text, styles) in runs {
            self.text(&text);
            self.members(
                doc,
                styles.iter().map(|(key, value)| (key, value)),
                descend(depth)?,
            )?;
        }
        Ok(())
    }
}
