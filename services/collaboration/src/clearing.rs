//! Looks closely at updates that the fold can't judge by spans and digests alone: those that overlap
//! known operations with other boundaries or bytes, and those that insert more text than one import
//! may take.

use std::sync::Arc;

use admission::{KnownSpan, Verdict, VoidReason};
use bytes::Bytes;
use crdt_document::{CrdtDocument, CrdtError, Overlap, Slice};
use document_types::{CounterSpan, Digest, DocumentId, ErrorCode};

use crate::gate::{Offer, Refusal, Unclear, chain, void};
use crate::node::NodeParts;

/// What a closer look found.
pub(crate) enum Cleared {
    /// The log has just these operations.
    Known(Offer),
    /// The digests that the fold lacks to judge it.
    Spans(Offer, Vec<KnownSpan>),
    /// The same operations as far as they are new, in updates that one import each may take.
    Instead(Offer, Vec<Offer>),
    /// Not to be let in.
    Refused(Offer, Refusal),
}

/// Looks at each of `offers`.
pub(crate) async fn clear(
    parts: Arc<NodeParts>,
    document: DocumentId,
    recent: Vec<Bytes>,
    offers: Vec<(Offer, Unclear)>,
) -> Vec<Cleared> {
    let mut cleared = Vec::new();
    let mut for_engine = Vec::new();
    for (offer, unclear) in offers {
        match unclear {
            Unclear::Verdict(Verdict::NeedsSpans(span)) => {
                cleared.push(match parts.known_spans(&document, span).await {
                    Ok(spans) => Cleared::Spans(offer, spans),
                    Err(error) => Cleared::Refused(offer, unavailable(&error)),
                });
            }
            Unclear::Verdict(Verdict::Compare { overlap, rest }) => {
                for_engine.push((offer, Some(overlap), rest));
            }
            Unclear::TooMuchText => {
                let whole = offer.span;
                for_engine.push((offer, None, Some(whole)));
            }
            // The rest has been dealt with; looking again is harmless.
            Unclear::Verdict(_) => cleared.push(Cleared::Spans(offer, Vec::new())),
        }
    }
    if for_engine.is_empty() {
        return cleared;
    }
    let stored = match parts.whole_document(&document).await {
        Ok(stored) => stored,
        Err(error) => {
            let refusal = unavailable(&error);
            let refused = for_engine.into_iter();
            cleared.extend(refused.map(|(offer, _, _)| Cleared::Refused(offer, refusal.clone())));
            return cleared;
        }
    };
    let look = move || {
        let loaded = load(stored.iter().chain(&recent));
        for_engine
            .into_iter()
            .map(|(offer, overlap, rest)| match &loaded {
                Ok(document) => look_at(document, offer, overlap, rest),
                Err(error) => Cleared::Refused(offer, unavailable(error)),
            })
            .collect::<Vec<_>>()
    };
    if let Ok(looked) = parts.offload.run(look).await {
        cleared.extend(looked);
    }
    cleared
}

/// The document's history, without its state.
pub(crate) fn load<'a>(bytes: impl Iterator<Item = &'a Bytes>) -> Result<CrdtDocument, CrdtError> {
    let document = CrdtDocument::detached()?;
    for bytes in bytes {
        document.import(bytes)?;
    }
    Ok(document)
}

fn look_at(
    document: &CrdtDocument,
    offer: Offer,
    overlap: Option<CounterSpan>,
    rest: Option<CounterSpan>,
) -> Cleared {
    if let Some(overlap) = overlap {
        match document.compare_overlap(&offer.bytes, overlap) {
            Ok(Overlap::Equal) => {}
            Ok(Overlap::Different) => {
                metrics::counter!(crate::metrics::EQUIVOCATIONS).increment(1);
                return Cleared::Refused(offer, void(VoidReason::Equivocation));
            }
            Err(error) => return Cleared::Refused(offer, invalid(&error)),
        }
    }
    let Some(rest) = rest else {
        return Cleared::Known(offer);
    };
    match document.slice_update(&offer.bytes, rest) {
        Ok(slices) if slices.is_empty() => Cleared::Known(offer),
        Ok(slices) => match slices
            .into_iter()
            .map(|slice| instead(&offer, slice))
            .collect()
        {
            Some(slices) => Cleared::Instead(offer, slices),
            None => {
                let message = "the update's operations can't be told apart";
                Cleared::Refused(offer, Refusal::new(ErrorCode::InvalidUpdate, message))
            }
        },
        Err(error) => Cleared::Refused(offer, invalid(&error)),
    }
}

/// A slice in the place of the update that it was cut from.
fn instead(offer: &Offer, slice: Slice) -> Option<Offer> {
    let [span] = slice.spans.as_slice() else {
        return None;
    };
    Some(Offer {
        span: *span,
        digest: Digest::of(&slice.bytes),
        inserted_text_bytes: slice.inserted_text_bytes,
        bytes: slice.bytes,
        ..offer.clone()
    })
}

fn invalid(error: &CrdtError) -> Refusal {
    let code = match error {
        CrdtError::MissingDependency { .. } => ErrorCode::MissingDependency,
        _ => ErrorCode::InvalidUpdate,
    };
    Refusal::new(code, chain(error))
}

fn unavailable(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(ErrorCode::Unavailable, chain(error))
}
