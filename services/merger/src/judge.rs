//! The fold over one document's records, with what the store keeps of it.

use std::collections::BTreeMap;

use admission::{Admission, KnownSpan, Verdict, VoidReason};
use bytes::Bytes;
use clock::Offload;
use crdt_document::{CrdtDocument, Overlap};
use document_store::{
    Admitted, CorruptValue, DocumentStore, PendingId, RecordOutcome, StatePosition, StoreError,
    WaitingUpdate,
};
use document_types::record::{Body, OpRecord, Payload, StampedUpdate};
use document_types::{CounterSpan, DocumentId, LogOffset, LogSource, VersionVector};

use crate::metrics;

/// What the merger knows of a document: the fold's state, and what waits for its dependencies.
pub(crate) struct DocumentState {
    admission: Admission,
    waiting: BTreeMap<PendingId, StampedUpdate>,
    position: StatePosition,
    /// Updates that were judged to be let in and may not be stored yet; later ones are compared with
    /// them, too.
    unstored: Vec<Unstored>,
    offload: Offload,
}

/// An update that was let in, before it is stored.
struct Unstored {
    known: KnownSpan,
    bytes: Bytes,
}

impl DocumentState {
    /// Loads the state that the store holds.
    pub(crate) async fn load(
        store: &DocumentStore,
        document: &DocumentId,
        source: &LogSource,
        offload: Offload,
    ) -> Result<Self, StoreError> {
        let loaded = store.load_admission(document).await?;
        Ok(Self {
            position: loaded.position(source),
            admission: loaded.admission,
            waiting: loaded.waiting.into_iter().collect(),
            unstored: Vec::new(),
            offload,
        })
    }

    /// The position that the next append states.
    pub(crate) fn position(&self) -> StatePosition {
        self.position
    }

    /// What was judged is stored.
    pub(crate) fn appended(&mut self, position: StatePosition) {
        self.position = position;
        self.unstored.clear();
    }

    /// Judges the records that are above the applied position.
    pub(crate) async fn judge(
        &mut self,
        store: &DocumentStore,
        document: &DocumentId,
        source: &LogSource,
        records: &[(LogOffset, OpRecord)],
    ) -> Result<Vec<RecordOutcome>, StoreError> {
        let mut outcomes = Vec::new();
        for (offset, record) in records {
            if self
                .position
                .applied
                .is_some_and(|applied| *offset <= applied)
            {
                continue;
            }
            let mut outcome = RecordOutcome {
                offset: *offset,
                ..RecordOutcome::default()
            };
            if let Body::Updates(batch) = &record.body {
                for (index, update) in (0..).zip(&batch.content) {
                    let id = PendingId {
                        source: source.clone(),
                        offset: *offset,
                        index,
                    };
                    self.judge_one(store, document, update, None, &id, &mut outcome)
                        .await?;
                    self.judge_waiting(store, document, &mut outcome).await?;
                }
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Judges those that waited, for as long as one of them can be let in.
    async fn judge_waiting(
        &mut self,
        store: &DocumentStore,
        document: &DocumentId,
        outcome: &mut RecordOutcome,
    ) -> Result<(), StoreError> {
        loop {
            let ready = self
                .waiting
                .iter()
                .find(|(_, update)| !matches!(self.admission.judge(update), Verdict::Waits { .. }))
                .map(|(id, _)| id.clone());
            let Some(id) = ready else { return Ok(()) };
            let Some(update) = self.waiting.remove(&id) else {
                return Ok(());
            };
            // One that began to wait within this very record has nothing stored to be removed.
            let this_record = outcome
                .waiting
                .iter()
                .position(|waiting| id.offset == outcome.offset && waiting.index == id.index);
            let waited_as = match this_record {
                Some(place) => {
                    outcome.waiting.remove(place);
                    None
                }
                None => Some(id.clone()),
            };
            self.judge_one(store, document, &update, waited_as, &id, outcome)
                .await?;
        }
    }

    async fn judge_one(
        &mut self,
        store: &DocumentStore,
        document: &DocumentId,
        update: &StampedUpdate,
        waited_as: Option<PendingId>,
        id: &PendingId,
        outcome: &mut RecordOutcome,
    ) -> Result<(), StoreError> {
        let mut has_learned = false;
        loop {
            let void = match self.admission.judge(update) {
                Verdict::Admit => {
                    self.admit(update, waited_as, outcome);
                    return Ok(());
                }
                Verdict::Waits { .. } => {
                    self.waiting.insert(id.clone(), update.clone());
                    let waiting = WaitingUpdate {
                        index: id.index,
                        update: update.clone(),
                    };
                    outcome.waiting.push(waiting);
                    return Ok(());
                }
                Verdict::NeedsSpans(span) => {
                    if has_learned {
                        // Asking again would give the same answer for ever.
                        return Err(StoreError::Corrupt {
                            key: format!("the digests over {span}"),
                            source: CorruptValue::Incomplete,
                        });
                    }
                    has_learned = true;
                    self.admission
                        .learn_spans(store.span_digests(document, span).await?);
                    let unstored = self.unstored.iter().map(|unstored| unstored.known);
                    let overlapping = unstored.filter(|known| {
                        let known = known.span;
                        known.peer == span.peer && known.start < span.end && span.start < known.end
                    });
                    self.admission.learn_spans(overlapping);
                    continue;
                }
                Verdict::Known => None,
                Verdict::Compare { overlap, rest } => {
                    let equal = self.is_same(store, document, update, overlap).await?;
                    if equal && rest.is_some() {
                        self.admit(update, waited_as, outcome);
                        return Ok(());
                    }
                    (!equal).then_some(VoidReason::Equivocation)
                }
                Verdict::Void(reason) => Some(reason),
            };
            if let Some(reason) = void {
                self.report_void(document, update, reason);
            }
            outcome.dropped.extend(waited_as);
            return Ok(());
        }
    }

    fn admit(
        &mut self,
        update: &StampedUpdate,
        waited_as: Option<PendingId>,
        outcome: &mut RecordOutcome,
    ) {
        if let Payload::Inline(bytes) = &update.payload {
            let start = self
                .admission
                .version()
                .end(update.span.peer)
                .max(update.span.start);
            let known = KnownSpan {
                span: CounterSpan {
                    start,
                    ..update.span
                },
                digest: update.digest,
            };
            self.unstored.push(Unstored {
                known,
                bytes: bytes.clone(),
            });
        }
        self.admission.admit(update);
        outcome.admitted.push(Admitted {
            update: update.clone(),
            waited_as,
        });
    }

    /// Whether the update's operations over `overlap` are the document's. The document is loaded for
    /// it: this happens only when two gates appended overlapping spans at once.
    async fn is_same(
        &self,
        store: &DocumentStore,
        document: &DocumentId,
        update: &StampedUpdate,
        overlap: CounterSpan,
    ) -> Result<bool, StoreError> {
        let Payload::Inline(bytes) = update.payload.clone() else {
            return Ok(false);
        };
        let known = VersionVector::new();
        let mut history = store.history_bytes(document, &known).await?.into_bytes();
        history.extend(self.unstored.iter().map(|unstored| unstored.bytes.clone()));
        let comparison = self.offload.run(move || {
            let replica = CrdtDocument::detached()?;
            for bytes in &history {
                replica.import(bytes)?;
            }
            replica.compare_overlap(&bytes, overlap)
        });
        // An update that can't even be compared is not the one that we have.
        Ok(matches!(comparison.await, Ok(Ok(Overlap::Equal))))
    }

    fn report_void(&self, document: &DocumentId, update: &StampedUpdate, reason: VoidReason) {
        ::metrics::counter!(metrics::UPDATES_VOID, "reason" => format!("{reason:?}")).increment(1);
        tracing::warn!(
            %document,
            span = %update.span,
            correlation_id = update.stamp.correlation_id,
            author = %update.stamp.author.user,
            ?reason,
            "an update in the log is void"
        );
    }
}
