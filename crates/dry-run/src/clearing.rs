//! Looking at updates that overlap what the document has, or that have to be cut.

use crdt_document::{CrdtDocument, CrdtError, Overlap};

use crate::replicas::harm_of;
use crate::{Clearing, Unclear};

pub(crate) fn look(document: &CrdtDocument, unclear: &Unclear) -> Clearing {
    compare_and_cut(document, unclear).unwrap_or_else(|error| Clearing::Harmful(harm_of(error)))
}

fn compare_and_cut(document: &CrdtDocument, unclear: &Unclear) -> Result<Clearing, CrdtError> {
    if let Some(overlap) = unclear.overlap
        && document.compare_overlap(&unclear.update, overlap)? == Overlap::Different
    {
        return Ok(Clearing::Different);
    }
    let slices = match unclear.rest {
        None => Vec::new(),
        Some(rest) => document.slice_update(&unclear.update, rest)?,
    };
    Ok(Clearing::Same(slices))
}
