use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use document_types::{
    Counter, Digest, DocumentId, ErrorCode, HlcTimestamp, LogOffset, NodeId, OpId, PeerId,
    Permission, SessionId, VersionVector,
};
use loro::{ExportMode, LoroDoc};
use service_api::{
    AckStamps, Collaboration, CurrentState, JoinError, JoinRequest, Joined, PeerStanding,
    RoomHandle, RoomRequest, SessionEvent, Submission, UpdateFrame,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Rooms without a log: a batch is in as soon as it is imported. The document's name says what a
/// test wants of it: `denied` and `unavailable` refuse joins, `read-only` refuses writing, `stuck`
/// takes nothing from its queue.
#[derive(Default)]
pub struct Rooms {
    rooms: Mutex<BTreeMap<DocumentId, Arc<Room>>>,
    tasks: Mutex<JoinSet<()>>,
}

pub struct Room {
    doc: Mutex<LoroDoc>,
    sessions: Mutex<BTreeMap<SessionId, mpsc::Sender<SessionEvent>>>,
    /// Everything that was submitted, and who joined.
    pub log: watch::Sender<RoomLog>,
}

#[derive(Clone, Debug, Default)]
pub struct RoomLog {
    pub joins: Vec<JoinRequest>,
    pub submissions: Vec<Submission>,
    pub leaves: usize,
}

/// The text that the test documents hold.
pub fn room_text(doc: &LoroDoc) -> String {
    doc.get_text("text").to_string()
}

impl Rooms {
    pub fn room(&self, document: &str) -> Arc<Room> {
        let document = DocumentId::parse(document).unwrap();
        self.rooms
            .lock()
            .unwrap()
            .entry(document)
            .or_insert_with(Room::new)
            .clone()
    }

    pub fn state(&self, document: &DocumentId) -> Option<CurrentState> {
        let room = self.rooms.lock().unwrap().get(document)?.clone();
        let doc = room.doc.lock().unwrap();
        let frontiers = doc
            .oplog_frontiers()
            .iter()
            .map(|id| OpId {
                peer: PeerId(id.peer),
                counter: Counter::try_from(id.counter).unwrap(),
            })
            .collect();
        let text = room_text(&doc);
        let state_hash = Digest::of(text.as_bytes());
        Some(CurrentState {
            text,
            version: version_of(&doc),
            frontiers,
            state_hash,
        })
    }
}

impl Room {
    fn new() -> Arc<Self> {
        let log = watch::Sender::default();
        Arc::new(Self {
            doc: Mutex::default(),
            sessions: Mutex::default(),
            log,
        })
    }

    /// Says something to every session.
    pub async fn say(&self, event: SessionEvent) {
        let sessions: Vec<_> = self.sessions.lock().unwrap().values().cloned().collect();
        for events in sessions {
            let _ = events.send(event.clone()).await;
        }
    }

    pub async fn until(&self, condition: impl FnMut(&RoomLog) -> bool) -> RoomLog {
        self.log
            .subscribe()
            .wait_for(condition)
            .await
            .unwrap()
            .clone()
    }

    pub fn put(&self, text: &str) {
        let doc = self.doc.lock().unwrap();
        doc.get_text("text").insert(0, text).unwrap();
        doc.commit();
    }

    async fn serve(
        self: Arc<Self>,
        session: SessionId,
        mut requests: mpsc::Receiver<RoomRequest>,
        events: mpsc::Sender<SessionEvent>,
        stuck: bool,
    ) {
        while !stuck && let Some(request) = requests.recv().await {
            let RoomRequest::Submit { submission, .. } = request else {
                break;
            };
            self.submit(&session, submission, &events).await;
        }
        if stuck {
            events.closed().await;
        }
        let mut sessions = self.sessions.lock().unwrap();
        // A newer join of the same session has taken the place.
        if sessions
            .get(&session)
            .is_some_and(|there| there.same_channel(&events))
        {
            sessions.remove(&session);
        }
        drop(sessions);
        self.log.send_modify(|log| log.leaves += 1);
    }

    async fn submit(
        &self,
        session: &SessionId,
        submission: Submission,
        events: &mpsc::Sender<SessionEvent>,
    ) {
        for update in &submission.updates {
            if self.doc.lock().unwrap().import(update).is_err() {
                let batch = submission.batch;
                let code = ErrorCode::InvalidUpdate;
                let _ = events
                    .send(SessionEvent::Nack {
                        batch,
                        code,
                        message: "bad".into(),
                    })
                    .await;
                return;
            }
        }
        let others: Vec<_> = {
            let sessions = self.sessions.lock().unwrap();
            sessions
                .iter()
                .filter(|(of, _)| *of != session)
                .map(|(_, to)| to.clone())
                .collect()
        };
        let frame = Arc::new(UpdateFrame {
            updates: submission.updates.clone(),
            received: None,
        });
        for other in others {
            let _ = other.send(SessionEvent::Updates(frame.clone())).await;
        }
        let stamp = HlcTimestamp::new(1_000, 7);
        let stamps = AckStamps {
            first: stamp,
            last: stamp.next(),
            node: NodeId(3),
            offset: LogOffset(9),
        };
        let batch = submission.batch;
        let _ = events
            .send(SessionEvent::Ack {
                batch,
                stamps: Some(stamps),
            })
            .await;
        self.log.send_modify(|log| log.submissions.push(submission));
    }
}

fn version_of(doc: &LoroDoc) -> VersionVector {
    doc.oplog_vv()
        .iter()
        .map(|(peer, end)| (PeerId(*peer), Counter::try_from(*end).unwrap()))
        .collect()
}

#[async_trait]
impl Collaboration for Rooms {
    async fn join(&self, request: JoinRequest) -> Result<Joined, JoinError> {
        let refuse = |code: ErrorCode| {
            Err(JoinError {
                code,
                message: "not here".into(),
            })
        };
        match request.document.as_str() {
            "denied" => return refuse(ErrorCode::PermissionDenied),
            "unavailable" => return refuse(ErrorCode::Unavailable),
            _ => {}
        }
        let room = self.room(request.document.as_str());
        let (version, missing) = {
            let doc = room.doc.lock().unwrap();
            let knows = request
                .version
                .iter()
                .map(|(peer, end)| (peer.0, i32::try_from(end).unwrap()))
                .collect();
            (
                version_of(&doc),
                doc.export(ExportMode::updates(&knows)).unwrap(),
            )
        };
        let (events, receiver) = mpsc::channel(16);
        let (requests, queue) = mpsc::channel(2);
        let frame = UpdateFrame {
            updates: vec![Bytes::from(missing)],
            received: None,
        };
        events
            .send(SessionEvent::Updates(Arc::new(frame)))
            .await
            .unwrap();
        events.send(SessionEvent::CaughtUp).await.unwrap();
        room.sessions
            .lock()
            .unwrap()
            .insert(request.session.clone(), events.clone());
        let session = request.session.clone();
        let peer = request.peer.map(|peer| PeerStanding {
            end: version.end(peer),
            owned: true,
        });
        let permission = match request.document.as_str() {
            "read-only" => Permission::Read,
            _ => Permission::Write,
        };
        let stuck = request.document.as_str() == "stuck";
        let serving = room.clone().serve(session.clone(), queue, events, stuck);
        self.tasks.lock().unwrap().spawn(serving);
        room.log.send_modify(|log| log.joins.push(request));
        let room = RoomHandle::new(session, 0, requests);
        Ok(Joined {
            permission,
            version,
            peer,
            room,
            events: receiver,
        })
    }
}
