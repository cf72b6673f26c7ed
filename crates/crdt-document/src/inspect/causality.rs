//! Whether what an update's operations name can have been there when they were written. Each lies
//! below them in lamport time, which also rules out circles.

use std::collections::BTreeMap;

use document_types::limits::CONTAINER_DEPTH_MAX;
use document_types::{OpId, PeerId, VersionVector};

use super::InspectError;
use super::header::Change;
use super::operations::{Findings, Parent};
use super::reader::Malformed;

/// The changes of each peer, in order and without gaps.
pub(super) type Changes = BTreeMap<PeerId, Vec<Change>>;

/// When `id` was written, if the update holds it.
pub(super) fn lamport(changes: &Changes, id: OpId) -> Option<u32> {
    let of_peer = changes.get(&id.peer)?;
    let index = of_peer.partition_point(|change| change.end() <= id.counter);
    let change = of_peer
        .get(index)
        .filter(|change| change.start <= id.counter)?;
    Some(change.lamport + (id.counter - change.start))
}

/// What the update names and does not hold.
pub(super) fn external_references(
    changes: &Changes,
    findings: &Findings,
) -> Result<VersionVector, InspectError> {
    let mut external = VersionVector::new();
    for reference in &findings.references {
        match lamport(changes, reference.id) {
            Some(lamport) if lamport < reference.lamport => {}
            Some(_) => {
                return Err(Malformed("an operation names one that is not before it").into());
            }
            None => {
                let end = reference.id.counter.saturating_add(1);
                if end > external.end(reference.id.peer) {
                    external.set_end(reference.id.peer, end);
                }
            }
        }
    }
    Ok(external)
}

/// Checks that containers which the update creates and uses are used as what they are, and that those
/// it nests do not nest too deep. What lies above a container from elsewhere only the document knows.
pub(super) fn check_containers(changes: &Changes, findings: &Findings) -> Result<(), InspectError> {
    for (creator, kind) in &findings.used {
        let is_here = lamport(changes, *creator).is_some();
        let matches = match findings.created.get(creator) {
            Some(created) => created.kind == *kind,
            None => !is_here,
        };
        if !matches {
            return Err(Malformed("a container is used that was never created").into());
        }
    }
    let mut in_order: Vec<_> = findings.created.iter().collect();
    in_order.sort_unstable_by_key(|(_, created)| created.lamport);
    let mut depths: BTreeMap<OpId, usize> = BTreeMap::new();
    for (id, created) in in_order {
        let depth = 1 + match created.parent {
            Parent::Root { depth } => depth,
            Parent::Container(creator) => depths.get(&creator).copied().unwrap_or(2),
        };
        if depth > CONTAINER_DEPTH_MAX {
            return Err(InspectError::TooDeep {
                depth_max: CONTAINER_DEPTH_MAX,
            });
        }
        depths.insert(*id, depth);
    }
    Ok(())
}
