//! What the log says of the document: the admission fold, record by record.

use admission::{Verdict, VoidReason};
use document_types::record::{Body, OperationKind, Payload, StampedUpdate};
use document_types::{CounterSpan, LogOffset};
use service_api::AckStamps;
use tokio::time::Instant;

use super::Room;
use super::flight::Landed;
use super::recent::RecentUpdate;
use crate::node::LookError;
use crate::partition_tail::{TailError, TailRecord};

impl Room {
    /// Folds one record in.
    pub(super) async fn fold(&mut self, entry: &TailRecord) -> Result<(), TailError> {
        let (node, position) = (self.parts.writer.identity(), &entry.record.position);
        let is_elsewhere = (&position.region, position.node) != (&node.region, node.node);
        let landed = self.flight.land(&entry.record, node);
        if let Body::Updates(batch) = &entry.record.body {
            for (place, update) in batch.content.iter().enumerate() {
                if let Err(error) = self.parts.gate.stamps.observe(update.stamp.hlc) {
                    tracing::error!(
                        document = %self.document,
                        node = entry.record.position.node.0,
                        error = &error as &dyn std::error::Error,
                        "a node's clock is too far ahead"
                    );
                }
                if is_elsewhere {
                    self.pulse
                        .typed_elsewhere(&update.stamp.session, Instant::now());
                }
                let received = landed.as_ref().and_then(|landed| landed.received(place));
                self.let_in(update.clone(), received).await?;
            }
        }
        if is_elsewhere {
            let beat = entry.record.beat;
            self.pulse.needed_elsewhere(position, beat, Instant::now());
            // It also forgets who stopped typing there, though nobody types here.
            self.settle_pulse();
        }
        if let Some(landed) = landed {
            self.answer(&landed, entry.offset);
        }
        Ok(())
    }

    /// Judges an update and those that waited for it. `received` says when, if it flew from here.
    async fn let_in(
        &mut self,
        update: StampedUpdate,
        received: Option<Instant>,
    ) -> Result<(), TailError> {
        let mut next = Some((update, received));
        while let Some((update, received)) = next.take() {
            if !self.judge(update, received).await? {
                continue;
            }
            next = self.take_held().map(|update| (update, None));
        }
        Ok(())
    }

    /// One of the held updates whose dependencies have come.
    fn take_held(&mut self) -> Option<StampedUpdate> {
        let ready = self
            .held
            .iter()
            .position(|update| !matches!(self.admission.judge(update), Verdict::Waits { .. }))?;
        self.held.remove(ready)
    }

    /// Judges one update; says whether it was let in.
    async fn judge(
        &mut self,
        update: StampedUpdate,
        received: Option<Instant>,
    ) -> Result<bool, TailError> {
        loop {
            match self.admission.judge(&update) {
                Verdict::Admit => {
                    self.admit(&update, received);
                    return Ok(true);
                }
                Verdict::Known => return Ok(false),
                Verdict::Waits { .. } => {
                    self.held.push_back(update);
                    return Ok(false);
                }
                Verdict::NeedsSpans(span) => {
                    self.admission
                        .learn_spans(self.parts.known_spans(&self.document, span).await?);
                }
                Verdict::Compare { overlap, rest } => {
                    let equal = self.is_same_content(&update, overlap).await?;
                    if equal && rest.is_some() {
                        self.admit(&update, received);
                        return Ok(true);
                    }
                    if !equal {
                        self.void(&update, VoidReason::Equivocation);
                    }
                    return Ok(false);
                }
                Verdict::Void(reason) => {
                    self.void(&update, reason);
                    return Ok(false);
                }
            }
        }
    }

    fn admit(&mut self, update: &StampedUpdate, received: Option<Instant>) {
        self.admission.admit(update);
        self.traced.let_in(update.stamp.trace);
        self.lags.landed(update.span, &update.dependencies);
        self.styled |= update.kinds.contains(&OperationKind::Style);
        let session = &update.stamp.session;
        if (self.hears_pulse(session) || self.pulse.is_elsewhere(session))
            && let Some(pace) = self.pulse.pace()
        {
            pace.landed(update.span.peer, &update.dependencies, Instant::now());
        }
        let Payload::Inline(bytes) = &update.payload else {
            tracing::error!(document = %self.document, "a payload that this version can't show");
            return;
        };
        self.recent.push(RecentUpdate {
            span: update.span,
            inserted_text_bytes: update.inserted_text_bytes as usize,
            session: update.stamp.session.clone(),
            received,
            bytes: bytes.clone(),
        });
    }

    fn void(&self, update: &StampedUpdate, reason: VoidReason) {
        metrics::counter!(crate::metrics::UPDATES_VOID).increment(1);
        if reason == VoidReason::Equivocation {
            metrics::counter!(crate::metrics::EQUIVOCATIONS).increment(1);
        }
        tracing::warn!(
            document = %self.document,
            correlation_id = update.stamp.correlation_id,
            span = %update.span,
            author = %update.stamp.author.user,
            ?reason,
            "an update in the log is void"
        );
    }

    /// Answers the batches whose updates have landed: an update counts as safe if the log has let in
    /// just these operations.
    fn answer(&mut self, landed: &Landed, offset: LogOffset) {
        for update in &landed.updates {
            self.traced
                .landed(update.offer.batch, self.partition, offset);
            let verdict = self.admission.judge_span(
                &update.offer.author,
                update.offer.span,
                update.offer.digest,
                &update.offer.dependencies,
            );
            if landed.is_ours && verdict == Verdict::Known {
                metrics::counter!(crate::metrics::UPDATES_ACKNOWLEDGED).increment(1);
                let stamps = AckStamps {
                    first: update.hlc,
                    last: update.hlc,
                    node: self.parts.writer.identity().node,
                    offset,
                };
                self.settle(update.offer.batch, 1, Some(stamps));
            } else {
                // Another node was first, or the record was given up. The gate looks again.
                self.contaminated = true;
                self.queue_bytes += update.offer.bytes.len();
                self.queue.push_back(update.offer.clone());
            }
        }
    }

    async fn is_same_content(
        &mut self,
        update: &StampedUpdate,
        overlap: CounterSpan,
    ) -> Result<bool, LookError> {
        let recent = self.recent_bytes();
        self.parts
            .is_same_content(&self.document, recent, update, overlap)
            .await
    }
}
