//! The gate: what stands before every append, whichever door an operation came through.
//!
//! Its steps, in their order: permission, limits, the update's envelope and headers, peer binding,
//! contiguity, the dry run, the stamp. A batch passes [`Gate::examine`] when it arrives; what one
//! flush holds passes [`sequence`] and [`Gate::try_and_stamp`] together.
//!
//! The gate filters, the log decides: every reader of the log judges the records again, by the same
//! rules, since two gates can't be atomic with two appends.

use std::collections::VecDeque;
use std::sync::Arc;

use admission::{Admission, Layer, Verdict, VoidReason};
use bytes::Bytes;
use clock::{Clock, HybridLogicalClock};
use crdt_document::{InspectError, inspect, split_update};
use document_types::limits::{
    INSERTED_TEXT_PER_IMPORT_BYTES_MAX, RECORD_DEPENDENCY_BYTES_MAX, RECORD_PAYLOAD_BYTES_MAX,
    RECORD_STAMP_BYTES_MAX, RECORD_UPDATE_BYTES_MAX, UPDATE_BYTES_MAX, UPDATES_PER_BATCH_MAX,
    UPDATES_PER_RECORD_MAX,
};
use document_types::record::{OperationKind, Payload, Stamp, StampedUpdate};
use document_types::{
    CounterSpan, Digest, DocumentId, ErrorCode, Frontiers, HlcTimestamp, OpId, Permission,
    Principal, SessionId, VersionVector,
};
use service_api::{Permissions, Submission};
use tokio::time::Instant;

use crate::suspension::Suspensions;

/// Why a batch does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Names a batch within its room.
pub(crate) type BatchKey = u64;

/// One update on its way through the gate: consecutive operations of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) batch: BatchKey,
    pub(crate) author: Principal,
    pub(crate) session: SessionId,
    pub(crate) correlation_id: String,
    pub(crate) span: CounterSpan,
    pub(crate) dependencies: Frontiers,
    /// The last operation of each other peer that it names. Whoever imports it must know them, or
    /// the engine may panic.
    pub(crate) references: Vec<OpId>,
    pub(crate) kinds: Vec<OperationKind>,
    pub(crate) inserted_text_bytes: u32,
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) received: Instant,
}

impl Offer {
    /// What the fold says of it, on what the log has let in.
    pub(crate) fn judge(&self, admission: &Admission) -> Verdict {
        let builds_on = [self.dependencies.as_slice(), &self.references].concat();
        admission.judge_span(&self.author, self.span, self.digest, &builds_on)
    }

    /// It as it goes into a record with this stamp, untraced.
    fn stamped(&self, hlc: HlcTimestamp) -> StampedUpdate {
        StampedUpdate {
            stamp: Stamp {
                hlc,
                author: self.author.clone(),
                session: self.session.clone(),
                correlation_id: self.correlation_id.clone(),
                trace: None,
            },
            span: self.span,
            dependencies: self.dependencies.clone(),
            kinds: self.kinds.clone(),
            digest: self.digest,
            receipt: Bytes::new(),
            inserted_text_bytes: self.inserted_text_bytes,
            payload: Payload::Inline(self.bytes.clone()),
        }
    }

    /// What it takes in a record, at most.
    fn record_bytes(&self) -> usize {
        let dependencies = self.dependencies.as_slice().len() * RECORD_DEPENDENCY_BYTES_MAX;
        let ids = self.author.user.as_str().len()
            + self.author.device.as_str().len()
            + self.session.as_str().len()
            + self.correlation_id.len();
        self.bytes.len() + dependencies + ids + RECORD_STAMP_BYTES_MAX
    }
}

/// What every room's gate shares.
pub(crate) struct Gate {
    pub(crate) permissions: Arc<dyn Permissions>,
    pub(crate) suspensions: Suspensions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stamps: Arc<HybridLogicalClock>,
}

/// Who offers a batch, and how it is named.
#[derive(Clone, Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) session: &'a SessionId,
    pub(crate) batch: BatchKey,
    pub(crate) correlation_id: String,
}

impl Gate {
    /// Permission, limits, and our own reading of each update's envelope and headers, before the
    /// engine sees a byte. Gives the batch's updates, a peer each.
    pub(crate) async fn examine(
        &self,
        document: &DocumentId,
        sender: &Sender<'_>,
        submission: &Submission,
    ) -> Result<Vec<Offer>, Refusal> {
        self.permit(document, sender.principal).await?;
        if submission.updates.len() > UPDATES_PER_BATCH_MAX {
            let message = format!("a batch holds {UPDATES_PER_BATCH_MAX} updates at most");
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        let mut offers = Vec::new();
        for update in &submission.updates {
            if update.len() > UPDATE_BYTES_MAX {
                let message = format!("an update has {UPDATE_BYTES_MAX} bytes at most");
                return Err(Refusal::new(ErrorCode::TooLarge, message));
            }
            let parts = split_update(update)
                .map_err(|error| Refusal::new(ErrorCode::InvalidUpdate, error.to_string()))?;
            for part in parts {
                offers.push(self.read(sender, submission.received, part)?);
            }
        }
        Ok(offers)
    }

    async fn permit(&self, document: &DocumentId, principal: &Principal) -> Result<(), Refusal> {
        if self.suspensions.is_suspended(principal, Instant::now()) {
            let message = "several harmful updates came from here; try again in an hour";
            return Err(Refusal::new(ErrorCode::Suspended, message));
        }
        match self.permissions.permission(principal, document).await {
            Ok(Some(Permission::Write)) => Ok(()),
            Ok(_) => {
                let message = "you may not write to this document";
                Err(Refusal::new(ErrorCode::PermissionDenied, message))
            }
            Err(error) => Err(Refusal::new(ErrorCode::Unavailable, error.to_string())),
        }
    }

    fn read(&self, sender: &Sender<'_>, received: Instant, bytes: Bytes) -> Result<Offer, Refusal> {
        let inspected = inspect(&bytes, self.clock.now_ms())
            .map_err(|error| Refusal::new(code_of(&error), chain(&error)))?;
        let [only] = inspected.spans.as_slice() else {
            let message = "a block holds the operations of one peer";
            return Err(Refusal::new(ErrorCode::InvalidUpdate, message));
        };
        let offer = Offer {
            batch: sender.batch,
            author: sender.principal.clone(),
            session: sender.session.clone(),
            correlation_id: sender.correlation_id.clone(),
            span: only.span,
            dependencies: only.dependencies.clone(),
            references: last_operations(&inspected.references),
            kinds: inspected.kinds.iter().copied().collect(),
            inserted_text_bytes: inspected.inserted_text_bytes,
            digest: Digest::of(&bytes),
            bytes,
            received,
        };
        if offer.record_bytes() > RECORD_UPDATE_BYTES_MAX {
            let message = "the update names too many operations of others that it builds on: send its \
                           changes in several";
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        Ok(offer)
    }

    /// Gives what passed the dry run its time.
    pub(crate) async fn stamp(&self, offers: &[Offer]) -> Result<Vec<StampedUpdate>, Refusal> {
        let mut stamped = Vec::with_capacity(offers.len());
        for offer in offers {
            let hlc = self
                .stamps
                .stamp()
                .await
                .map_err(|error| Refusal::new(ErrorCode::Unavailable, chain(&error)))?;
            stamped.push(offer.stamped(hlc));
        }
        Ok(stamped)
    }
}

/// What a flush makes of the updates that wait in a room.
#[derive(Debug, Default)]
pub(crate) struct Sequenced {
    /// To be tried and appended together, in this order.
    pub(crate) ready: Vec<Offer>,
    /// In the log already.
    pub(crate) known: Vec<Offer>,
    /// Void.
    pub(crate) refused: Vec<(Offer, Refusal)>,
    /// To be looked at more closely, by what the store and the engine know.
    pub(crate) unclear: Vec<(Offer, Unclear)>,
}

/// Why an update has to be looked at more closely.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unclear {
    /// The fold needs more than spans and digests.
    Verdict(Verdict),
    /// It inserts more text than one import may take, and has to be cut.
    TooMuchText,
}

/// Peer binding and contiguity: takes from `queue`, in its order, what follows what the log has let
/// in, up to one record's worth. What waits for its dependencies stays in the queue.
pub(crate) fn sequence(admission: &Admission, queue: &mut VecDeque<Offer>) -> Sequenced {
    let mut sequenced = Sequenced::default();
    let mut layer = Layer::over(admission);
    let mut bytes = 0;
    // A pass lets in what earlier passes made possible. Each pass but the last takes at least one
    // update out of the queue, so there are at most as many as updates in a record.
    for _ in 0..=UPDATES_PER_RECORD_MAX {
        let mut moved = false;
        for _ in 0..queue.len() {
            let Some(offer) = queue.pop_front() else {
                break;
            };
            let full = sequenced.ready.len() >= UPDATES_PER_RECORD_MAX
                || (bytes + offer.record_bytes() > RECORD_PAYLOAD_BYTES_MAX
                    && !sequenced.ready.is_empty());
            let builds_on = [offer.dependencies.as_slice(), &offer.references].concat();
            let verdict = layer.judge_span(&offer.author, offer.span, offer.digest, &builds_on);
            // Whether updates that are only about to be appended make the verdict what it is.
            let hangs_on_layer = || offer.judge(admission) != verdict;
            let is_large = offer.inserted_text_bytes as usize > INSERTED_TEXT_PER_IMPORT_BYTES_MAX;
            match verdict {
                Verdict::Waits { .. } => queue.push_back(offer),
                _ if full => queue.push_back(offer),
                Verdict::Admit if !is_large => {
                    moved = true;
                    bytes += offer.record_bytes();
                    layer.admit_span(&offer.author, offer.span, offer.digest);
                    sequenced.ready.push(offer);
                }
                // Nobody is told anything, and nothing is looked up, before those have landed.
                _ if hangs_on_layer() => queue.push_back(offer),
                Verdict::Admit => sequenced.unclear.push((offer, Unclear::TooMuchText)),
                Verdict::Known => sequenced.known.push(offer),
                Verdict::Void(reason) => sequenced.refused.push((offer, void(reason))),
                Verdict::NeedsSpans(_) | Verdict::Compare { .. } => {
                    sequenced.unclear.push((offer, Unclear::Verdict(verdict)));
                }
            }
        }
        if !moved {
            break;
        }
    }
    sequenced
}

fn last_operations(ends: &VersionVector) -> Vec<OpId> {
    ends.iter()
        .map(|(peer, end)| OpId {
            peer,
            counter: end - 1,
        })
        .collect()
}

fn code_of(error: &InspectError) -> ErrorCode {
    match error {
        InspectError::TooMany { .. } | InspectError::TooDeep { .. } => ErrorCode::TooLarge,
        _ => ErrorCode::InvalidUpdate,
    }
}

/// The refusal that a void update gets.
pub(crate) fn void(reason: VoidReason) -> Refusal {
    match reason {
        VoidReason::ForeignPeer => Refusal::new(
            ErrorCode::ForeignPeer,
            "the peer id belongs to another user or device",
        ),
        VoidReason::Equivocation => Refusal::new(
            ErrorCode::Equivocation,
            "the same operations were sent before with other content",
        ),
    }
}

/// An error with its causes, for a person.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use document_types::limits::LOG_RECORD_BYTES_MAX;
    use document_types::record::{Body, Document, NodePosition, OpRecord};
    use document_types::{DeviceId, NodeEpoch, NodeId, PeerId, RegionId, TraceContext, UserId};

    use super::*;

    /// An update of so many bytes that builds on so many operations.
    fn offer(bytes_count: usize, dependencies_count: u64) -> Offer {
        let bytes = Bytes::from(vec![7; bytes_count]);
        let last = |peer| OpId {
            peer: PeerId(u64::MAX - peer),
            counter: u32::MAX,
        };
        Offer {
            batch: 1,
            author: Principal {
                user: UserId::parse(&"u".repeat(128)).unwrap(),
                device: DeviceId::parse(&"d".repeat(128)).unwrap(),
            },
            session: SessionId::parse(&"s".repeat(64)).unwrap(),
            correlation_id: "c".repeat(256),
            span: CounterSpan {
                peer: PeerId(u64::MAX),
                start: u32::MAX - 1,
                end: u32::MAX,
            },
            dependencies: (0..dependencies_count).map(last).collect(),
            references: Vec::new(),
            kinds: (1..=8)
                .map(|kind| OperationKind::try_from(kind).unwrap())
                .collect(),
            inserted_text_bytes: u32::MAX,
            digest: Digest::of(&bytes),
            bytes,
            received: Instant::now(),
        }
    }

    fn record_bytes(offers: &[Offer]) -> usize {
        let stamp = |offer: &Offer| {
            let mut stamped = offer.stamped(HlcTimestamp::from_u64(u64::MAX));
            let trace = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
            stamped.stamp.trace = Some(TraceContext::parse(&trace).unwrap());
            stamped
        };
        let record = OpRecord {
            position: NodePosition {
                region: RegionId::parse("a-region").unwrap(),
                node: NodeId(u32::MAX),
                epoch: NodeEpoch(u64::MAX),
                sequence: u64::MAX,
            },
            traceparent: String::new(),
            body: Body::Updates(Document {
                id: DocumentId::parse(&"d".repeat(128)).unwrap(),
                content: offers.iter().map(stamp).collect(),
            }),
            beat: std::time::Duration::MAX,
        };
        record.encode().len()
    }

    #[test]
    fn what_is_let_into_one_record_goes_into_one() {
        for (bytes_count, dependencies_count) in
            [(UPDATE_BYTES_MAX, 0), (500_000, 20_000), (10, 0), (10, 50)]
        {
            let offer = offer(bytes_count, dependencies_count);
            let (one, count_max) = (offer.record_bytes(), UPDATES_PER_RECORD_MAX);
            assert!(one <= RECORD_UPDATE_BYTES_MAX);
            let count = (RECORD_PAYLOAD_BYTES_MAX / one).clamp(1, count_max);
            let (said, has) = (count * one, record_bytes(&vec![offer; count]));
            assert!(has <= LOG_RECORD_BYTES_MAX, "{count} have {has} bytes");
            // What names the record is counted apart.
            assert!(has <= said + 512, "{has} bytes, and {said} were counted");
        }
    }
}
