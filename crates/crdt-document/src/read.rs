//! Reading a document's state, with an explicit bound on how deep it goes: the engine's own deep
//! reads recurse without one, and a few thousand nested containers overflow a thread's stack.

use std::collections::BTreeMap;

use document_types::limits::CONTAINER_DEPTH_MAX;
use document_types::{OpId, PeerId};
use loro::{Container, ContainerID, ContainerTrait, ContainerType, LoroDoc, LoroValue, TreeNode};
use serde_json::{Value, json};

use crate::engine::{to_engine_counter, to_engine_frontiers};
use crate::{CrdtDocument, CrdtError, InspectedUpdate};

/// The root text that our editor binds to. Stock clients may use any other name.
pub const CONTENT: &str = "content";

/// The container types that a root can have.
const ROOT_TYPES: [ContainerType; 6] = [
    ContainerType::Map,
    ContainerType::List,
    ContainerType::Text,
    ContainerType::Tree,
    ContainerType::MovableList,
    ContainerType::Counter,
];

impl CrdtDocument {
    /// The document's plain text: the root text [`CONTENT`], or if there is none, the first root text
    /// by name that is not empty; empty if there is none either.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn text(&self) -> Result<String, CrdtError> {
        self.call(|doc| {
            let mut texts = roots(doc)
                .into_iter()
                .filter_map(|((name, _), container)| Some((name, container.into_text().ok()?)))
                .filter(|(_, text)| text.len_unicode() > 0)
                .collect::<BTreeMap<_, _>>();
            let chosen = texts
                .remove(CONTENT)
                .or_else(|| texts.pop_first().map(|(_, text)| text));
            chosen.map(|text| text.to_string()).unwrap_or_default()
        })
    }

    /// The plain text of the root text `container`.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn text_in(&self, container: &str) -> Result<String, CrdtError> {
        self.call(|doc| doc.get_text(container).to_string())
    }

    /// The whole state as JSON, a member for each root that is not empty. A text is its plain text, a
    /// tree the list of its nodes, binary values are lists of bytes.
    ///
    /// # Errors
    /// [`CrdtError::TooDeep`] beyond [`CONTAINER_DEPTH_MAX`] levels.
    pub fn deep_value_json(&self) -> Result<Value, CrdtError> {
        self.call(|doc| {
            let mut members = serde_json::Map::new();
            for ((name, _), container) in roots(doc) {
                if !is_empty(&container) {
                    members.insert(name, container_json(doc, &container, CONTAINER_DEPTH_MAX)?);
                }
            }
            Ok(Value::Object(members))
        })?
    }

    /// Writes a snapshot, loads it and reads it through, as whoever joins later does. A few updates
    /// import without a word and leave a state that can't be written or read again.
    ///
    /// # Errors
    /// What loading and reading it gives. [`CrdtError::Panicked`] if the engine panicked, in this
    /// document or in the one that was loaded.
    pub fn check_reload(&self) -> Result<(), CrdtError> {
        let snapshot = self.export_snapshot()?;
        Self::from_snapshot(&snapshot, PeerId(0))?
            .state_hash()
            .map(drop)
    }

    /// Takes the state of an attached document back to `before` and forward again, as concurrent updates
    /// and whoever looks at the history do. A few updates go forward without a word and can't be taken
    /// back.
    ///
    /// # Errors
    /// [`CrdtError::Panicked`] if the engine panicked; the document is poisoned then.
    pub fn check_retreat(&self, before: &[OpId]) -> Result<(), CrdtError> {
        let before = to_engine_frontiers(before);
        self.call(|doc| doc.checkout(&before))??;
        self.attach()
    }

    /// Checks that what an imported update created does not nest too deep. Inspection sees one update,
    /// and a hundred of them nest a hundred levels.
    ///
    /// # Errors
    /// [`CrdtError::TooDeep`] if a container lies more than [`CONTAINER_DEPTH_MAX`] levels deep.
    pub fn check_depth(&self, update: &InspectedUpdate) -> Result<(), CrdtError> {
        self.call(|doc| {
            for (creator, kind) in &update.created {
                let kind = ContainerType::try_from_u8(*kind)?;
                let counter = to_engine_counter(creator.counter);
                let id = ContainerID::new_normal(loro::ID::new(creator.peer.0, counter), kind);
                let depth = doc.get_path_to_container(&id).map_or(0, |path| path.len());
                if depth > CONTAINER_DEPTH_MAX {
                    return Err(CrdtError::TooDeep {
                        depth_max: CONTAINER_DEPTH_MAX,
                    });
                }
            }
            Ok(())
        })?
    }
}

/// One more level, if there may be one.
pub(crate) fn descend(depth: usize) -> Result<usize, CrdtError> {
    depth.checked_sub(1).ok_or(CrdtError::TooDeep {
        depth_max: CONTAINER_DEPTH_MAX,
    })
}

/// All root containers, by name and type. The engine's own listing shows one container a name, and
/// of two that are not empty it picks the one that this replica met last, so that equal documents
/// could read differently.
pub(crate) fn roots(doc: &LoroDoc) -> BTreeMap<(String, u8), Container> {
    let LoroValue::Map(names) = doc.get_value() else {
        return BTreeMap::new();
    };
    names
        .keys()
        .flat_map(|name| {
            ROOT_TYPES.into_iter().filter_map(|kind| {
                let container = doc.get_container(ContainerID::new_root(name, kind))?;
                Some(((name.clone(), kind.to_u8()), container))
            })
        })
        .collect()
}

/// Whether a root holds nothing. Merely naming a root creates it, so an empty one is not part of a
/// document's state.
///
/// A text is asked for its length, never for its emptiness: the engine's own `is_empty` counts the
/// anchors that a style leaves behind when its characters are deleted, but only once the container is
/// decoded. A replica that was loaded from a snapshot would answer otherwise than one that imported
/// the same operations, and otherwise again after its first read.
pub(crate) fn is_empty(container: &Container) -> bool {
    match container {
        Container::List(list) => list.is_empty(),
        Container::Map(map) => map.is_empty(),
        Container::Text(text) => text.len_unicode() == 0,
        Container::Tree(tree) => tree.is_empty(),
        Container::MovableList(list) => list.is_empty(),
        Container::Counter(counter) => counter.get_value() == 0.0,
        Container::Unknown(_) => true,
    }
}

/// A tree's nodes in the order of their ids.
pub(crate) fn tree_nodes(tree: &loro::LoroTree) -> Vec<TreeNode> {
    let mut nodes = tree.get_nodes(false);
    nodes.sort_unstable_by_key(|node| (node.id.peer, node.id.counter));
    nodes
}

fn container_json(doc: &LoroDoc, container: &Container, depth: usize) -> Result<Value, CrdtError> {
    let depth = descend(depth)?;
    Ok(match container {
        Container::List(list) => list_json(doc, &list.to_vec(), depth)?,
        Container::MovableList(list) => list_json(doc, &list.to_vec(), depth)?,
        Container::Map(map) => value_json(doc, &map.get_value(), depth)?,
        Container::Text(text) => Value::String(text.to_string()),
        Container::Tree(tree) => Value::Array(
            tree_nodes(tree)
                .into_iter()
                .map(|node| {
                    let meta = Container::Map(tree.get_meta(node.id)?);
                    Ok(json!({
                        "id": node.id.to_string(),
                        "parent": node.parent.tree_id().map(|parent| parent.to_string()),
                        "index": node.index,
                        "fractional_index": node.fractional_index.to_string(),
                        "meta": container_json(doc, &meta, depth)?,
                    }))
                })
                .collect::<Result<_, CrdtError>>()?,
        ),
        Container::Counter(counter) => json!(counter.get_value()),
        Container::Unknown(_) => Value::Null,
    })
}

fn list_json(doc: &LoroDoc, values: &[LoroValue], depth: usize) -> Result<Value, CrdtError> {
    values
        .iter()
        .map(|value| value_json(doc, value, depth))
        .collect()
}

fn value_json(doc: &LoroDoc, value: &LoroValue, depth: usize) -> Result<Value, CrdtError> {
    Ok(match value {
        LoroValue::Null => Value::Null,
        LoroValue::Bool(value) => json!(value),
        LoroValue::I64(value) => json!(value),
        LoroValue::Double(value) => json!(value),
        LoroValue::String(value) => json!(value.as_str()),
        LoroValue::Binary(value) => json!(value.as_slice()),
        LoroValue::List(values) => list_json(doc, values, descend(depth)?)?,
        LoroValue::Map(values) => {
            let depth = descend(depth)?;
            values
                .iter()
                .map(|(key, value)| Ok((key.clone(), value_json(doc, value, depth)?)))
                .collect::<Result<serde_json::Map<_, _>, CrdtError>>()?
                .into()
        }
        LoroValue::Container(id) => match doc.get_container(id.clone()) {
            Some(container) => container_json(doc, &container, depth)?,
            None => Value::Null,
        },
    })
}

/// The id of a container, as text.
pub(crate) fn container_name(container: &Container) -> String {
    container.id().to_string()
}
