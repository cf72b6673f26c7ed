//! Whether what an imported update's operations name was ever in the container that they name it in.
//!
//! Operations on trees and movable lists name nodes and elements by the operation that made them, and
//! the engine takes it for granted that this was an operation in the same container. Where it was not,
//! some orders of import go well, so that a trial of one order shows nothing, and others end in a panic
//! or in another state.

use std::collections::HashMap;

use loro::{
    ContainerID, Frontiers, ID, IdLp, IdSpan, JsonChange, JsonMovableListOp as MovableListOp,
    JsonOp, JsonOpContent, JsonTreeOp as TreeOp, LoroDoc, TreeID, VersionVector,
};

use crate::engine::{from_engine_id, to_engine_span};
use crate::{CrdtDocument, CrdtError, InspectedUpdate};

impl CrdtDocument {
    /// Checks what the operations of an imported update name: each tree node and each element of a
    /// movable list has to be made by an operation in the same container which the naming operation
    /// was written on top of. Deleted nodes and elements count, since operations at the same time name
    /// them. Costs nothing unless [`InspectedUpdate::names_targets`].
    ///
    /// It is asked after the import because only then the engine has given the operations the lamport
    /// times by which elements are named, whatever the update says they are.
    ///
    /// # Errors
    /// [`CrdtError::ForeignTarget`] names the first operation that breaks the rule. It is in the
    /// document, which is of no use any more.
    pub fn check_targets(&self, update: &InspectedUpdate) -> Result<(), CrdtError> {
        if !update.names_targets {
            return Ok(());
        }
        self.call(|doc| {
            let mut makers = Makers::new(doc);
            for span in &update.spans {
                for change in doc.export_json_in_id_span(to_engine_span(span.span)) {
                    makers.check(&change)?;
                }
            }
            Ok(())
        })?
    }
}

/// What an operation makes that others can name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Node,
    Element,
}

/// Which operations made what, as far as they were asked for.
struct Makers<'a> {
    doc: &'a LoroDoc,
    /// Where the document's history begins: what is older can't be looked up.
    start: VersionVector,
    made: HashMap<ID, Option<(Kind, ContainerID)>>,
    /// The change of each peer that an element was found in last; its neighbours were often made with
    /// it.
    found: HashMap<u64, Run>,
}

/// Consecutive operations of one peer.
#[derive(Clone, Copy)]
struct Run {
    start: i32,
    lamport: u32,
    len: u32,
}

impl Run {
    fn counter_at(self, lamport: u32) -> Option<i32> {
        let offset = lamport.checked_sub(self.lamport)?;
        let within = offset < self.len;
        within.then(|| self.start.saturating_add_unsigned(offset))
    }
}

impl<'a> Makers<'a> {
    fn new(doc: &'a LoroDoc) -> Self {
        let start = doc.shallow_since_vv();
        Self {
            doc,
            start: start.iter().map(|(peer, end)| (*peer, *end)).collect(),
            made: HashMap::new(),
            found: HashMap::new(),
        }
    }

    fn check(&mut self, change: &JsonChange) -> Result<(), CrdtError> {
        let mut past = Past {
            change,
            version: None,
        };
        for op in &change.ops {
            let id = ID::new(change.id.peer, op.counter);
            if !self.allows(op, id, &mut past) {
                return Err(CrdtError::ForeignTarget {
                    operation: from_engine_id(id),
                });
            }
        }
        Ok(())
    }

    fn allows(&mut self, op: &JsonOp, id: ID, past: &mut Past<'_>) -> bool {
        let (kind, named) = match &op.content {
            JsonOpContent::Tree(op) => (Kind::Node, nodes(op, id)),
            JsonOpContent::MovableList(
                MovableListOp::Move { elem_id, .. } | MovableListOp::Set { elem_id, .. },
            ) => match self.element(*elem_id) {
                Some(element) => (Kind::Element, [Some(element), None]),
                None => return self.start.get(&elem_id.peer).is_some(),
            },
            _ => return true,
        };
        named.into_iter().flatten().all(|named| {
            self.is_there(kind, &op.container, named) && past.includes(self.doc, id, named)
        })
    }

    fn is_trimmed(&self, id: ID) -> bool {
        self.start
            .get(&id.peer)
            .is_some_and(|end| id.counter < *end)
    }

    /// Whether the operation `named` makes something of this kind in `container`.
    fn is_there(&mut self, kind: Kind, container: &ContainerID, named: ID) -> bool {
        if self.is_trimmed(named) {
            return true;
        }
        let made = self
            .made
            .entry(named)
            .or_insert_with(|| made(self.doc, named));
        made.as_ref()
            .is_some_and(|made| made.0 == kind && made.1 == *container)
    }

    /// The operation that made an element.
    fn element(&mut self, element: IdLp) -> Option<ID> {
        let found = self.found.get(&element.peer).copied();
        let counter = found.and_then(|run| run.counter_at(element.lamport));
        let counter = match counter {
            Some(counter) => counter,
            None => {
                let run = self.find(element)?;
                self.found.insert(element.peer, run);
                run.counter_at(element.lamport)?
            }
        };
        Some(ID::new(element.peer, counter))
    }

    /// The change that was written at this lamport time or is the last before it. Lamport times grow
    /// with counters, so halving finds it.
    fn find(&self, element: IdLp) -> Option<Run> {
        let peer = element.peer;
        let mut first = self.start.get(&peer).copied().unwrap_or(0);
        let mut end = self.doc.oplog_vv().get(&peer).copied()?;
        while first < end {
            let change = self
                .doc
                .get_change(ID::new(peer, first + (end - first) / 2))?;
            let run = Run {
                start: change.id.counter,
                lamport: change.lamport,
                len: u32::try_from(change.len).ok()?,
            };
            if element.lamport < run.lamport {
                end = run.start;
            } else if run.counter_at(element.lamport).is_some() {
                return Some(run);
            } else {
                first = run.start.saturating_add_unsigned(run.len);
            }
        }
        None
    }
}

/// The nodes that an operation on a tree names besides the one that it creates.
fn nodes(op: &TreeOp, id: ID) -> [Option<ID>; 2] {
    let node = |node: &TreeID| ID::new(node.peer, node.counter);
    let (target, parent) = match op {
        TreeOp::Create { target, parent, .. } | TreeOp::Move { target, parent, .. } => {
            (target, parent.as_ref().map(node))
        }
        TreeOp::Delete { target } => (target, None),
    };
    let creates = matches!(op, TreeOp::Create { .. }) && node(target) == id;
    [(!creates).then(|| node(target)), parent]
}

/// What the operation makes, and where.
fn made(doc: &LoroDoc, id: ID) -> Option<(Kind, ContainerID)> {
    let span = IdSpan::new(id.peer, id.counter, id.counter.checked_add(1)?);
    let op = doc.export_json_in_id_span(span).pop()?.ops.pop()?;
    let kind = match &op.content {
        JsonOpContent::Tree(TreeOp::Create { target, .. })
            if (target.peer, target.counter) == (id.peer, id.counter) =>
        {
            Kind::Node
        }
        JsonOpContent::MovableList(MovableListOp::Insert { .. }) => Kind::Element,
        _ => return None,
    };
    Some((kind, op.container))
}

/// What a change was written on top of, worked out once it is asked for.
struct Past<'a> {
    change: &'a JsonChange,
    version: Option<VersionVector>,
}

impl Past<'_> {
    fn includes(&mut self, doc: &LoroDoc, naming: ID, named: ID) -> bool {
        if named.peer == naming.peer {
            return named.counter < naming.counter;
        }
        let version = self.version.get_or_insert_with(|| {
            let below: Frontiers = self.change.deps.iter().copied().collect();
            // The document holds whatever its changes were written on top of, unless it was trimmed.
            doc.frontiers_to_vv(&below)
                .unwrap_or_else(|| doc.oplog_vv())
        });
        version
            .get(&named.peer)
            .is_some_and(|end| named.counter < *end)
    }
}
