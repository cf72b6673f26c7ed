//! A flight: what one flush holds, on its way from the queue through the dry run into the log.
//!
//! A room has one flight at a time, so its records stand in the log in the order in which they passed
//! the gate. It starts when something waits and nothing flies, and lands when the room's own tail
//! brings its record: an append's result alone acknowledges nothing.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use admission::Verdict;
use document_types::limits::{
    TRIAL_CHEAP_PER_UPDATE_MAX, TRIAL_PAUSE, WAITING_UPDATES_BYTES_MAX, WAITING_UPDATES_COUNT_MAX,
    WAITING_UPDATES_TIME_MAX,
};
use document_types::record::{Body, Document, OpRecord};
use document_types::{ErrorCode, HlcTimestamp};
use dry_run::Harm;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Room;
use super::lag::is_fresh;
use super::turns::Turn;
use crate::clearing::{Cleared, clear};
use crate::gate::{Offer, Refusal, chain, sequence};
use crate::log_writer::{Appended, NodeIdentity};
use crate::trial::{Trial, Tried};

/// Where the flight is.
#[derive(Default)]
pub(super) enum Flight {
    /// There is none.
    #[default]
    None,
    /// There is none yet: a record that the document's last room left behind is on its way.
    Waiting(BoxFuture<'static, ()>),
    /// Updates that overlap what is known, or that insert too much at once, are looked at closely.
    Clearing(BoxFuture<'static, Vec<Cleared>>),
    /// In the dry run.
    Trying(BoxFuture<'static, Tried>),
    /// On the way into the log; its record may come from the tail at any moment. The task goes on
    /// although the room ends, so that the record's number is used.
    Appending(oneshot::Receiver<Appended>, AbortHandle, InFlight),
    /// The log has taken it, or an empty record in its place. The tail will bring it.
    Landing(InFlight),
}

/// What is being appended.
pub(super) struct InFlight {
    sequence: u64,
    updates: Vec<Flying>,
}

/// One update with the stamp that it flies under.
pub(super) struct Flying {
    pub(super) offer: Offer,
    pub(super) hlc: HlcTimestamp,
}

/// A flight that the tail has brought.
pub(super) struct Landed {
    pub(super) updates: Vec<Flying>,
    /// Whether it is the record itself, not the empty one that was put in its place.
    pub(super) is_ours: bool,
}

/// A stage that has ended.
pub(super) enum Step {
    Free,
    Cleared(Vec<Cleared>),
    Tried(Tried),
    Appended(Appended),
}

impl Landed {
    /// When the update at `place` of the record was received, if it is this flight's.
    pub(super) fn received(&self, place: usize) -> Option<Instant> {
        let update = self.updates.get(place).filter(|_| self.is_ours)?;
        Some(update.offer.received)
    }
}

impl Flight {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether there is nothing of this room's in it.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None | Self::Waiting(_))
    }

    /// Waits for the end of the stage. Dropping the future loses nothing.
    pub(super) async fn step(&mut self) -> Step {
        match self {
            Self::Waiting(waiting) => {
                waiting.await;
                Step::Free
            }
            Self::Clearing(clearing) => Step::Cleared(clearing.await),
            Self::Trying(trying) => Step::Tried(trying.await),
            Self::Appending(outcome, ..) => {
                Step::Appended(outcome.await.unwrap_or(Appended::Unsettled))
            }
            Self::None | Self::Landing(_) => std::future::pending().await,
        }
    }

    /// Lands the flight if `record` is its record or stands in its place.
    pub(super) fn land(&mut self, record: &OpRecord, node: &NodeIdentity) -> Option<Landed> {
        let (Self::Appending(.., flying) | Self::Landing(flying)) = &*self else {
            return None;
        };
        let position = &record.position;
        let is_it = position.node == node.node
            && position.epoch == node.epoch
            && position.region == node.region
            && position.sequence == flying.sequence;
        if !is_it {
            return None;
        }
        let updates = match std::mem::take(self) {
            Self::Appending(_, task, flying) => {
                // The number is used; nothing is left to be tried.
                task.abort();
                flying.updates
            }
            Self::Landing(flying) => flying.updates,
            Self::None | Self::Waiting(_) | Self::Clearing(_) | Self::Trying(_) => return None,
        };
        Some(Landed {
            updates,
            is_ours: matches!(record.body, Body::Updates(_)),
        })
    }
}

impl Room {
    /// Starts a flight if something waits and nothing flies.
    pub(super) fn start_flight(&mut self) {
        if !self.flight.is_none() || self.queue.is_empty() || self.company_until().is_some() {
            return;
        }
        if let Some((until, refusal)) = &self.untriable {
            if Instant::now() < *until {
                return self.refuse_all(&refusal.clone());
            }
            self.untriable = None;
        }
        let alone = self.sessions.len() <= 1;
        let turns = self.turns.next(&self.queue, alone, Instant::now());
        for turn in turns {
            self.start_flight_of(turn);
            if !self.flight.is_none() {
                break;
            }
        }
        if self.flight.is_none() {
            self.give_up_waiting();
        }
        self.count_queue();
    }

    /// Until when what waits stays for those who write on the same beat, if it does.
    pub(super) fn company_until(&self) -> Option<Instant> {
        let sessions = || self.queue.iter().map(|offer| &offer.session);
        let wait = self
            .pulse
            .company_wait(|| sessions().collect::<BTreeSet<_>>().len())?;
        let first = self.queue.iter().map(|offer| offer.received).min()?;
        Some(first + wait).filter(|until| *until > Instant::now())
    }

    fn start_flight_of(&mut self, turn: Turn) {
        let mut theirs = self.turns.take(&mut self.queue, &turn);
        let (mut ready, unclear) = loop {
            let sequenced = sequence(&self.admission, &mut theirs);
            for offer in sequenced.known {
                self.settle(offer.batch, 1, None);
            }
            for (offer, refusal) in sequenced.refused {
                self.refuse(offer.batch, &refusal);
            }
            theirs.retain(|offer| self.batches.contains_key(&offer.batch));
            if self.all_wanted(&sequenced.ready) {
                break (sequenced.ready, sequenced.unclear);
            }
            // What was judged on top of an update of a refused batch is judged anew. Each round
            // ends a batch at least.
            let unclear = sequenced.unclear.into_iter().map(|(offer, _)| offer);
            for offer in sequenced.ready.into_iter().chain(unclear).rev() {
                if self.batches.contains_key(&offer.batch) {
                    theirs.push_front(offer);
                }
            }
        };
        // All of it was judged first, so that of a batch that is void nothing flies.
        for offer in self.turns.trim(&turn, &mut ready).into_iter().rev() {
            theirs.push_front(offer);
        }
        self.queue.extend(theirs);
        if unclear.is_empty() && ready.is_empty() {
            return;
        }
        self.turns.begin(turn, Instant::now());
        if !unclear.is_empty() {
            self.queue_again(ready.into_iter());
            let clearing = clear(
                self.parts.clone(),
                self.document.clone(),
                self.recent_bytes(),
                unclear,
            );
            self.flight = Flight::Clearing(clearing.boxed());
        } else {
            self.try_out(ready, false, false);
        }
    }

    /// Whether none of `offers` belongs to a batch that was refused meanwhile.
    fn all_wanted(&self, offers: &[Offer]) -> bool {
        offers
            .iter()
            .all(|offer| self.batches.contains_key(&offer.batch))
    }

    /// Puts offers back in front of the queue, but for those of refused batches.
    fn queue_again(&mut self, offers: impl DoubleEndedIterator<Item = Offer>) {
        for offer in offers.rev() {
            if self.batches.contains_key(&offer.batch) {
                self.queue.push_front(offer);
            }
        }
        self.count_queue();
    }

    /// Sends updates to the dry run; with everything that the document is made of, if it asks so.
    fn try_out(&mut self, offers: Vec<Offer>, with_base: bool, suspect: bool) {
        self.traced.trying(&offers);
        let trial = Trial {
            document: self.document.clone(),
            version: self.admission.version().clone(),
            styled: self.styled,
            thorough: self.turns.is_alone(),
            patient: self.is_patient_with(&offers) || self.turns.be_patient(Instant::now()),
            applied: self.untried().unwrap_or_default(),
            base: with_base.then(|| self.recent_bytes()),
            forget: std::mem::take(&mut self.contaminated),
            suspect,
            offers,
        };
        self.tried_to = self.recent.end();
        self.flight = Flight::Trying(trial.run(self.parts.clone()).boxed());
    }

    /// Whether the writers had all read what landed lately, or have all been cheap so far, so that it is
    /// not theirs what their updates cost.
    fn is_patient_with(&self, offers: &[Offer]) -> bool {
        let lags = self.lags_of(offers);
        let mut writers = offers.iter().zip(lags);
        writers.all(|(offer, lag)| is_fresh(lag) || self.turns.is_trusted(&offer.session))
    }

    fn lags_of(&self, offers: &[Offer]) -> Vec<u64> {
        let written = |offer: &'_ Offer| (offer.span, offer.dependencies.clone());
        self.lags.of_all(offers.iter().map(written))
    }

    fn refuse_all(&mut self, refusal: &Refusal) {
        let batches: BTreeSet<_> = self.queue.iter().map(|offer| offer.batch).collect();
        for batch in batches {
            self.refuse(batch, refusal);
        }
    }

    /// Nothing can fly now. What of the queue waits for its dependencies has bounds; what waits for its
    /// turn, and what came from the same session behind it, has time.
    fn give_up_waiting(&mut self) {
        let now = Instant::now();
        let (waiting, in_turn): (Vec<_>, Vec<_>) = self.queue.iter().partition(|offer| {
            let verdict = offer.judge(&self.admission);
            matches!(verdict, Verdict::Waits { .. })
        });
        let in_turn: BTreeSet<_> = in_turn.iter().map(|offer| &offer.session).collect();
        let waiting = waiting
            .into_iter()
            .filter(|offer| !in_turn.contains(&offer.session));
        let mut bytes = 0;
        let mut late = Vec::new();
        for (i, offer) in waiting.enumerate() {
            bytes += offer.bytes.len();
            if now.duration_since(offer.received) > WAITING_UPDATES_TIME_MAX
                || bytes > WAITING_UPDATES_BYTES_MAX
                || i >= WAITING_UPDATES_COUNT_MAX
            {
                late.push(offer.batch);
            }
        }
        for batch in late {
            let message = "it builds on operations that have not arrived here; join again";
            self.refuse(batch, &Refusal::new(ErrorCode::MissingDependency, message));
        }
    }

    /// Goes on after a stage has ended. Breaks if the log can't be written any more.
    pub(super) async fn advance(&mut self, step: Step) -> ControlFlow<()> {
        match step {
            Step::Free => self.flight = Flight::None,
            Step::Cleared(cleared) => self.take_cleared(cleared),
            Step::Tried(tried) => self.take_tried(tried).await,
            Step::Appended(appended) => return self.take_appended(appended),
        }
        ControlFlow::Continue(())
    }

    fn take_cleared(&mut self, cleared: Vec<Cleared>) {
        self.flight = Flight::None;
        self.turns.looked(Instant::now());
        for cleared in cleared {
            match cleared {
                Cleared::Known(offer) => self.settle(offer.batch, 1, None),
                Cleared::Spans(offer, spans) => {
                    self.admission.learn_spans(spans);
                    self.queue.push_front(offer);
                }
                Cleared::Instead(offer, slices) => {
                    if let Some(batch) = self.batches.get_mut(&offer.batch) {
                        batch.open += slices.len() - 1;
                        slices
                            .into_iter()
                            .rev()
                            .for_each(|slice| self.queue.push_front(slice));
                    }
                }
                Cleared::Refused(offer, refusal) => self.refuse(offer.batch, &refusal),
            }
        }
        self.count_queue();
    }

    /// If what was written a moment ago is dear to import, for everybody and not for the dry run alone,
    /// then those who type had better do it on a beat.
    fn heed_cost(&mut self, tried: &Tried, lags: &[u64], now: Instant) {
        let updates = u32::try_from(tried.harmless.len()).unwrap_or(u32::MAX);
        if tried.harmful.is_empty()
            && tried.processor_time > TRIAL_CHEAP_PER_UPDATE_MAX * updates
            && lags.iter().all(|lag| is_fresh(*lag))
        {
            self.pulse.was_dear(now);
        }
    }

    async fn take_tried(&mut self, tried: Tried) {
        self.flight = Flight::None;
        if tried.needs_base {
            self.try_out(tried.harmless, true, tried.suspect);
            return;
        }
        self.traced.tried();
        let now = Instant::now();
        tracing::debug!(
            document = %self.document,
            harmless = tried.harmless.len(),
            harmful = tried.harmful.len(),
            processor_time = ?tried.processor_time,
            "a flight was tried"
        );
        let spent_us = u64::try_from(tried.processor_time.as_micros()).unwrap_or(u64::MAX);
        metrics::counter!(crate::metrics::DRY_RUN_CPU_US).increment(spent_us);
        if tried.unavailable.is_none() {
            let updates = tried.harmless.len() + tried.harmful.len();
            let lags = self.lags_of(&tried.harmless);
            self.heed_cost(&tried, &lags, now);
            // Whoever did harm is put out below, and of those who have left nothing is kept.
            let sessions = tried.harmless.iter().map(|offer| &offer.session).zip(lags);
            let present = sessions.filter(|(session, _)| self.sessions.contains_key(*session));
            self.turns
                .tried(present, updates, tried.processor_time, now);
        }
        for (offer, harm) in tried.harmful {
            if harm == Harm::Dear {
                // It may be somebody's work who was offline, and is welcome when there is time for it.
                let refusal = Refusal::new(ErrorCode::Overloaded, harm.to_string());
                self.refuse(offer.batch, &refusal);
                if self.sessions.contains_key(&offer.session) {
                    self.turns.sent_away(&offer.session, now);
                }
                continue;
            }
            metrics::counter!(crate::metrics::HARMFUL_UPDATES).increment(1);
            let refusal = Refusal::new(ErrorCode::InvalidUpdate, harm.to_string());
            self.refuse(offer.batch, &refusal);
            self.expel(&offer, now);
        }
        if let Some(refusal) = tried.unavailable {
            self.contaminated = true;
            for offer in &tried.harmless {
                self.refuse(offer.batch, &refusal);
            }
            self.untriable = Some((now + TRIAL_PAUSE, refusal));
            return;
        }
        let offers = tried.harmless;
        if !self.all_wanted(&offers) {
            // What was tried on top of an update that is not appended is judged anew.
            self.contaminated = true;
            self.queue_again(offers.into_iter());
            return;
        }
        if offers.is_empty() {
            return;
        }
        match self.parts.gate.stamp(&offers).await {
            Ok(mut stamped) => {
                self.traced.appending(&offers, &mut stamped);
                metrics::histogram!(crate::metrics::RECORD_UPDATES)
                    .record(u32::try_from(stamped.len()).unwrap_or(u32::MAX));
                let updates = offers
                    .into_iter()
                    .zip(&stamped)
                    .map(|(offer, update)| Flying {
                        offer,
                        hlc: update.stamp.hlc,
                    })
                    .collect();
                let body = Body::Updates(Document {
                    id: self.document.clone(),
                    content: stamped,
                });
                let beat = self.pulse.needed_beat().unwrap_or_default();
                let record = self
                    .parts
                    .writer
                    .enqueue(self.partition, &self.document, body, beat);
                let flying = InFlight {
                    sequence: record.sequence(),
                    updates,
                };
                let parts = self.parts.clone();
                let (sender, outcome) = oneshot::channel();
                let settling = async move { parts.writer.settle(record, sender).await };
                let task = self.parts.tasks.spawn(settling).abort_handle();
                self.flight = Flight::Appending(outcome, task, flying);
            }
            Err(refusal) => {
                self.contaminated = true;
                offers
                    .iter()
                    .for_each(|offer| self.refuse(offer.batch, &refusal));
            }
        }
    }

    /// Puts out the session that sent a harmful update, with all of its batches that still wait.
    fn expel(&mut self, offer: &Offer, now: Instant) {
        self.parts.gate.suspensions.note(&offer.author, now);
        let message = "an update from here would have harmed every reader";
        let refusal = Refusal::new(ErrorCode::InvalidUpdate, message);
        let waiting: BTreeSet<_> = self
            .queue
            .iter()
            .filter(|waiting| waiting.session == offer.session)
            .map(|waiting| waiting.batch)
            .collect();
        for batch in waiting {
            self.refuse(batch, &refusal);
        }
        self.close(&offer.session, refusal.code, message);
    }

    fn take_appended(&mut self, appended: Appended) -> ControlFlow<()> {
        let Flight::Appending(.., flying) = std::mem::take(&mut self.flight) else {
            return ControlFlow::Continue(());
        };
        match appended {
            Appended::Written | Appended::Unknown => self.flight = Flight::Landing(flying),
            Appended::Not(error) => {
                self.contaminated = true;
                let refusal = Refusal::new(ErrorCode::Unavailable, chain(&error));
                flying
                    .updates
                    .iter()
                    .for_each(|u| self.refuse(u.offer.batch, &refusal));
            }
            Appended::Unsettled => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// The bytes of all recent updates, for whoever loads the document from the store, which may be
    /// a little behind the log.
    pub(super) fn recent_bytes(&self) -> Vec<bytes::Bytes> {
        let recent = self.recent.from(self.recent.start());
        recent
            .into_iter()
            .flatten()
            .map(|update| update.bytes.clone())
            .collect()
    }
}
