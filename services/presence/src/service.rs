use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use document_types::limits::{PRESENCE_QUEUE_COUNT_MAX, PRESENCE_RENEWAL_INTERVAL};
use document_types::{DocumentId, SessionId};
use futures::future::join_all;
use metrics::{counter, gauge};
use presence_store::{
    EntriesError, Entry, News, PresenceStore, PresenceStoreError, Seat, decode_entries,
};
use service_api::{Presence, PresenceError, PresenceJoined};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::document_presence::{DocumentPresence, Member};
use crate::metric_names::{SESSIONS, STORE_FAILURES, UPDATES};

/// Presence on one node. Sessions speak to it through [`Presence`], which never waits; everything
/// that waits for the store is done by [`PresenceService::run`].
pub struct PresenceService {
    store: Arc<dyn PresenceStore>,
    state: Mutex<State>,
    work: Notify,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<DocumentId, DocumentPresence>,
    /// Members that have something to show or to be told.
    busy: BTreeSet<Seat>,
    /// Members that are gone and have yet to be taken out of the store.
    gone: BTreeSet<Seat>,
    /// Members that have yet to be told what is shown.
    newcomers: BTreeSet<Seat>,
    /// Documents whose watching has yet to end.
    to_unwatch: BTreeSet<DocumentId>,
}

impl PresenceService {
    /// Presence over `store`. It needs [`PresenceService::run`] to live.
    pub fn new(store: Arc<dyn PresenceStore>) -> Self {
        Self {
            store,
            state: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Does the service's work until `stop` is cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        let mut renewal = interval(PRESENCE_RENEWAL_INTERVAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_due = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Before the news, or a flood of them would let everything die.
                _ = renewal.tick() => self.renew().await,
                news = self.store.next_news() => self.hear(news).await,
                () = self.work.notified() => {}
                () = sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {}
            }
            self.take_away_the_gone().await;
            self.welcome_the_newcomers().await;
            next_due = self.show_and_tell().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Presence is worth nothing two seconds later; a half-made change heals by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes news on to the members of their document, but for the one that made them.
    async fn hear(&self, news: News) {
        match news {
            News::Entries { seat, entries } => self.lock().tell(&seat, &entries),
            News::Missed => {
                let documents: Vec<_> = self.lock().documents.keys().cloned().collect();
                for document in documents {
                    self.tell_all_shown(&document).await;
                }
            }
        }
    }

    /// Tells a document's members everything that is shown there; what they know already loses
    /// against itself in their replicas.
    async fn tell_all_shown(&self, document: &DocumentId) {
        match self.store.shown(document).await {
            Ok(shown) => {
                let mut state = self.lock();
                shown
                    .iter()
                    .for_each(|(seat, entries)| state.tell(seat, entries));
            }
            Err(error) => failed("shown", &error),
        }
    }

    /// Renews what the open sessions show, in one batch; drops the sessions that left without a
    /// word; takes away what died elsewhere.
    async fn renew(&self) {
        let showing = self.lock().showing_members();
        match self.store.renew(&showing).await {
            Ok(unknown) => {
                let mut state = self.lock();
                for seat in unknown {
                    if let Some(member) = state.member(&seat) {
                        member.show_again();
                        state.busy.insert(seat);
                    }
                }
            }
            Err(error) => failed("renew", &error),
        }
        if let Err(error) = self.store.expire().await {
            failed("expire", &error);
        }
    }

    /// Watches the newcomers' documents and then tells them what is shown there, so that nothing is
    /// missed in between. Who can't be told now is told with the next renewal at the latest.
    async fn welcome_the_newcomers(&self) {
        let newcomers = self.lock().newcomers.clone();
        for newcomer in newcomers {
            let document = &newcomer.document;
            let shown = match self.store.watch(document).await {
                Ok(()) => self.store.shown(document).await,
                Err(error) => Err(error),
            };
            match shown {
                Ok(shown) => self.lock().welcome(newcomer, shown),
                // The others would wait as long, and be told no more.
                Err(error) => return failed("watch", &error),
            }
        }
        let to_unwatch = self.lock().to_unwatch.clone();
        for document in to_unwatch {
            match self.store.unwatch(&document).await {
                Ok(()) => self.lock().to_unwatch.remove(&document),
                Err(error) => return failed("unwatch", &error),
            };
        }
    }

    async fn take_away_the_gone(&self) {
        let gone = std::mem::take(&mut self.lock().gone);
        // Where this fails, what the session showed dies by itself for want of renewal.
        let taking = gone.iter().map(|seat| self.store.take_away(seat));
        report("take_away", join_all(taking).await);
    }

    /// Shows and tells what is due, and says when the next is.
    async fn show_and_tell(&self) -> Option<Instant> {
        let (to_show, next_due) = self.lock().show_and_tell(Instant::now());
        // Where this fails, the next renewal finds the session unknown and shows all again.
        let showing = to_show
            .into_iter()
            .map(|(seat, entries)| async move { self.store.show(&seat, entries).await });
        report("show", join_all(showing).await);
        next_due
    }
}

#[async_trait]
impl Presence for PresenceService {
    async fn join(
        &self,
        document: &DocumentId,
        session: &SessionId,
    ) -> Result<PresenceJoined, PresenceError> {
        let (events, receiver) = mpsc::channel(PRESENCE_QUEUE_COUNT_MAX);
        self.lock().join(document, session, Member::new(events));
        self.work.notify_one();
        Ok(PresenceJoined { events: receiver })
    }

    async fn update(&self, document: &DocumentId, session: &SessionId, entries: Bytes) {
        let outcome = match decode_entries(&entries) {
            Ok(entries) => {
                let seat = Seat {
                    document: document.clone(),
                    session: session.clone(),
                };
                let mut state = self.lock();
                if let Some(member) = state.member(&seat) {
                    member.show(entries);
                    state.busy.insert(seat);
                }
                "taken"
            }
            Err(error) => {
                tracing::debug!(%error, "entries refused");
                match error {
                    EntriesError::TooLarge { .. } | EntriesError::TooMany { .. } => "too_large",
                    EntriesError::Malformed | EntriesError::UnfitValue => "invalid",
                }
            }
        };
        counter!(UPDATES, "outcome" => outcome).increment(1);
        self.work.notify_one();
    }

    async fn leave(&self, document: &DocumentId, session: &SessionId) {
        let seat = Seat {
            document: document.clone(),
            session: session.clone(),
        };
        self.lock().leave(seat);
        self.work.notify_one();
    }
}

impl State {
    fn join(&mut self, document: &DocumentId, session: &SessionId, member: Member) {
        let presence = self.documents.entry(document.clone()).or_default();
        if presence.members.insert(session.clone(), member).is_none() {
            gauge!(SESSIONS).increment(1.0);
        }
        self.to_unwatch.remove(document);
        self.newcomers.insert(Seat {
            document: document.clone(),
            session: session.clone(),
        });
    }

    fn leave(&mut self, seat: Seat) {
        let Some(presence) = self.documents.get_mut(&seat.document) else {
            return;
        };
        if presence.members.remove(&seat.session).is_none() {
            return;
        }
        gauge!(SESSIONS).decrement(1.0);
        if presence.members.is_empty() {
            self.documents.remove(&seat.document);
            self.to_unwatch.insert(seat.document.clone());
        }
        self.newcomers.remove(&seat);
        self.busy.remove(&seat);
        self.gone.insert(seat);
    }

    fn member(&mut self, seat: &Seat) -> Option<&mut Member> {
        self.documents
            .get_mut(&seat.document)?
            .members
            .get_mut(&seat.session)
    }

    fn sessions_in(&self, document: &DocumentId) -> usize {
        let presence = self.documents.get(document);
        presence.map_or(0, |presence| presence.members.len())
    }

    fn welcome(&mut self, newcomer: Seat, shown: Vec<(Seat, Vec<Entry>)>) {
        self.newcomers.remove(&newcomer);
        if let Some(member) = self.member(&newcomer) {
            for (seat, entries) in shown {
                if seat.session != newcomer.session {
                    member.tell(entries);
                }
            }
            self.busy.insert(newcomer);
        }
    }

    fn tell(&mut self, from: &Seat, entries: &[Entry]) {
        let Some(presence) = self.documents.get_mut(&from.document) else {
            return;
        };
        for (session, member) in &mut presence.members {
            if *session != from.session {
                member.tell(entries.iter().cloned());
                let document = from.document.clone();
                self.busy.insert(Seat {
                    document,
                    session: session.clone(),
                });
            }
        }
    }

    fn showing_members(&mut self) -> Vec<Seat> {
        let mut showing = Vec::new();
        let mut closed = Vec::new();
        for (document, presence) in &self.documents {
            for (session, member) in &presence.members {
                let seat = || Seat {
                    document: document.clone(),
                    session: session.clone(),
                };
                if !member.is_open() {
                    closed.push(seat());
                } else if member.shows_something() {
                    showing.push(seat());
                }
            }
        }
        for seat in closed {
            self.leave(seat);
        }
        showing
    }

    fn show_and_tell(&mut self, now: Instant) -> (Vec<(Seat, Vec<Entry>)>, Option<Instant>) {
        let mut to_show = Vec::new();
        let mut next_due: Option<Instant> = None;
        for seat in std::mem::take(&mut self.busy) {
            let sessions = self.sessions_in(&seat.document);
            let Some(member) = self.member(&seat) else {
                continue;
            };
            let entries = member.take_what_to_show(now);
            member.tell_if_due(sessions, now);
            if let Some(due) = member.next_due() {
                next_due = Some(next_due.map_or(due, |next| next.min(due)));
                self.busy.insert(seat.clone());
            }
            if !entries.is_empty() {
                to_show.push((seat, entries));
            }
        }
        (to_show, next_due)
    }
}

/// Counts what failed of calls that were made side by side, and says why one of them did.
fn report(call: &'static str, outcomes: Vec<Result<(), PresenceStoreError>>) {
    let mut errors = outcomes.into_iter().filter_map(Result::err);
    if let Some(error) = errors.next() {
        failed(call, &error);
    }
    let others = u64::try_from(errors.count()).unwrap_or(u64::MAX);
    counter!(STORE_FAILURES, "call" => call).increment(others);
}

fn failed(call: &'static str, error: &PresenceStoreError) {
    counter!(STORE_FAILURES, "call" => call).increment(1);
    tracing::warn!(
        call,
        error = error as &dyn std::error::Error,
        "presence store failed"
    );
}
