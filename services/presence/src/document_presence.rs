use std::collections::BTreeMap;
use std::sync::Arc;

use document_types::SessionId;
use document_types::limits::PRESENCE_UPDATE_INTERVAL;
use metrics::counter;
use presence_store::{Entry, SessionEntries, encode_entries, merge_newest};
use service_api::PresenceEvent;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::metric_names::{OVERTAKEN, SLOW_SESSIONS};

/// The sessions of this node in one document's presence.
#[derive(Default)]
pub(crate) struct DocumentPresence {
    pub(crate) members: BTreeMap<SessionId, Member>,
}

/// One session: what it shows, and what it has yet to be told.
pub(crate) struct Member {
    events: mpsc::Sender<PresenceEvent>,
    shows: SessionEntries,
    to_show: BTreeMap<Arc<str>, Entry>,
    shown_at: Option<Instant>,
    to_tell: BTreeMap<Arc<str>, Entry>,
    told_at: Option<Instant>,
}

impl Member {
    pub(crate) fn new(events: mpsc::Sender<PresenceEvent>) -> Self {
        Self {
            events,
            shows: SessionEntries::default(),
            to_show: BTreeMap::new(),
            shown_at: None,
            to_tell: BTreeMap::new(),
            told_at: None,
        }
    }

    /// Whether the session still listens.
    pub(crate) fn is_open(&self) -> bool {
        !self.events.is_closed()
    }

    /// Whether the session shows anything that has to be renewed.
    pub(crate) fn shows_something(&self) -> bool {
        !self.shows.is_empty()
    }

    /// The session shows something new.
    pub(crate) fn show(&mut self, entries: Vec<Entry>) {
        let news = self.shows.take_in(entries);
        counter!(OVERTAKEN).increment(merge_newest(&mut self.to_show, news));
    }

    /// The store has forgotten what the session shows.
    pub(crate) fn show_again(&mut self) {
        self.to_show = self
            .shows
            .iter()
            .map(|entry| (entry.key.clone(), entry.clone()))
            .collect();
    }

    /// Others show something new.
    pub(crate) fn tell(&mut self, entries: impl IntoIterator<Item = Entry>) {
        counter!(OVERTAKEN).increment(merge_newest(&mut self.to_tell, entries));
    }

    /// What the store has to be told at `now`; empty if nothing, or not yet.
    pub(crate) fn take_what_to_show(&mut self, now: Instant) -> Vec<Entry> {
        if self.to_show.is_empty() || !is_due(self.shown_at, now) {
            return Vec::new();
        }
        self.shown_at = Some(now);
        std::mem::take(&mut self.to_show).into_values().collect()
    }

    /// Tells the session what it has to be told, if it may be told at `now` and has room. What it
    /// has no room for waits, and newer entries overtake it there.
    pub(crate) fn tell_if_due(&mut self, now: Instant) {
        if self.to_tell.is_empty() || !is_due(self.told_at, now) {
            return;
        }
        self.told_at = Some(now);
        let entries = encode_entries(self.to_tell.values());
        match self.events.try_send(PresenceEvent { entries }) {
            Ok(()) | Err(TrySendError::Closed(_)) => self.to_tell.clear(),
            Err(TrySendError::Full(_)) => counter!(SLOW_SESSIONS).increment(1),
        }
    }

    /// When there will be something to show or to tell; `None` if there is nothing.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = |waiting: &BTreeMap<_, _>, last: Option<Instant>| {
            (!waiting.is_empty()).then(|| last.map(|last| last + PRESENCE_UPDATE_INTERVAL))
        };
        let show = due(&self.to_show, self.shown_at);
        let tell = due(&self.to_tell, self.told_at);
        // What was never done before was due when it came, and has been done by now.
        [show, tell].into_iter().flatten().flatten().min()
    }
}

fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= PRESENCE_UPDATE_INTERVAL)
}
