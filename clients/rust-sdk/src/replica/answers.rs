use document_types::{Advice, BatchId, CounterSpan, ErrorCode, VersionVector};
use sync_protocol::UpdateStatus;
use tokio::time::Instant;

use super::Replica;
use crate::event::{Acknowledged, DocumentEvent, RecoveryCopy, Stamps};
use crate::outbox::Offer;
use crate::recovery::carry_over;
use crate::text_change::TextChange;

impl Replica {
    /// The stock protocol's answer to a batch. A server of ours says more right after it.
    pub(crate) fn stock_answer(&mut self, batch: BatchId, status: UpdateStatus, now: Instant) {
        if self.stamps {
            return;
        }
        let code = match status {
            UpdateStatus::Ok => return self.acknowledge(batch, None, now),
            UpdateStatus::PermissionDenied => ErrorCode::PermissionDenied,
            UpdateStatus::InvalidUpdate => ErrorCode::InvalidUpdate,
            UpdateStatus::PayloadTooLarge => ErrorCode::TooLarge,
            UpdateStatus::RateLimited => ErrorCode::RateLimited,
            UpdateStatus::FragmentTimeout => ErrorCode::FragmentTimeout,
            UpdateStatus::Unknown | UpdateStatus::AppError => ErrorCode::Internal,
        };
        self.refuse(batch, code, code.advice(), String::new(), now);
    }

    /// A batch is durable.
    pub(crate) fn acknowledge(&mut self, batch: BatchId, stamps: Option<Stamps>, now: Instant) {
        let offers = self.outbox.acknowledge(batch);
        self.traced.answered(batch, now);
        self.attempts.reset();
        self.acknowledged(&offers, stamps, now);
        // Without a pulse the next edits have waited for this.
        if self.commit_at().is_some_and(|at| at <= now) {
            self.commit(now);
        }
        self.send(now);
        self.publish();
    }

    pub(super) fn acknowledged(&self, offers: &[Offer], stamps: Option<Stamps>, now: Instant) {
        let Some(first) = offers.iter().map(|offer| offer.committed_at).min() else {
            return;
        };
        self.emit(DocumentEvent::Acknowledged(Acknowledged {
            spans: spans(offers),
            latency: now.saturating_duration_since(first),
            stamps,
        }));
    }

    /// A batch was refused.
    pub(crate) fn refuse(
        &mut self,
        batch: BatchId,
        code: ErrorCode,
        advice: Advice,
        message: String,
        now: Instant,
    ) {
        let refused: Vec<Offer> = self.outbox.in_batch(batch);
        if refused.is_empty() {
            return;
        }
        tracing::debug!(%batch, %code, ?advice, message, "a batch was refused");
        self.traced.answered(batch, now);
        self.emit(DocumentEvent::Refused {
            spans: spans(&refused),
            code,
            advice,
            message: message.clone(),
        });
        match advice {
            Advice::Retry => {
                self.outbox.resend(batch);
                self.send_after = Some(now + self.attempts.pause());
            }
            Advice::Rejoin => self.rejoin(now),
            Advice::Fix | Advice::GiveUp => {
                if matches!(code, ErrorCode::PermissionDenied | ErrorCode::Suspended) {
                    self.read_only = true;
                }
                if let Some((refused, later)) = self.outbox.cut_at(batch) {
                    self.recover(&refused, &later, code, message, now);
                }
            }
        }
        self.publish();
    }

    /// The peer id can't be written under: takes another, and writes under it what the log lacks.
    pub(super) fn change_peer(&mut self, now: Instant) {
        let own_end = self
            .content
            .crdt()
            .version()
            .map_or(0, |version| version.end(self.content.peer()));
        if own_end == 0 {
            let peer = self.ids.peer();
            match self.content.set_peer(peer) {
                Ok(()) => self.rejoin(now),
                Err(error) => self.reload(&error, now),
            }
        } else {
            let offers = self.outbox.take_all();
            let message = "the peer id is in use elsewhere".to_owned();
            self.recover(&[], &offers, ErrorCode::ForeignPeer, message, now);
        }
    }

    /// Replaces the replica by one without `refused`, which takes `later` over.
    fn recover(
        &mut self,
        refused: &[Offer],
        later: &[Offer],
        code: ErrorCode,
        message: String,
        now: Instant,
    ) {
        let text = self.text();
        let snapshot = self.content.crdt().export_snapshot();
        let peer = self.ids.peer();
        let carried = carry_over(&self.content, refused, later, &self.pending.change, peer);
        let (text, snapshot, carried) = match (text, snapshot, carried) {
            (Ok(text), Ok(snapshot), Ok(carried)) => (text, snapshot, carried),
            (_, Err(error), _) | (_, _, Err(error)) => return self.reload(&error, now),
            (Err(error), _, _) => {
                tracing::error!(%error, "a refusal came while the replica was being loaded");
                return self.rejoin(now);
            }
        };
        self.content = carried.content;
        self.pending.change = carried.pending;
        self.show(carried.shown);
        if self.read_only {
            // There is nothing that the server would take; the recovery copy has it.
            self.drop_pending();
        } else if !self.pending.change.is_none() {
            self.pending.since.get_or_insert(now);
        }
        let offered = self
            .remember_place()
            .and_then(|()| self.offer(&VersionVector::new(), None, now));
        if let Err(error) = offered {
            return self.reload(&error, now);
        }
        self.emit(DocumentEvent::Recovered(RecoveryCopy {
            text,
            snapshot,
            peer,
            code,
            message,
        }));
        self.rejoin(now);
    }

    /// Takes back the edits that wait for their commit.
    fn drop_pending(&mut self) {
        self.pending.transactions.clear();
        self.pending.since = None;
        let edits = std::mem::replace(
            &mut self.pending.change,
            TextChange::none(self.content.len()),
        );
        if let Ok(text) = self.content.text() {
            self.show(edits.inverse(&text));
        }
    }
}

/// The operations of `offers`, at most one span a peer and run.
fn spans(offers: &[Offer]) -> Vec<CounterSpan> {
    let mut spans: Vec<CounterSpan> = Vec::new();
    for offer in offers {
        match spans.last_mut() {
            Some(span) if span.peer == offer.span.peer && span.end == offer.span.start => {
                span.end = offer.span.end;
            }
            _ => spans.push(offer.span),
        }
    }
    spans
}
