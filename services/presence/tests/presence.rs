//! The presence service over the embedded store, in paused time, with the engine's own stores as
//! the clients.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use document_types::limits::{
    PRESENCE_QUEUE_COUNT_MAX, PRESENCE_TIME_TO_LIVE, PRESENCE_UPDATE_INTERVAL,
};
use document_types::{DocumentId, SessionId};
use loro::LoroValue;
use loro::awareness::EphemeralStore;
use presence::PresenceService;
use presence_store::EmbeddedPresenceStore;
use service_api::{Presence, PresenceEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One node's service, running.
struct Node {
    service: Arc<PresenceService>,
    stop: CancellationToken,
    _task: JoinSet<()>,
}

impl Node {
    fn start(store: EmbeddedPresenceStore) -> Self {
        let service = Arc::new(PresenceService::new(Arc::new(store)));
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let (running, stopped) = (service.clone(), stop.clone());
        task.spawn(async move { running.run(stopped).await });
        Self {
            service,
            stop,
            _task: task,
        }
    }

    async fn join(&self, name: &str) -> Client {
        let (document, session) = (document(), SessionId::parse(name).unwrap());
        let joined = self.service.join(&document, &session).await.unwrap();
        Client {
            service: self.service.clone(),
            session,
            shown: EphemeralStore::new(30_000),
            events: joined.events,
            messages: 0,
        }
    }
}

fn document() -> DocumentId {
    DocumentId::parse("doc").unwrap()
}

/// One session with the engine's ephemeral store.
struct Client {
    service: Arc<PresenceService>,
    session: SessionId,
    shown: EphemeralStore,
    events: mpsc::Receiver<PresenceEvent>,
    messages: usize,
}

impl Client {
    async fn show(&self, key: &str, value: i64) {
        self.shown.set(key, value);
        self.send(self.shown.encode(key)).await;
    }

    async fn send(&self, entries: Vec<u8>) {
        self.service
            .update(&document(), &self.session, Bytes::from(entries))
            .await;
    }

    /// Reads what there is to read until `key` has `value`.
    async fn sees(&mut self, key: &str, value: Option<i64>) {
        while self.shown.get(key) != value.map(LoroValue::I64) {
            self.read().await;
        }
    }

    async fn read(&mut self) {
        let PresenceEvent { entries } = self.events.recv().await.expect("presence goes on");
        self.messages += 1;
        self.shown.apply(&entries).unwrap();
    }
}

/// The engine stamps entries with its own wall clock, in milliseconds, and newer ones win.
async fn let_the_engines_clock_tick() {
    let tick = std::time::Duration::from_millis(2);
    tokio::task::spawn_blocking(move || {
        let (_keep, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let _ = wait.recv_timeout(tick);
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_one_shows_the_others_see_and_it_goes_when_the_one_leaves() {
    let node = Node::start(EmbeddedPresenceStore::new());
    let mut ada = node.join("ada").await;
    let mut bob = node.join("bob").await;
    ada.show("ada", 1).await;
    bob.sees("ada", Some(1)).await;
    bob.show("bob", 2).await;
    ada.sees("bob", Some(2)).await;
    node.service.leave(&document(), &ada.session).await;
    bob.sees("ada", None).await;
    assert_eq!(bob.shown.get("bob"), Some(LoroValue::I64(2)));
}

#[tokio::test(start_paused = true)]
async fn a_late_joiner_sees_every_key_that_is_shown() {
    let node = Node::start(EmbeddedPresenceStore::new());
    let ada = node.join("ada").await;
    ada.show("name", 1).await;
    for cursor in 0..50 {
        ada.show("cursor", cursor).await;
    }
    tokio::time::sleep(PRESENCE_TIME_TO_LIVE * 5).await;
    let mut bob = node.join("bob").await;
    bob.sees("name", Some(1)).await;
    assert!(bob.shown.get("cursor").is_some(), "all in one message");
    assert_eq!(bob.messages, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_updates_becomes_twenty_a_second_and_the_last_arrives() {
    let node = Node::start(EmbeddedPresenceStore::new());
    let ada = node.join("ada").await;
    let mut bob = node.join("bob").await;
    let started = tokio::time::Instant::now();
    for cursor in 0..200 {
        ada.show("cursor", cursor).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let_the_engines_clock_tick().await;
    ada.show("cursor", 1_000).await;
    bob.sees("cursor", Some(1_000)).await;
    let intervals = started.elapsed().as_millis() / PRESENCE_UPDATE_INTERVAL.as_millis();
    assert!(
        bob.messages as u128 <= intervals + 2,
        "{} messages",
        bob.messages
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_read_holds_up_nobody_and_reads_the_newest() {
    let node = Node::start(EmbeddedPresenceStore::new());
    let ada = node.join("ada").await;
    let mut bob = node.join("bob").await;
    let mut sleeper = node.join("sleeper").await;
    for cursor in 0..40 {
        let_the_engines_clock_tick().await;
        ada.show("cursor", cursor).await;
        bob.sees("cursor", Some(cursor)).await;
    }
    sleeper.sees("cursor", Some(39)).await;
    assert!(
        sleeper.messages <= PRESENCE_QUEUE_COUNT_MAX + 1,
        "{}",
        sleeper.messages
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_node_showed_is_gone_on_the_others() {
    let store = EmbeddedPresenceStore::new();
    let (here, there) = (
        Node::start(store.another_node()),
        Node::start(store.another_node()),
    );
    let ada = there.join("ada").await;
    let mut bob = here.join("bob").await;
    ada.show("ada", 1).await;
    bob.sees("ada", Some(1)).await;
    there.stop.cancel();
    let died = tokio::time::Instant::now();
    bob.sees("ada", None).await;
    // Two seconds to die, and up to one until somebody looks.
    assert!(died.elapsed() <= PRESENCE_TIME_TO_LIVE + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_vanishes_without_a_word_is_taken_away() {
    let node = Node::start(EmbeddedPresenceStore::new());
    let ada = node.join("ada").await;
    let mut bob = node.join("bob").await;
    ada.show("ada", 1).await;
    bob.sees("ada", Some(1)).await;
    drop(ada);
    bob.sees("ada", None).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_dropped_and_does_no_harm() {
    let node = Node::start(EmbeddedPresenceStore::new());
    let ada = node.join("ada").await;
    let mut bob = node.join("bob").await;
    for garbage in [
        &b""[..],
        b"\xff\xff\xff\xff\x0f",
        b"\x01\x01k\x01\x07",
        &[7; 100_000],
    ] {
        ada.send(garbage.to_vec()).await;
    }
    ada.show("ada", 1).await;
    bob.sees("ada", Some(1)).await;
}
