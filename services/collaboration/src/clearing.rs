//! Looks closely at updates that the fold can't judge by spans and digests alone: those that overlap
//! known operations with other boundaries or bytes, and those that insert more text than one import
//! may take.

use std::sync::Arc;

use admission::{KnownSpan, Verdict, VoidReason};
use bytes::Bytes;
use crdt_document::Slice;
use document_types::{Digest, DocumentId, ErrorCode};
use dry_run::{Clearing, Harm};

use crate::gate::{Offer, Refusal, Unclear, void};
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
    let mut unclear_offers = Vec::new();
    let mut candidates = Vec::new();
    for (offer, unclear) in offers {
        let update = offer.bytes.clone();
        let (overlap, rest) = match unclear {
            Unclear::Verdict(Verdict::NeedsSpans(span)) => {
                cleared.push(match parts.known_spans(&document, span).await {
                    Ok(spans) => Cleared::Spans(offer, spans),
                    Err(error) => Cleared::Refused(offer, error.refusal()),
                });
                continue;
            }
            Unclear::Verdict(Verdict::Compare { overlap, rest }) => (Some(overlap), rest),
            Unclear::TooMuchText => (None, Some(offer.span)),
            // The rest has been dealt with; looking again is harmless.
            Unclear::Verdict(_) => {
                cleared.push(Cleared::Spans(offer, Vec::new()));
                continue;
            }
        };
        unclear_offers.push(offer);
        candidates.push(dry_run::Unclear {
            update,
            overlap,
            rest,
        });
    }
    if unclear_offers.is_empty() {
        return cleared;
    }
    match parts.look(document, recent, candidates).await {
        Ok(clearings) => {
            let looked = unclear_offers.into_iter().zip(clearings);
            cleared.extend(looked.map(|(offer, clearing)| judge(offer, clearing)));
        }
        Err(error) => {
            let refusal = error.refusal();
            let refused = unclear_offers.into_iter();
            cleared.extend(refused.map(|offer| Cleared::Refused(offer, refusal.clone())));
        }
    }
    cleared
}

fn judge(offer: Offer, clearing: Clearing) -> Cleared {
    match clearing {
        Clearing::Different => {
            metrics::counter!(crate::metrics::EQUIVOCATIONS).increment(1);
            Cleared::Refused(offer, void(VoidReason::Equivocation))
        }
        Clearing::Harmful(harm) => {
            let code = match harm {
                Harm::Dangling => ErrorCode::MissingDependency,
                _ => ErrorCode::InvalidUpdate,
            };
            Cleared::Refused(offer, Refusal::new(code, harm.to_string()))
        }
        Clearing::Same(slices) if slices.is_empty() => Cleared::Known(offer),
        Clearing::Same(slices) => {
            let slices = slices.into_iter().map(|slice| instead(&offer, slice));
            let slices = slices.collect();
            Cleared::Instead(offer, slices)
        }
    }
}

/// A slice in the place of the update that it was cut from.
fn instead(offer: &Offer, slice: Slice) -> Offer {
    Offer {
        span: slice.span,
        digest: Digest::of(&slice.bytes),
        inserted_text_bytes: slice.inserted_text_bytes,
        bytes: slice.bytes,
        ..offer.clone()
    }
}
