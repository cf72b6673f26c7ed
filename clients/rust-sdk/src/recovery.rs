//! Taking refused operations out of a replica.
//!
//! What was refused stays in its author's replica, and everything later builds on it, so no server
//! would take that either. The way out is a replica as of before the refused operations, and the
//! later edits written anew on it, under a new peer id.

use crdt_document::CrdtError;
use document_types::{PeerId, VersionVector};

use crate::TextChange;
use crate::content::Content;
use crate::outbox::Offer;

/// A replica without what was refused.
pub(crate) struct Carried {
    pub(crate) content: Content,
    /// The later edits, as they are without what was refused. They wait for their commit.
    pub(crate) pending: TextChange,
    /// How to get there from the text that the application shows.
    pub(crate) shown: TextChange,
}

/// Leaves `refused` out of `content`, and takes over `later` and what waits in `pending`.
///
/// Edits of the text outside of [`crdt_document::CONTENT`], and of other containers, are taken over
/// as far as the engine can apply them without what was refused.
pub(crate) fn carry_over(
    content: &Content,
    refused: &[Offer],
    later: &[Offer],
    pending: &TextChange,
    peer: PeerId,
) -> Result<Carried, CrdtError> {
    let latest = content.crdt().version()?;
    let with_refused = before(&latest, later);
    let without = before(&with_refused, refused);
    let fresh = content.at(&without, peer)?;

    let [start, middle, end] =
        [&without, &with_refused, &latest].map(|version| content.frontiers_of(version));
    let taken_back = content.change_between(&start, &middle, fresh.len())?;
    let kept = content.change_between(&middle, &end, taken_back.len_after())?;
    let undo = taken_back.inverse(&fresh.text()?);
    let (pending, shown) = kept
        .then(pending)
        .and_then(|kept| kept.transform(&undo))
        .unwrap_or_else(|_| (TextChange::none(fresh.len()), undo));

    let others = content.other_changes_between(&middle, &end)?;
    if others.iter().next().is_some()
        && let Err(error) = fresh.crdt().engine().apply_diff(others)
    {
        tracing::warn!(%error, "edits outside of the text stay in the recovery copy alone");
    }
    fresh.crdt().commit()?;
    Ok(Carried {
        content: fresh,
        pending,
        shown,
    })
}

/// `version` without `offers`, the last of their peers' operations in it.
fn before(version: &VersionVector, offers: &[Offer]) -> VersionVector {
    let mut version = version.clone();
    for offer in offers {
        if offer.span.start < version.end(offer.span.peer) {
            version.set_end(offer.span.peer, offer.span.start);
        }
    }
    version
}
