//! Asks the dry run what becomes of a flight's updates.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use document_types::{DocumentId, ErrorCode, VersionVector};
use dry_run::{DryRunError, DryRunRequest, Harm, Verdict};

use crate::gate::{Offer, Refusal, chain};
use crate::node::NodeParts;

/// What is to be tried, and on what.
pub(crate) struct Trial {
    pub(crate) document: DocumentId,
    /// What the log has let in.
    pub(crate) version: VersionVector,
    /// Whether more is to be tried than what every client does at once.
    pub(crate) thorough: bool,
    /// Whether the updates may take longer, since the writers had just read the document or have a standing.
    pub(crate) patient: bool,
    /// Whether anything in the document was ever styled.
    pub(crate) styled: bool,
    /// Logged updates that the dry run may not have seen.
    pub(crate) applied: Vec<Bytes>,
    /// The room's recent updates, if the dry run lacks the document and has to be given all of it.
    pub(crate) base: Option<Vec<Bytes>>,
    /// Whether what the dry run has of the document must not be built upon.
    pub(crate) forget: bool,
    /// Whether something failed on what the dry run had of the document; see [`Tried::suspect`].
    pub(crate) suspect: bool,
    pub(crate) offers: Vec<Offer>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Tried {
    /// To be stamped and appended.
    pub(crate) harmless: Vec<Offer>,
    /// Refused, each with what it did.
    pub(crate) harmful: Vec<(Offer, Harm)>,
    /// What the workers spent on it.
    pub(crate) processor_time: Duration,
    /// Nothing was tried: the dry run lacks the document. The offers are in `harmless`.
    pub(crate) needs_base: bool,
    /// Why that is: something failed on what the dry run had, and the offers may be to blame.
    pub(crate) suspect: bool,
    /// Nothing was tried. The offers are in `harmless`.
    pub(crate) unavailable: Option<Refusal>,
}

impl Trial {
    /// Runs the trial.
    pub(crate) async fn run(self, parts: Arc<NodeParts>) -> Tried {
        let started = tokio::time::Instant::now();
        if self.forget {
            parts.dry_run.forget(&self.document).await;
        }
        let had_base = self.base.is_some();
        let base = match self.base {
            None => None,
            Some(recent) => match parts.whole_document(&self.document).await {
                Ok(mut stored) => {
                    stored.extend(recent);
                    Some(stored)
                }
                Err(error) => return unavailable(self.offers, error.refusal()),
            },
        };
        let request = DryRunRequest {
            document: self.document.clone(),
            version: self.version,
            base,
            applied: self.applied,
            styled: self.styled,
            thorough: self.thorough,
            patient: self.patient,
            candidates: self
                .offers
                .iter()
                .map(|offer| offer.bytes.clone())
                .collect(),
            suspect: self.suspect,
        };
        let outcome = parts.dry_run.try_updates(request).await;
        metrics::histogram!(crate::metrics::DRY_RUN_MS)
            .record(started.elapsed().as_secs_f64() * 1_000.0);
        match outcome {
            Ok(outcome) => {
                let mut tried = Tried {
                    processor_time: outcome.processor_time,
                    ..Tried::default()
                };
                for (offer, verdict) in self.offers.into_iter().zip(outcome.verdicts) {
                    match verdict {
                        Verdict::Harmless => tried.harmless.push(offer),
                        Verdict::Harmful(harm) => tried.harmful.push((offer, harm)),
                    }
                }
                tried
            }
            Err(DryRunError::NeedsBase { suspect }) if !had_base => Tried {
                harmless: self.offers,
                needs_base: true,
                suspect,
                ..Tried::default()
            },
            Err(error) => unavailable(self.offers, untried(&error)),
        }
    }
}

fn unavailable(offers: Vec<Offer>, refusal: Refusal) -> Tried {
    Tried {
        harmless: offers,
        unavailable: Some(refusal),
        ..Tried::default()
    }
}

/// What those are told whose updates can't be tried.
pub(crate) fn untried(error: &DryRunError) -> Refusal {
    let code = match error {
        DryRunError::TooLarge => ErrorCode::DocumentTooLarge,
        _ => ErrorCode::Unavailable,
    };
    Refusal::new(code, chain(error))
}
