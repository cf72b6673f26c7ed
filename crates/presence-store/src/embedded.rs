use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use document_types::limits::{PRESENCE_SESSIONS_PER_DOCUMENT_MAX, PRESENCE_TIME_TO_LIVE};
use document_types::{DocumentId, SessionId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::mailbox::Mailbox;
use crate::{Entry, News, PresenceStore, PresenceStoreError, Seat, SessionEntries};

/// Presence within one process. A value is one node's view; [`EmbeddedPresenceStore::another_node`]
/// gives a second one on the same presence, as simulations and tests need.
pub struct EmbeddedPresenceStore {
    node: u64,
    arrived: Arc<Notify>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    documents: BTreeMap<DocumentId, Document>,
    mailboxes: BTreeMap<u64, Mailbox>,
    nodes_made: u64,
}

#[derive(Default)]
struct Document {
    sessions: BTreeMap<SessionId, Shown>,
    watchers: BTreeSet<u64>,
}

struct Shown {
    entries: SessionEntries,
    renewed: Instant,
}

impl Default for EmbeddedPresenceStore {
    fn default() -> Self {
        Self::new()
    }
}

impl EmbeddedPresenceStore {
    /// An empty presence, as its first node.
    pub fn new() -> Self {
        Self::on(Arc::default())
    }

    /// Another node on the same presence.
    #[must_use]
    pub fn another_node(&self) -> Self {
        Self::on(self.shared.clone())
    }

    fn on(shared: Arc<Mutex<Shared>>) -> Self {
        let mailbox = Mailbox::default();
        let arrived = mailbox.arrived();
        let node = {
            let mut shared = lock(&shared);
            shared.nodes_made += 1;
            let node = shared.nodes_made;
            shared.mailboxes.insert(node, mailbox);
            node
        };
        Self {
            node,
            arrived,
            shared,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// Every change below is complete when it panics, if it ever does, so the state is still good.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for EmbeddedPresenceStore {
    fn drop(&mut self) {
        let mut shared = self.lock();
        shared.mailboxes.remove(&self.node);
        for document in shared.documents.values_mut() {
            document.watchers.remove(&self.node);
        }
        shared.documents.retain(|_, document| !document.is_idle());
    }
}

impl Document {
    fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.watchers.is_empty()
    }
}

impl Shared {
    fn publish(&mut self, seat: &Seat, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let Some(document) = self.documents.get(&seat.document) else {
            return;
        };
        for watcher in &document.watchers {
            let Some(mailbox) = self.mailboxes.get_mut(watcher) else {
                continue;
            };
            mailbox.put(News::Entries {
                seat: seat.clone(),
                entries: entries.clone(),
            });
        }
    }

    fn remove(&mut self, seat: &Seat) {
        let shown = self
            .documents
            .get_mut(&seat.document)
            .and_then(|document| document.sessions.remove(&seat.session));
        if let Some(shown) = shown {
            self.publish(seat, shown.entries.removals());
        }
        self.drop_if_idle(&seat.document);
    }

    fn drop_if_idle(&mut self, document: &DocumentId) {
        if self.documents.get(document).is_some_and(Document::is_idle) {
            self.documents.remove(document);
        }
    }
}

#[async_trait]
impl PresenceStore for EmbeddedPresenceStore {
    async fn show(&self, seat: &Seat, entries: Vec<Entry>) -> Result<(), PresenceStoreError> {
        let mut shared = self.lock();
        let document = shared.documents.entry(seat.document.clone()).or_default();
        let is_new = !document.sessions.contains_key(&seat.session);
        if is_new && document.sessions.len() == PRESENCE_SESSIONS_PER_DOCUMENT_MAX {
            return Err(PresenceStoreError::Full);
        }
        let shown = document
            .sessions
            .entry(seat.session.clone())
            .or_insert_with(|| Shown {
                entries: SessionEntries::default(),
                renewed: Instant::now(),
            });
        shown.renewed = Instant::now();
        let news = shown.entries.take_in(entries);
        shared.publish(seat, news);
        Ok(())
    }

    async fn renew(&self, seats: &[Seat]) -> Result<Vec<Seat>, PresenceStoreError> {
        let now = Instant::now();
        let mut shared = self.lock();
        let mut unknown = Vec::new();
        for seat in seats {
            let shown = shared
                .documents
                .get_mut(&seat.document)
                .and_then(|document| document.sessions.get_mut(&seat.session));
            match shown {
                Some(shown) if !shown.is_over(now) => shown.renewed = now,
                _ => unknown.push(seat.clone()),
            }
        }
        Ok(unknown)
    }

    async fn take_away(&self, seat: &Seat) -> Result<(), PresenceStoreError> {
        self.lock().remove(seat);
        Ok(())
    }

    async fn shown(
        &self,
        document: &DocumentId,
    ) -> Result<Vec<(Seat, Vec<Entry>)>, PresenceStoreError> {
        let now = Instant::now();
        let shared = self.lock();
        let sessions = shared
            .documents
            .get(document)
            .into_iter()
            .flat_map(|it| &it.sessions);
        Ok(sessions
            .filter(|(_, shown)| !shown.is_over(now))
            .map(|(session, shown)| {
                let seat = Seat {
                    document: document.clone(),
                    session: session.clone(),
                };
                (seat, shown.entries.iter().cloned().collect())
            })
            .collect())
    }

    async fn watch(&self, document: &DocumentId) -> Result<(), PresenceStoreError> {
        let mut shared = self.lock();
        shared
            .documents
            .entry(document.clone())
            .or_default()
            .watchers
            .insert(self.node);
        Ok(())
    }

    async fn unwatch(&self, document: &DocumentId) -> Result<(), PresenceStoreError> {
        let mut shared = self.lock();
        if let Some(watched) = shared.documents.get_mut(document) {
            watched.watchers.remove(&self.node);
        }
        shared.drop_if_idle(document);
        Ok(())
    }

    async fn expire(&self) -> Result<(), PresenceStoreError> {
        let now = Instant::now();
        let mut shared = self.lock();
        let over: Vec<Seat> = shared
            .documents
            .iter()
            .flat_map(|(document, sessions)| {
                let over = sessions
                    .sessions
                    .iter()
                    .filter(|(_, shown)| shown.is_over(now));
                over.map(|(session, _)| Seat {
                    document: document.clone(),
                    session: session.clone(),
                })
            })
            .collect();
        over.iter().for_each(|seat| shared.remove(seat));
        Ok(())
    }

    async fn next_news(&self) -> News {
        loop {
            let news = {
                let mut shared = self.lock();
                shared.mailboxes.get_mut(&self.node).and_then(Mailbox::take)
            };
            match news {
                Some(news) => return news,
                None => self.arrived.notified().await,
            }
        }
    }
}

impl Shown {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.renewed) >= PRESENCE_TIME_TO_LIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test(start_paused = true)]
    async fn it_conforms() {
        let first = EmbeddedPresenceStore::new();
        let second = first.another_node();
        conformance::check(&first, &second).await;
        assert!(first.lock().documents.is_empty(), "nothing stays behind");
    }
}
