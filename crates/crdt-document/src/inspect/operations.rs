//! A block's operations: what they do, what they name, and whether their lengths add up. Where they
//! don't, the engine would panic later, in the middle of another call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use document_types::limits::{ENTRIES_PER_UPDATE_MAX, TREE_POSITION_BYTES_PER_UPDATE_MAX};
use document_types::record::OperationKind;
use document_types::{Counter, OpId, PeerId};

use super::columns::Runs;
use super::header::{Block, COUNTER_MAX, Header};
use super::increments::{float_is_exact, integer_is_exact};
use super::reader::{Malformed, Reader};
use super::tables::{Columns, Container, Deletions, expect, read_containers, read_keys};
use super::values::{Slot, Values};
use super::{InspectError, within};

// Container kinds.
const MAP: u8 = 0;
const LIST: u8 = 1;
const TEXT: u8 = 2;
const TREE: u8 = 3;
const MOVABLE_LIST: u8 = 4;
pub(super) const COUNTER: u8 = 5;

// Kinds of an operation's value.
const VALUE_NULL: u8 = 0;
const VALUE_INTEGER: u8 = 3;
const VALUE_FLOAT: u8 = 4;
const VALUE_TEXT: u8 = 5;
const VALUE_DELETE_ONCE: u8 = 8;
const VALUE_DELETE_RANGE: u8 = 9;
const VALUE_PLAIN: u8 = 11;
const VALUE_MARK: u8 = 12;
const VALUE_LIST_MOVE: u8 = 14;
const VALUE_LIST_SET: u8 = 15;
const VALUE_TREE_MOVE: u8 = 16;

/// The parent under which the engine files deleted tree nodes.
const DELETED_ROOT: OpId = OpId {
    peer: PeerId(u64::MAX),
    counter: COUNTER_MAX,
};
/// What the engine ends every position of a tree node with, unless a client has told it to add random bytes
/// (`jitter`, off by default). It relies on it: of two such positions none may be between, and of one that
/// is all zeros none before it (`loro_fractional_index` 1.13.0).
const POSITION_END: u8 = 128;

/// An operation that another one names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    /// The last operation named.
    pub(super) id: OpId,
    /// The naming operation's lamport time.
    pub(super) lamport: u32,
}

/// A container that an operation creates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Created {
    pub(super) kind: u8,
    pub(super) lamport: u32,
    pub(super) parent: Parent,
}

/// Where an operation takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// A root, or a container that stands for a key path of so many levels.
    Root { depth: usize },
    /// The container that this operation created.
    Container(OpId),
}

/// What all blocks of an update hold together.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) kinds: BTreeSet<OperationKind>,
    pub(super) inserted_text_bytes: u64,
    pub(super) references: Vec<Reference>,
    /// Containers that are used, by the operation that created them, with the kind they are used as.
    pub(super) used: BTreeMap<OpId, u8>,
    pub(super) created: BTreeMap<OpId, Created>,
    /// Peers whose last operation so far begins a style, which their next one has to end.
    pub(super) open_styles: BTreeSet<PeerId>,
    /// Whether tree nodes or elements of movable lists are named that the operation does not make.
    pub(super) names_targets: bool,
    /// The first increment of a counter that replicas could add up differently.
    pub(super) inexact_increment: Option<String>,
    entries: usize,
    position_bytes: usize,
}

/// One operation, as far as its columns say.
struct Entry {
    id: OpId,
    lamport: u32,
    container: usize,
    parent: Parent,
    position: u32,
    len: u32,
}

impl Findings {
    pub(super) fn read(&mut self, block: &Block<'_>, header: &Header) -> Result<(), InspectError> {
        let keys = read_keys(block.keys)?;
        let mut containers = read_containers(block.containers, &header.peers, &keys)?;
        let position_count = self.read_positions(block.positions)?;
        let mut decoder = Decoder {
            findings: self,
            peers: &header.peers,
            position_count,
            deletions: Deletions::new(block.deletions)?,
            values: Values {
                reader: block.values,
                key_count: keys.len(),
            },
            open_style: None,
        };
        let mut columns = Columns::new(block.operations)?;
        for change in &header.changes {
            let mut counter = change.start;
            while counter < change.end() {
                let (index, position, value_kind, len) = columns.next()?;
                let container = containers
                    .get_mut(index)
                    .ok_or(Malformed("a container is not in the table"))?;
                if len == 0 || len > change.end() - counter {
                    return Err(Malformed("the operations' lengths don't add up").into());
                }
                let entry = Entry {
                    id: OpId {
                        peer: header.author(),
                        counter,
                    },
                    lamport: change.lamport + (counter - change.start),
                    container: index,
                    parent: container.parent,
                    position,
                    len,
                };
                decoder.uses(container, &entry)?;
                decoder.entry(container.kind, value_kind, &entry)?;
                counter += len;
            }
        }
        columns.end()?;
        decoder.end(header.author())
    }

    /// Sort keys of tree nodes (fractional indexes), each as what it shares with the one before and what it
    /// adds.
    fn read_positions(&mut self, mut reader: Reader<'_>) -> Result<usize, InspectError> {
        if reader.is_empty() {
            return Ok(0);
        }
        expect(&mut reader, 1)?;
        expect(&mut reader, 2)?;
        let mut shared = Runs::new(Reader::new(reader.sized()?), Reader::length);
        let mut rests = Reader::new(reader.sized()?);
        if !reader.is_empty() {
            return Err(Malformed("bytes follow the positions' end").into());
        }
        let count = rests.length()?;
        let mut position = Vec::new();
        for _ in 0..count {
            let shared = shared.required()?;
            if shared > position.len() {
                return Err(Malformed("a position shares more than there is").into());
            }
            position.truncate(shared);
            position.extend_from_slice(rests.sized()?);
            self.position_bytes += position.len();
            let position_bytes_max = TREE_POSITION_BYTES_PER_UPDATE_MAX as u64;
            within(
                "bytes of tree positions",
                self.position_bytes as u64,
                position_bytes_max,
            )?;
            // Between others, before and after them the engine makes a position from theirs, and panics
            // in whoever writes there next if one has no end.
            if position.last() != Some(&POSITION_END) {
                return Err(Malformed("a position of a tree node has no end").into());
            }
        }
        shared.end()?;
        if rests.is_empty() {
            Ok(count)
        } else {
            Err(Malformed("too many positions").into())
        }
    }
}

struct Decoder<'f, 'a> {
    findings: &'f mut Findings,
    peers: &'a [PeerId],
    position_count: usize,
    deletions: Deletions<'a>,
    values: Values<'a>,
    /// The container in which the operation before begins a style.
    open_style: Option<usize>,
}

impl Decoder<'_, '_> {
    fn uses(&mut self, container: &mut Container, entry: &Entry) -> Result<(), InspectError> {
        self.findings.entries += 1;
        within(
            "entries",
            self.findings.entries as u64,
            ENTRIES_PER_UPDATE_MAX as u64,
        )?;
        let Parent::Container(creator) = container.parent else {
            return Ok(());
        };
        // Lamport times grow within a block, so the first use is the one that decides.
        if !std::mem::replace(&mut container.used, true) {
            self.findings.references.push(Reference {
                id: creator,
                lamport: entry.lamport,
            });
            let kind = *self.findings.used.entry(creator).or_insert(container.kind);
            if kind != container.kind {
                return Err(Malformed("a container is used as two kinds").into());
            }
        }
        Ok(())
    }

    fn entry(&mut self, kind: u8, value_kind: u8, entry: &Entry) -> Result<(), InspectError> {
        let continues = self.findings.open_styles.remove(&entry.id.peer);
        let ends_style = (kind, value_kind) == (TEXT, VALUE_NULL);
        let matches = match self.open_style.take() {
            Some(container) => ends_style && container == entry.container,
            None => ends_style == continues,
        };
        if !matches {
            return Err(Malformed("a style's begin and end are not together").into());
        }
        match (kind, value_kind) {
            (TEXT, VALUE_TEXT) => {
                let text = self.values.reader.text()?;
                if text.chars().count() != entry.len as usize {
                    return Err(Malformed("an insertion's length is not its text's").into());
                }
                self.findings.inserted_text_bytes += text.len() as u64;
                self.kind(OperationKind::Insert);
            }
            (TEXT | LIST | MOVABLE_LIST, VALUE_DELETE_RANGE) => self.deletion(entry)?,
            (LIST | MOVABLE_LIST, VALUE_PLAIN) => self.list_insertion(entry)?,
            _ if entry.len != 1 => {
                return Err(Malformed("a single operation has a length").into());
            }
            (TEXT, VALUE_MARK) => self.style(entry)?,
            (TEXT, VALUE_NULL) => self.kind(OperationKind::Style),
            (MAP, VALUE_DELETE_ONCE) => {
                self.map_key(entry)?;
                self.kind(OperationKind::Delete);
            }
            (MAP, VALUE_PLAIN) => {
                self.map_key(entry)?;
                self.slot(entry, entry.id.counter)?;
                self.kind(OperationKind::Set);
            }
            (MOVABLE_LIST, VALUE_LIST_MOVE) => {
                self.values.reader.unsigned_32()?;
                self.element(entry)?;
                self.kind(OperationKind::Move);
            }
            (MOVABLE_LIST, VALUE_LIST_SET) => {
                self.element(entry)?;
                self.slot(entry, entry.id.counter)?;
                self.kind(OperationKind::Set);
            }
            (TREE, VALUE_TREE_MOVE) => self.tree_move(entry)?,
            (COUNTER, VALUE_INTEGER) => {
                let increment = self.values.reader.signed()?;
                self.increment(integer_is_exact(increment), increment);
            }
            (COUNTER, VALUE_FLOAT) => {
                let increment = f64::from_be_bytes(self.values.reader.array()?);
                if !increment.is_finite() {
                    // Not even from the log: the counter would never hold a number again.
                    return Err(InspectError::InexactIncrement {
                        increment: format!("{increment:?}"),
                    });
                }
                self.increment(float_is_exact(increment), increment);
            }
            _ => return Err(Malformed("a container has no such operation").into()),
        }
        Ok(())
    }

    fn increment(&mut self, is_exact: bool, increment: impl Debug) {
        if !is_exact && self.findings.inexact_increment.is_none() {
            self.findings.inexact_increment = Some(format!("{increment:?}"));
        }
        self.kind(OperationKind::Other);
    }

    fn kind(&mut self, kind: OperationKind) {
        self.findings.kinds.insert(kind);
    }

    fn refers(&mut self, entry: &Entry, id: OpId) {
        self.findings.references.push(Reference {
            id,
            lamport: entry.lamport,
        });
    }

    fn map_key(&self, entry: &Entry) -> Result<(), Malformed> {
        if (entry.position as usize) < self.values.key_count {
            Ok(())
        } else {
            Err(Malformed("a key is not in the block's table"))
        }
    }

    fn deletion(&mut self, entry: &Entry) -> Result<(), InspectError> {
        let (first, len) = self.deletions.next(self.peers)?;
        if len.unsigned_abs() != u64::from(entry.len) {
            return Err(Malformed("a deletion's lengths differ").into());
        }
        if len < 0 && entry.position + 1 < entry.len {
            return Err(Malformed("a deletion goes beyond the beginning").into());
        }
        let last = first
            .counter
            .checked_add(entry.len - 1)
            .filter(|last| *last < COUNTER_MAX);
        let counter = last.ok_or(Malformed("a deletion's counter is out of range"))?;
        self.refers(entry, OpId { counter, ..first });
        self.kind(OperationKind::Delete);
        Ok(())
    }

    fn list_insertion(&mut self, entry: &Entry) -> Result<(), InspectError> {
        if self.values.list_len()? != entry.len as usize {
            return Err(Malformed("an insertion's length is not its list's").into());
        }
        for offset in 0..entry.len {
            self.slot(entry, entry.id.counter + offset)?;
        }
        self.kind(OperationKind::Insert);
        Ok(())
    }

    /// A value or the container that the operation of this counter creates.
    fn slot(&mut self, entry: &Entry, counter: Counter) -> Result<(), InspectError> {
        let Slot::Container(kind) = self.values.slot()? else {
            return Ok(());
        };
        if kind > COUNTER {
            return Err(Malformed("a container is of an unknown kind").into());
        }
        let id = OpId {
            counter,
            ..entry.id
        };
        let lamport = entry.lamport + (counter - entry.id.counter);
        self.findings.created.insert(
            id,
            Created {
                kind,
                lamport,
                parent: entry.parent,
            },
        );
        self.kind(OperationKind::CreateContainer);
        Ok(())
    }

    fn style(&mut self, entry: &Entry) -> Result<(), InspectError> {
        self.values.reader.byte()?;
        let len = self.values.reader.unsigned_32()?;
        if len == 0
            || entry
                .position
                .checked_add(len)
                .is_none_or(|end| end > COUNTER_MAX)
        {
            return Err(Malformed("a style's range is out of range").into());
        }
        self.values.key()?;
        self.values.plain()?;
        self.open_style = Some(entry.container);
        self.kind(OperationKind::Style);
        Ok(())
    }

    /// An element of a movable list, named by who wrote it at which lamport time.
    fn element(&mut self, entry: &Entry) -> Result<(), InspectError> {
        let peer = self.values.reader.length()?;
        let lamport = self.values.reader.unsigned_32()?;
        if peer >= self.peers.len() {
            return Err(Malformed("a peer is not in the block's table").into());
        }
        if lamport >= entry.lamport {
            return Err(Malformed("an element is younger than what changes it").into());
        }
        self.findings.names_targets = true;
        Ok(())
    }

    fn tree_move(&mut self, entry: &Entry) -> Result<(), InspectError> {
        let node = self.tree_node()?;
        let position = self.values.reader.length()?;
        let parent = match self.values.reader.byte()? {
            0 => Some(self.tree_node()?),
            1 => None,
            _ => return Err(Malformed("a truth value is neither").into()),
        };
        let creates = node == entry.id;
        self.findings.names_targets |= !creates || parent.is_some();
        if creates {
            let created = Created {
                kind: MAP,
                lamport: entry.lamport,
                parent: entry.parent,
            };
            self.findings.created.insert(node, created);
        } else {
            self.refers(entry, node);
        }
        if parent == Some(DELETED_ROOT) {
            self.kind(OperationKind::Delete);
            return Ok(());
        }
        if position >= self.position_count {
            return Err(Malformed("a position is not in the block's table").into());
        }
        if let Some(parent) = parent {
            if parent == node {
                return Err(Malformed("a tree node is its own parent").into());
            }
            self.refers(entry, parent);
        }
        self.kind(if creates {
            OperationKind::Insert
        } else {
            OperationKind::Move
        });
        Ok(())
    }

    fn tree_node(&mut self) -> Result<OpId, Malformed> {
        let peer = self.values.reader.length()?;
        let counter = self.values.reader.unsigned_32()?;
        let peer = *self
            .peers
            .get(peer)
            .ok_or(Malformed("a peer is not in the block's table"))?;
        Ok(OpId { peer, counter })
    }

    fn end(self, author: PeerId) -> Result<(), InspectError> {
        if self.open_style.is_some() {
            self.findings.open_styles.insert(author);
        }
        self.deletions.end()?;
        if self.values.reader.is_empty() {
            Ok(())
        } else {
            Err(Malformed("bytes follow the values' end").into())
        }
    }
}
