//! Nodes on this machine whose rooms answer at once, and gateways' handles to them.
#![allow(dead_code)] // Each program uses a part of it.
#![allow(clippy::unwrap_used)] // Tests and measurements.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Random;
use document_types::limits::{ROOM_QUEUE_COUNT_MAX, SESSION_QUEUE_COUNT_MAX};
use document_types::{
    BatchId, DeviceId, DocumentId, ErrorCode, Permission, Principal, SessionId, UserId,
    VersionVector,
};
use service_api::grpc::{
    RemoteCollaboration, RemoteCollaborationParts, ServedServices, ServiceAddress, ServiceToken,
    incoming, serve,
};
use service_api::{
    Collaboration, JoinError, JoinRequest, Joined, RoomHandle, RoomRequest, SessionEvent,
    Submission, UpdateFrame, WireKind,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a document's name says about its room.
pub const FLOODING: &str = "flooding";
pub const STUCK: &str = "stuck";

/// The bytes of each update that a flooding room sends.
pub const FLOOD_UPDATE_BYTES: usize = 16 * 1024;

/// Rooms that acknowledge each batch at once. One with the name [`FLOODING`] sends updates for as long
/// as somebody takes them; one with the name [`STUCK`] takes no batch.
pub struct EchoRooms {
    pub tasks: TaskTracker,
    pub draining: bool,
}

#[async_trait]
impl Collaboration for EchoRooms {
    async fn join(&self, request: JoinRequest) -> Result<Joined, JoinError> {
        if self.draining {
            return Err(JoinError {
                code: ErrorCode::Draining,
                message: "going".into(),
            });
        }
        let (events, receiver) = mpsc::channel(SESSION_QUEUE_COUNT_MAX);
        let (requests, mut asked) = mpsc::channel(ROOM_QUEUE_COUNT_MAX);
        let name = request.document.as_str().to_owned();
        self.tasks.spawn(async move {
            if name == FLOODING {
                let updates = vec![Bytes::from(vec![7; FLOOD_UPDATE_BYTES])];
                let frame = Arc::new(UpdateFrame {
                    updates,
                    received: None,
                });
                let event = SessionEvent::Updates(frame);
                while events.send(event.clone()).await.is_ok() {}
                return;
            }
            if name == STUCK {
                events.closed().await;
                return;
            }
            while let Some(RoomRequest::Submit { submission, .. }) = asked.recv().await {
                let (batch, stamps) = (submission.batch, None);
                let answer = SessionEvent::Ack { batch, stamps };
                if events.send(answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(Joined {
            permission: Permission::Write,
            version: VersionVector::new(),
            peer: None,
            room: RoomHandle::new(request.session, 0, requests),
            events: receiver,
        })
    }
}

/// A node on a port of its own, which ends when this is dropped.
pub struct Node {
    pub address: ServiceAddress,
    pub stop: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn token(text: &str) -> ServiceToken {
    ServiceToken::parse(text).unwrap()
}

pub const TOKEN: &str = "the-token-of-these-nodes";

/// Starts a node whose work is done in `tasks`.
pub async fn start_node(tasks: &TaskTracker, draining: bool) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let services = ServedServices {
        collaboration: Some(Arc::new(EchoRooms {
            tasks: tasks.clone(),
            draining,
        })),
        history: None,
        token: token(TOKEN),
    };
    let stop = CancellationToken::new();
    let serving = serve(incoming(listener), services, tasks.clone(), stop.clone());
    tasks.spawn(async move { serving.await.unwrap() });
    Node {
        address: address.parse().unwrap(),
        stop,
    }
}

/// A gateway's handle to `nodes`, which shows them `shown`.
pub fn gateway(nodes: &[&Node], shown: &str, tasks: &TaskTracker) -> RemoteCollaboration {
    RemoteCollaboration::start(RemoteCollaborationParts {
        nodes: nodes.iter().map(|node| node.address.clone()).collect(),
        token: token(shown),
        partition_count: 64,
        random: Random::from_seed(1),
        tasks: tasks.clone(),
        stop: CancellationToken::new(),
    })
}

pub fn join_of(document: &str, session: &str) -> JoinRequest {
    JoinRequest {
        document: DocumentId::parse(document).unwrap(),
        session: SessionId::parse(session).unwrap(),
        principal: Principal {
            user: UserId::parse("usr_a").unwrap(),
            device: DeviceId::parse("dev_a").unwrap(),
        },
        version: VersionVector::new(),
        kind: WireKind::CollabEdit,
        peer: None,
    }
}

pub fn batch(number: u64, bytes: usize) -> Submission {
    Submission {
        batch: BatchId(number.to_be_bytes()),
        updates: vec![Bytes::from(vec![1; bytes])],
        trace: None,
        received: Instant::now(),
    }
}

/// Offers a batch and waits for its ack.
pub async fn offer_and_wait(joined: &mut Joined, number: u64) {
    joined.room.submit(batch(number, 100)).await.unwrap();
    loop {
        match joined.events.recv().await {
            Some(SessionEvent::Ack { batch, .. }) if batch.0 == number.to_be_bytes() => return,
            Some(_) => {}
            None => panic!("the seat is gone"),
        }
    }
}
