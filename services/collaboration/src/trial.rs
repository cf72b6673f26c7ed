//! Asks the dry run what becomes of a flight's updates.

use std::sync::Arc;

use bytes::Bytes;
use document_types::{DocumentId, ErrorCode, VersionVector};
use dry_run::{DryRunError, DryRunRequest, Verdict};

use crate::gate::{Offer, Refusal, chain};
use crate::node::NodeParts;

/// What is to be tried, and on what.
pub(crate) struct Trial {
    pub(crate) document: DocumentId,
    /// What the log has let in.
    pub(crate) version: VersionVector,
    /// Logged updates that the dry run may not have seen.
    pub(crate) applied: Vec<Bytes>,
    /// The room's recent updates, if the dry run lacks the document and has to be given all of it.
    pub(crate) base: Option<Vec<Bytes>>,
    /// Whether what the dry run has of the document must not be built upon.
    pub(crate) forget: bool,
    pub(crate) offers: Vec<Offer>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Tried {
    /// To be stamped and appended.
    pub(crate) harmless: Vec<Offer>,
    /// Refused, each with what it did.
    pub(crate) harmful: Vec<(Offer, String)>,
    /// Nothing was tried: the dry run lacks the document. The offers are in `harmless`.
    pub(crate) needs_base: bool,
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
                Err(error) => return unavailable(self.offers, &error),
            },
        };
        let request = DryRunRequest {
            document: self.document.clone(),
            version: self.version,
            base,
            applied: self.applied,
            candidates: self
                .offers
                .iter()
                .map(|offer| offer.bytes.clone())
                .collect(),
        };
        let verdicts = parts.dry_run.try_updates(request).await;
        metrics::histogram!(crate::metrics::DRY_RUN_MS)
            .record(started.elapsed().as_secs_f64() * 1_000.0);
        match verdicts {
            Ok(verdicts) => {
                let mut tried = Tried::default();
                for (offer, verdict) in self.offers.into_iter().zip(verdicts) {
                    match verdict {
                        Verdict::Harmless => tried.harmless.push(offer),
                        Verdict::Harmful(harm) => tried.harmful.push((offer, harm.to_string())),
                    }
                }
                tried
            }
            Err(DryRunError::NeedsBase) if !had_base => Tried {
                harmless: self.offers,
                needs_base: true,
                ..Tried::default()
            },
            Err(error) => unavailable(self.offers, &error),
        }
    }
}

fn unavailable(offers: Vec<Offer>, error: &dyn std::error::Error) -> Tried {
    let refusal = Refusal::new(ErrorCode::Unavailable, chain(error));
    Tried {
        harmless: offers,
        unavailable: Some(refusal),
        ..Tried::default()
    }
}
