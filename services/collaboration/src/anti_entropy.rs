//! Offers another region what the copying of the log has not brought there.
//!
//! Logs are copied from region to region by something that may lose records: with the cluster that it
//! read, or because they left their topic before it came to them. So each node compares the documents
//! that are open on it with what the other region has of them, and offers what lacks there, as a
//! gateway would that holds the authors' sessions: the other region's gate judges it like anything else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use admission::Admission;
use bytes::Bytes;
use clock::{IdSource, Interrupted, Offload};
use crdt_document::{CrdtDocument, CrdtError};
use document_store::StoreError;
use document_types::limits::{ANTI_ENTROPY_ANSWER_TIME_MAX, ANTI_ENTROPY_INTERVAL};
use document_types::{BatchId, DocumentId, ErrorCode, PeerId, Principal, RegionId, VersionVector};
use service_api::{
    Collaboration, JoinError, JoinRequest, Joined, SessionEvent, Submission, SubmitError, WireKind,
};
use tokio::time::{Instant, timeout};

use crate::metrics;
use crate::node::{CollaborationNode, LookError};

/// The author that a replica never writes as which is there to be read.
const NOBODY: PeerId = PeerId(0);

/// Another region, whose log is copied here and to which ours is copied.
#[derive(Clone)]
pub struct OtherRegion {
    /// Its name.
    pub region: RegionId,
    /// Its collaboration nodes.
    pub collaboration: Arc<dyn Collaboration>,
}

/// Why a document could not be brought up to date elsewhere. It is tried again.
#[derive(Debug, thiserror::Error)]
enum HealError {
    #[error("the document's state can't be read")]
    Look(#[from] LookError),
    #[error("the document's state can't be read")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("the engine can't read the document")]
    Engine(#[from] CrdtError),
    #[error("the reading was interrupted")]
    Interrupted(#[from] Interrupted),
    #[error("peer {0} wrote, and is nobody's")]
    NoOwner(PeerId),
    #[error("{code}: {message}")]
    Refused { code: ErrorCode, message: String },
    #[error("the room was closed")]
    Closed(#[from] SubmitError),
    #[error("there was no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
}

/// Compares documents with one other region.
pub(crate) struct AntiEntropy {
    node: CollaborationNode,
    other: OtherRegion,
    ids: IdSource,
    offload: Offload,
    /// What each document had here at the last comparison.
    earlier: BTreeMap<DocumentId, VersionVector>,
    /// What of each document both regions are known to have.
    agreed: BTreeMap<DocumentId, VersionVector>,
}

impl AntiEntropy {
    pub(crate) fn new(
        node: CollaborationNode,
        other: OtherRegion,
        ids: IdSource,
        offload: Offload,
    ) -> Self {
        Self {
            node,
            other,
            ids,
            offload,
            earlier: BTreeMap::new(),
            agreed: BTreeMap::new(),
        }
    }

    /// Compares for ever.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(ANTI_ENTROPY_INTERVAL).await;
            let open = self.node.open_documents();
            self.earlier.retain(|document, _| open.contains(document));
            self.agreed.retain(|document, _| open.contains(document));
            for document in open {
                if let Err(error) = self.compare(&document).await {
                    ::metrics::counter!(metrics::COMPARISONS_FAILED).increment(1);
                    tracing::warn!(
                        %document,
                        region = %self.other.region,
                        error = &error as &dyn std::error::Error,
                        "a document could not be compared with another region"
                    );
                }
            }
        }
    }

    /// Compares what a document had here at the last comparison with what the other region has now.
    async fn compare(&mut self, document: &DocumentId) -> Result<(), HealError> {
        let parts = self.node.parts();
        let here = parts.store.version_vector(document).await?;
        let earlier = self.earlier.insert(document.clone(), here);
        let Some(earlier) = earlier.filter(|earlier| !earlier.is_empty()) else {
            return Ok(());
        };
        if self.agreed.get(document) == Some(&earlier) {
            return Ok(());
        }
        let loaded = parts.store.load_admission(document).await?;
        let owners = Owners::new(&loaded.admission)?;
        let there = match owners.any() {
            Some(owner) => self.join(document, owner).await?.version,
            None => return Ok(()),
        };
        if !there.includes(&earlier) {
            let count: u64 = earlier
                .beyond(&there)
                .map(|span| u64::from(span.len()))
                .sum();
            tracing::warn!(
                %document,
                region = %self.other.region,
                operation_count = count,
                "operations that another region lacks are offered to it"
            );
            self.offer(document, &there, &owners).await?;
            ::metrics::counter!(metrics::OPERATIONS_HEALED).increment(count);
        }
        self.agreed.insert(document.clone(), earlier);
        Ok(())
    }

    /// Offers everything that `there` lacks, each update as its author's, in an order in which none
    /// comes before what it builds on.
    async fn offer(
        &self,
        document: &DocumentId,
        there: &VersionVector,
        owners: &Owners,
    ) -> Result<(), HealError> {
        let history = self.node.parts().whole_document(document).await?;
        let known = there.clone();
        let slices = self.offload.run(move || {
            let replica = CrdtDocument::from_history(&history, NOBODY)?;
            replica.export_since_in_slices(&known)
        });
        let mut sessions = BTreeMap::new();
        for slice in slices.await?? {
            let owner = owners.of(slice.span.peer)?;
            let session = match sessions.entry(owner) {
                Entry::Occupied(session) => session.into_mut(),
                Entry::Vacant(none) => none.insert(self.join(document, owner).await?),
            };
            self.submit(session, slice.bytes).await?;
        }
        Ok(())
    }

    async fn join(
        &self,
        document: &DocumentId,
        principal: &Principal,
    ) -> Result<Joined, HealError> {
        let request = JoinRequest {
            document: document.clone(),
            session: self.ids.session(),
            principal: principal.clone(),
            version: self.earlier.get(document).cloned().unwrap_or_default(),
            kind: WireKind::Stock,
            peer: None,
        };
        let joining = self.other.collaboration.join(request);
        Ok(timeout(ANTI_ENTROPY_ANSWER_TIME_MAX, joining).await??)
    }

    async fn submit(&self, session: &mut Joined, update: Bytes) -> Result<(), HealError> {
        let batch = self.ids.batch();
        let submission = Submission {
            batch,
            updates: vec![update],
            trace: None,
            received: Instant::now(),
        };
        timeout(ANTI_ENTROPY_ANSWER_TIME_MAX, async {
            session.room.submit(submission).await?;
            answer(session, batch).await
        })
        .await?
    }
}

/// Waits for what is said of a batch. What else the room says is passed over.
async fn answer(session: &mut Joined, offered: BatchId) -> Result<(), HealError> {
    loop {
        match session.events.recv().await {
            Some(SessionEvent::Ack { batch, .. }) if batch == offered => return Ok(()),
            Some(
                SessionEvent::Nack { code, message, .. } | SessionEvent::Closed { code, message },
            ) => return Err(HealError::Refused { code, message }),
            Some(_) => {}
            None => return Err(SubmitError.into()),
        }
    }
}

/// Whose the peers are that wrote a document.
struct Owners(BTreeMap<PeerId, Principal>);

impl Owners {
    fn new(admission: &Admission) -> Result<Self, HealError> {
        let owner = |(peer, _)| {
            let owner = admission.owner(peer).cloned();
            Ok((peer, owner.ok_or(HealError::NoOwner(peer))?))
        };
        let owners: Result<_, HealError> = admission.version().iter().map(owner).collect();
        Ok(Self(owners?))
    }

    fn any(&self) -> Option<&Principal> {
        self.0.values().next()
    }

    fn of(&self, peer: PeerId) -> Result<&Principal, HealError> {
        self.0.get(&peer).ok_or(HealError::NoOwner(peer))
    }
}
