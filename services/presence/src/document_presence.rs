use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use document_types::SessionId;
use document_types::limits::{PRESENCE_ENTRIES_TOLD_PER_SECOND_MAX, PRESENCE_UPDATE_INTERVAL};
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
    /// How long it is told nothing more after that.
    pause: Duration,
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
            pause: PRESENCE_UPDATE_INTERVAL,
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
        if self.to_show.is_empty() || !is_due(self.shown_at, PRESENCE_UPDATE_INTERVAL, now) {
            return Vec::new();
        }
        self.shown_at = Some(now);
        std::mem::take(&mut self.to_show).into_values().collect()
    }

    /// Tells the session what it has to be told, if it may be told at `now` and has room. What it
    /// has no room for waits, and newer entries overtake it there. One of so many sessions waits the
    /// longer for more the more it was told, so that what they cost together has a bound.
    pub(crate) fn tell_if_due(&mut self, sessions: usize, now: Instant) {
        if self.to_tell.is_empty() || !is_due(self.told_at, self.pause, now) {
            return;
        }
        self.told_at = Some(now);
        let told_to_all = u32::try_from(self.to_tell.len() * sessions).unwrap_or(u32::MAX);
        let fair = Duration::from_secs(1) * told_to_all / PRESENCE_ENTRIES_TOLD_PER_SECOND_MAX;
        self.pause = PRESENCE_UPDATE_INTERVAL.max(fair);
        let entries = encode_entries(self.to_tell.values());
        match self.events.try_send(PresenceEvent { entries }) {
            Ok(()) | Err(TrySendError::Closed(_)) => self.to_tell.clear(),
            Err(TrySendError::Full(_)) => counter!(SLOW_SESSIONS).increment(1),
        }
    }

    /// When there will be something to show or to tell; `None` if there is nothing.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = |waiting: &BTreeMap<_, _>, last: Option<Instant>, pause| {
            (!waiting.is_empty()).then(|| last.map(|last| last + pause))
        };
        let show = due(&self.to_show, self.shown_at, PRESENCE_UPDATE_INTERVAL);
        let tell = due(&self.to_tell, self.told_at, self.pause);
        // What was never done before was due when it came, and has been done by now.
        [show, tell].into_iter().flatten().flatten().min()
    }
}

fn is_due(last: Option<Instant>, pause: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= pause)
}

#[cfg(test)]
mod tests {
    use presence_store::conformance::entry;
    use presence_store::decode_entries_of_many;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_more_there_are_the_longer_each_waits_for_more_and_loses_nothing() {
        const SESSIONS: u8 = 60;
        let (events, mut told) = mpsc::channel(8);
        let mut member = Member::new(events);
        let all = |time| (0..SESSIONS).map(move |i| entry(&i.to_string(), i, time));
        let began = Instant::now();
        member.tell(all(1));
        // As if each stood for a hundred.
        member.tell_if_due(100 * usize::from(SESSIONS), Instant::now());
        member.tell(all(2));
        let next = member.next_due().unwrap();
        assert!(next - began > PRESENCE_UPDATE_INTERVAL * 10);
        tokio::time::advance(next - began).await;
        member.tell(all(3));
        member.tell_if_due(2, Instant::now());
        member.tell(all(4));
        let soon = member.next_due().unwrap() - Instant::now();
        assert_eq!(soon, PRESENCE_UPDATE_INTERVAL);
        for time in [1, 3] {
            let entries = told.recv().await.unwrap().entries;
            let entries = decode_entries_of_many(&entries).unwrap();
            assert_eq!(entries.len(), usize::from(SESSIONS));
            assert!(entries.iter().all(|entry| entry.timestamp_ms == time));
        }
    }
}
