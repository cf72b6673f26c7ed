use bytes::Bytes;
use crdt_document::CrdtError;
use document_types::limits::{INSERTED_TEXT_PER_IMPORT_BYTES_MAX, UNSENT_UPDATES_COUNT_MAX};
use document_types::{CounterSpan, VersionVector};
use sync_protocol::Message;
use tokio::time::Instant;

use super::{Replica, Stage};
use crate::event::{Committed, DocumentEvent};
use crate::outbox::Offer;
use crate::text_change::TextChange;

impl Replica {
    /// Turns the edits that wait into operations, which go out as one update. Of a long text as much
    /// as one import may take; the rest waits for the next commit, so that it builds on what others
    /// write meanwhile and is not concurrent with it.
    pub(crate) fn commit(&mut self, now: Instant) {
        let Some(since) = self.pending.since else {
            return;
        };
        if self.restoring.is_some() || self.is_closed() {
            return;
        }
        match self.try_commit(since, now) {
            Ok(Some(committed)) => self.emit(DocumentEvent::Committed(committed)),
            Ok(None) => {}
            Err(error) => self.reload(&error, now),
        }
        self.publish();
    }

    fn try_commit(&mut self, since: Instant, now: Instant) -> Result<Option<Committed>, CrdtError> {
        let version = self.content.crdt().version()?;
        let (change, rest) = self
            .pending
            .change
            .split(INSERTED_TEXT_PER_IMPORT_BYTES_MAX);
        let inserted_bytes = change.inserted_bytes();
        self.content.apply(&change)?;
        let is_all = rest.is_none();
        let text_alone = !is_all || self.pending.transactions.is_empty();
        self.pending.since = (!is_all).then_some(now);
        self.pending.change = rest.unwrap_or_else(|| TextChange::none(self.content.len()));
        while is_all && let Some(transaction) = self.pending.transactions.pop_front() {
            let shown = self.content.run(transaction)?;
            self.pending.change = TextChange::none(self.content.len());
            self.show(shown);
        }
        self.remember_place()?;
        let updates = self.offer(&version, text_alone.then_some(inserted_bytes), now)?;
        self.traced.committed(since);
        Ok(updates.map(|(span, updates)| Committed {
            span,
            version,
            updates,
            edited_at: since,
            committed_at: now,
        }))
    }

    /// Puts own operations that `before` does not know into the outbox. `inserted_bytes` are those
    /// of the text that they insert, if that is known.
    pub(super) fn offer(
        &mut self,
        before: &VersionVector,
        inserted_bytes: Option<usize>,
        now: Instant,
    ) -> Result<Option<(CounterSpan, Vec<Bytes>)>, CrdtError> {
        let peer = self.content.peer();
        let end = self.content.crdt().version()?.end(peer);
        let span = CounterSpan {
            peer,
            start: before.end(peer),
            end,
        };
        if span.is_empty() {
            return Ok(None);
        }
        let updates = self.content.export_own(span, inserted_bytes)?;
        let bytes = updates.iter().map(|(_, bytes)| bytes.clone()).collect();
        for (span, bytes) in updates {
            self.outbox.push(Offer::new(span, bytes, now));
        }
        if self.outbox.unsent_count() > self.compact_at {
            self.compact()?;
        }
        Ok(Some((span, bytes)))
    }

    /// Cuts what was never sent into as few updates as may be: a long time offline would otherwise
    /// leave one for each few keystrokes.
    fn compact(&mut self) -> Result<(), CrdtError> {
        let unsent = self.outbox.take_unsent_tail();
        let mut runs: Vec<(CounterSpan, Instant)> = Vec::new();
        for offer in &unsent {
            match runs.last_mut() {
                Some((run, _)) if run.peer == offer.span.peer && run.end == offer.span.start => {
                    run.end = offer.span.end;
                }
                _ => runs.push((offer.span, offer.committed_at)),
            }
        }
        for (run, committed_at) in runs {
            for (span, bytes) in self.content.export_own(run, None)? {
                if span.end <= run.end {
                    self.outbox.push(Offer::new(span, bytes, committed_at));
                }
            }
        }
        self.compact_at = UNSENT_UPDATES_COUNT_MAX.max(2 * self.outbox.unsent_count());
        Ok(())
    }

    /// Sends what may be sent now.
    pub(super) fn send(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::CatchingUp | Stage::Live)
            || self.restoring.is_some()
            || self.send_after.is_some_and(|after| after > now)
        {
            return;
        }
        self.send_after = None;
        loop {
            let batch = self.ids.batch();
            let Some(updates) = self.outbox.send(batch, now) else {
                return;
            };
            self.traced.sent(batch, now);
            self.out.push_back(Message::DocUpdate {
                updates,
                batch: Some(batch),
            });
        }
    }
}
