//! A gateway on a real socket over rooms that live in the test.

// Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

mod client;
mod node;
mod rooms;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use blob_store::BlobStore;
use bytes::Bytes;
use clock::{IdSource, Random, SystemClock};
use document_types::{DocumentId, ErrorCode, SessionId};
use gateway::{GatewayLimits, GatewayState, LocalPrincipals, OriginPolicy};
use service_api::{
    Collaboration, CurrentState, EveryoneWrites, History, HistoryError, Presence, PresenceError,
    PresenceEvent, PresenceJoined,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use traces::Traces;

pub use client::{Client, Heard, join_payload, subscription};
use node::Node;
pub use rooms::{Rooms, room_text};

/// A gateway that serves on a port of its own.
pub struct Served {
    pub address: SocketAddr,
    pub rooms: Arc<Rooms>,
    pub blobs: Option<BlobStore>,
    pub drain: CancellationToken,
    pub sockets: TaskTracker,
    _node: Option<Node>,
    _task: JoinSet<()>,
}

/// Whether the rooms and the history are elsewhere: the test program `over_grpc` has all suites again.
const OVER_GRPC: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"over_grpc");

impl Served {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a gateway whose state the test has changed.
    pub async fn with(change: impl FnOnce(&mut GatewayState)) -> Self {
        let rooms = Arc::new(Rooms::default());
        let clock = Arc::new(SystemClock);
        let (node, collaboration, history): (_, Arc<dyn Collaboration>, Arc<dyn History>);
        if OVER_GRPC {
            let started = Node::start(rooms.clone()).await;
            (collaboration, history) = started.handles();
            node = Some(started);
        } else {
            (node, collaboration, history) = (None, rooms.clone(), rooms.clone());
        }
        let mut state = GatewayState {
            collaboration,
            presence: Arc::new(Mirror::default()),
            history,
            blobs: None,
            authenticator: Arc::new(LocalPrincipals),
            permissions: Arc::new(EveryoneWrites),
            origins: OriginPolicy::SameHost,
            ids: IdSource::new(clock.clone(), Random::from_seed(1)),
            clock,
            traces: Traces::off(),
            limits: GatewayLimits::default(),
            drain: CancellationToken::new(),
            sockets: TaskTracker::new(),
        };
        change(&mut state);
        let (drain, sockets) = (state.drain.clone(), state.sockets.clone());
        let blobs = state.blobs.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = gateway::router(state);
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            rooms,
            blobs,
            drain,
            sockets,
            _node: node,
            _task: task,
        }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/v1/sync", self.address)
    }

    pub async fn connect(&self) -> Client {
        Client::connect(&self.url()).await
    }
}

/// Shows a session what it shows itself, so that a test sees both ways with one client.
#[derive(Default)]
pub struct Mirror {
    sessions: std::sync::Mutex<Vec<(SessionId, mpsc::Sender<PresenceEvent>)>>,
}

#[async_trait]
impl Presence for Mirror {
    async fn join(
        &self,
        document: &DocumentId,
        session: &SessionId,
    ) -> Result<PresenceJoined, PresenceError> {
        if document.as_str() == "unavailable" {
            return Err(PresenceError {
                code: ErrorCode::Unavailable,
            });
        }
        let (events, receiver) = mpsc::channel(8);
        self.sessions
            .lock()
            .unwrap()
            .push((session.clone(), events));
        Ok(PresenceJoined { events: receiver })
    }

    async fn update(&self, _document: &DocumentId, session: &SessionId, entries: Bytes) {
        for (of, events) in &*self.sessions.lock().unwrap() {
            if of == session {
                let _ = events.try_send(PresenceEvent {
                    entries: entries.clone(),
                });
            }
        }
    }

    async fn leave(&self, _document: &DocumentId, session: &SessionId) {
        self.sessions
            .lock()
            .unwrap()
            .retain(|(of, _)| of != session);
    }
}

#[async_trait]
impl History for Rooms {
    async fn current(&self, document: &DocumentId) -> Result<CurrentState, HistoryError> {
        self.state(document).ok_or_else(|| HistoryError {
            code: ErrorCode::NotFound,
            message: "no such document".into(),
        })
    }
}
