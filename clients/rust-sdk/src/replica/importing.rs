use bytes::Bytes;
use crdt_document::CrdtError;
use document_types::limits::{INSERTED_TEXT_PER_IMPORT_BYTES_MAX, RELOADS_MAX};
use std::time::Duration;
use tokio::time::Instant;

use super::{Replica, Stage, import_steps};
use crate::content::{Content, engine_frontiers};
use crate::event::DocumentEvent;
use crate::text_change::TextChange;

impl Replica {
    /// Updates of others have come, or a snapshot. They are imported when everything that has
    /// arrived is read, or when they are one import's work.
    pub(crate) fn updates(&mut self, updates: &[Bytes], now: Instant) {
        if !matches!(self.stage, Stage::CatchingUp | Stage::Live) {
            return;
        }
        let bytes: usize = updates.iter().map(Bytes::len).sum();
        if self.inbox.bytes + bytes > INSERTED_TEXT_PER_IMPORT_BYTES_MAX {
            self.import_inbox(now);
        }
        self.inbox.updates.extend_from_slice(updates);
        self.inbox.bytes += bytes;
        self.inbox.since.get_or_insert(now);
    }

    /// Everything that has arrived is read: imports it, and commits if the room's beat was in it.
    pub(super) fn read_inbox(&mut self, now: Instant) {
        self.import_inbox(now);
        self.inbox.since = None;
        if std::mem::take(&mut self.inbox.beat_heard)
            && (!self.outbox.is_in_flight() || self.commit_at().is_some_and(|at| at <= now))
        {
            self.commit(now);
        }
    }

    fn import_inbox(&mut self, now: Instant) {
        self.inbox.bytes = 0;
        for step in import_steps(&std::mem::take(&mut self.inbox.updates)) {
            match self.import(step, now) {
                Ok(true) => {}
                Ok(false) => return self.rejoin(now),
                Err(CrdtError::Refused(error)) => {
                    // Whatever builds on it will be pending, and that leads to a rejoin.
                    tracing::warn!(%error, "the engine refused an update from the server");
                }
                Err(error) => return self.reload(&error, now),
            }
        }
    }

    /// Imports one step; whether all of it is in the document now.
    fn import(&mut self, step: &[Bytes], now: Instant) -> Result<bool, CrdtError> {
        let started = Instant::now();
        let (imported, change) = self.content.import(step);
        let took = started.elapsed();
        if self.restoring.is_none() {
            self.rebase(&change);
            self.remember_place()?;
        }
        let outcome = imported?;
        let peer = self.content.peer();
        let spans: Vec<_> = outcome
            .applied
            .into_iter()
            .filter(|span| span.peer != peer)
            .collect();
        if !spans.is_empty() {
            self.emit(DocumentEvent::Imported {
                spans,
                at: now,
                took,
            });
        }
        Ok(outcome.pending.is_empty())
    }

    /// Everything that the replica lacked at its join has come.
    pub(crate) fn caught_up(&mut self, now: Instant) {
        if self.stage == Stage::CatchingUp {
            self.import_inbox(now);
        }
        if self.stage != Stage::CatchingUp {
            return;
        }
        // A stock server does not say when it has sent everything, so nothing can be missing yet.
        let has_all = self.content.crdt().version();
        if self.stamps && !has_all.is_ok_and(|version| version.includes(&self.promised)) {
            tracing::warn!("a part of what the server was to send has not come; joining again");
            return self.rejoin(now);
        }
        if self.restoring.is_some()
            && let Err(error) = self.restore()
        {
            return self.reload(&error, now);
        }
        self.reloads = 0;
        if self.outbox.is_empty() {
            self.attempts.reset();
        }
        self.enter(Stage::Live);
        self.emit(DocumentEvent::CaughtUp);
        self.commit(now);
        self.send(now);
        self.publish();
    }

    /// The room's beat: the frames before it are all of this beat, and what waits is committed on
    /// top of them when they are imported.
    ///
    /// Not while the commit before it has no answer: others have not seen that one either. On a
    /// server that takes longer than a beat, commits on every beat would be as concurrent as without
    /// a pulse, hence slow to import, and the server slower still.
    pub(crate) fn pulse(&mut self, beat: u64, beat_ms: u32, typists: u32, now: Instant) {
        self.beat = (beat_ms > 0).then(|| Duration::from_millis(u64::from(beat_ms)));
        self.inbox.beat_heard = true;
        self.inbox.since.get_or_insert(now);
        self.emit(DocumentEvent::Pulse {
            beat,
            beat_ms,
            typists,
        });
    }

    /// Notes where the replica is, which is what the edits that wait begin at.
    pub(super) fn remember_place(&mut self) -> Result<(), CrdtError> {
        self.place = self.content.crdt().frontiers()?;
        Ok(())
    }

    /// Throws the engine's document away and loads it from the server again. Own operations that
    /// are not acknowledged are in the outbox, and edits that were not committed wait; both are put
    /// back when the document is there.
    pub(super) fn reload(&mut self, error: &CrdtError, now: Instant) {
        tracing::error!(%error, "the replica is thrown away and loaded again");
        self.reloads += 1;
        if self.reloads > RELOADS_MAX {
            return self.close_because(format!("the engine fails on this document: {error}"));
        }
        // Under a new peer id, so that nothing of the old one has to be in place first.
        match Content::new(self.ids.peer()) {
            Ok(content) => self.content = content,
            Err(error) => return self.close_because(format!("the engine fails: {error}")),
        }
        self.restoring
            .get_or_insert_with(|| std::mem::take(&mut self.place));
        self.emit(DocumentEvent::Reloading);
        self.rejoin(now);
        self.publish();
    }

    /// Puts own operations back into the document that was loaded again, and moves the edits that
    /// wait to where it is now.
    fn restore(&mut self) -> Result<(), CrdtError> {
        let own: Vec<Bytes> = self
            .outbox
            .iter()
            .map(|offer| offer.bytes.clone())
            .collect();
        for step in import_steps(&own) {
            self.content.import(step).0?;
        }
        let Some(place) = self.restoring.clone() else {
            return Ok(());
        };
        let [from, to] = [
            engine_frontiers(&place),
            engine_frontiers(&self.content.crdt().frontiers()?),
        ];
        let len = self.pending.change.len_before();
        let change = self.content.change_between(&from, &to, len)?;
        self.restoring = None;
        if change.len_after() == self.content.len() {
            self.rebase(&change);
        } else {
            tracing::error!("edits that waited for their commit are lost");
            self.pending.change = TextChange::none(self.content.len());
        }
        self.remember_place()
    }
}
