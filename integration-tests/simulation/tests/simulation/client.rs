//! A correct client: it edits its own replica, offers what it wrote until the log has it, follows the
//! room, and comes back by its version whenever it lost the room.

mod handle;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::{IdSource, Random};
use crdt_document::CrdtError;
use document_types::limits::{ANSWER_WAIT_MAX, JOIN_TIME_MAX};
use document_types::{Advice, BatchId, DocumentId, ErrorCode, PeerId, Principal};
use service_api::{
    Collaboration, JoinRequest, Joined, RoomHandle, SessionEvent, Submission, UpdateFrame, WireKind,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::history::{FOLDED, History, Honesty, Line, LineId};
use crate::replica::{Kept, Replica};
use crate::trace::{Trace, note};
pub use handle::{ClientHandle, Command, Report, Standing};

/// How long a client waits before it joins again or sends a refused batch again.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(400);

/// What a client is made of.
pub struct ClientParts {
    /// Its name in the trace.
    pub name: String,
    /// Who it is.
    pub principal: Principal,
    /// The document that it works on.
    pub document: DocumentId,
    /// The node that it connects to first.
    pub node: usize,
    /// What it understands.
    pub kind: WireKind,
    /// Its own choices.
    pub random: Random,
    /// Its ids.
    pub ids: IdSource,
    /// The servers.
    pub cluster: Cluster,
    /// The facts.
    pub history: History,
    /// The trace.
    pub trace: Trace,
}

/// A client, in its task.
pub struct Client {
    parts: ClientParts,
    replica: Replica,
    kept: Option<(LineId, Kept)>,
    node: usize,
    online: bool,
    connection: Option<Connection>,
    /// When it joins again, while it has no connection.
    join_at: Instant,
    /// When it sends again, after a refusal that asked for a pause.
    send_at: Instant,
    /// Until when it reads nothing.
    paused_until: Instant,
    current_peer: Arc<Mutex<PeerId>>,
}

struct Connection {
    room: RoomHandle,
    events: mpsc::Receiver<SessionEvent>,
    gone: CancellationToken,
    caught_up: bool,
    /// Folds that were done when it joined.
    folds: u64,
    /// Since when there has been no answer although batches wait for one.
    waiting_since: Instant,
}

impl Client {
    /// Starts a client that begins offline.
    pub fn start(parts: ClientParts) -> ClientHandle {
        let (sender, commands) = mpsc::channel(1_024);
        let peer = parts.ids.peer();
        let replica = fresh(&parts, peer, Honesty::Honest);
        let current_peer = Arc::new(Mutex::new(peer));
        let handle = ClientHandle {
            name: parts.name.clone(),
            document: parts.document.clone(),
            peer: current_peer.clone(),
            commands: sender,
        };
        let now = now();
        let client = Self {
            node: parts.node,
            replica,
            kept: None,
            online: false,
            connection: None,
            join_at: now,
            send_at: now,
            paused_until: now,
            current_peer,
            parts,
        };
        let tasks = client.parts.cluster.tasks().clone();
        tasks.spawn(client.run(commands));
        handle
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            if let Err(error) = self.send().await {
                self.engine_failed(&error);
            }
            let joins = self.online && self.connection.is_none();
            let reads = self.connection.is_some() && self.paused_until <= now();
            let paused = self.connection.is_some() && !reads;
            let waits = self.answer_due();
            let sends = self.connection.is_some() && self.send_at > now();
            tokio::select! {
                biased;
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    if let Err(error) = self.obey(command) {
                        self.engine_failed(&error);
                    }
                }
                event = next_event(&mut self.connection), if reads => {
                    if let Err(error) = self.hear(event) {
                        self.engine_failed(&error);
                    }
                }
                () = tokio::time::sleep_until(self.paused_until), if paused => {}
                () = tokio::time::sleep_until(self.send_at), if sends => {}
                () = tokio::time::sleep_until(waits.unwrap_or_else(now)), if waits.is_some() => {
                    self.lose("it got no answer");
                }
                () = tokio::time::sleep_until(self.join_at), if joins => self.join().await,
            }
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.parts.trace.note(&self.parts.name, what);
    }

    /// Whoever has written something else under its peer id than what others hold can't follow them for
    /// long, and begins anew. Nobody else's engine may fail.
    fn engine_failed(&mut self, error: &CrdtError) {
        if self.has_double() {
            self.parts
                .history
                .met("a client with a double could not go on");
            self.begin_anew(ErrorCode::Equivocation);
            return;
        }
        self.parts
            .history
            .violation(format!("{}: the engine failed: {error:?}", self.parts.name));
    }

    fn answer_due(&self) -> Option<Instant> {
        let connection = self.connection.as_ref()?;
        let waits = self.replica.in_flight_count() > 0 || !connection.caught_up;
        (waits && self.paused_until <= now())
            .then_some(connection.waiting_since.max(self.paused_until) + ANSWER_WAIT_MAX)
    }

    // --- What it is told to do ---

    fn obey(&mut self, command: Command) -> Result<(), CrdtError> {
        match command {
            Command::Insert { place, count } => {
                for _ in 0..count {
                    self.replica.insert(place, 1)?;
                }
                self.replica.take_edits()?;
                if !self.online {
                    self.parts.history.met("edited offline");
                }
            }
            Command::Paste { place, len } => {
                self.replica.insert(place, len)?;
                self.replica.take_edits()?;
                self.parts.history.met("pasted");
            }
            Command::Delete { place, count } => {
                self.replica.delete(place, count as usize)?;
                self.replica.take_edits()?;
            }
            Command::GoOffline => {
                self.online = false;
                self.connection = None;
            }
            Command::GoOnline => {
                self.online = true;
                self.join_at = now();
            }
            Command::Move { node } => {
                if self.connection.is_some() && node != self.node {
                    if self.replica.in_flight_count() > 0 {
                        self.parts.history.met("one peer on two nodes");
                    }
                    self.connection = None;
                    self.join_at = now();
                }
                self.node = node;
            }
            Command::Pause { pause } => self.paused_until = now() + pause,
            Command::Keep => self.kept = Some((self.replica.line, self.replica.keep()?)),
            Command::SetBack => self.set_back()?,
            Command::Stand(reply) => {
                let caught_up = self.connection.as_ref().is_some_and(|c| c.caught_up);
                let is_settled = caught_up && self.replica.is_settled();
                let version = self.replica.document.version()?;
                let _ = reply.send(Standing {
                    is_settled,
                    version,
                });
            }
            Command::Report(reply) => {
                let _ = reply.send(self.report()?);
            }
        }
        Ok(())
    }

    fn report(&self) -> Result<Report, CrdtError> {
        Ok(Report {
            version: self.replica.document.version()?,
            text: self.replica.document.text()?,
            state_hash: self.replica.document.state_hash()?,
        })
    }

    fn set_back(&mut self) -> Result<(), CrdtError> {
        let Some((line, kept)) = self.kept.take() else {
            return Ok(());
        };
        if kept.end < self.replica.end() {
            self.parts.history.met("a client's disk was set back");
        }
        let (peer, end) = (kept.peer, kept.end);
        let line = self.parts.history.branch(line, end);
        self.replica = Replica::set_back(kept, line, self.parts.history.clone())?;
        self.set_peer(peer);
        self.note(format_args!("is set back to {end} of {peer}"));
        self.lose("its disk was set back");
        Ok(())
    }

    fn set_peer(&self, peer: PeerId) {
        *self
            .current_peer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = peer;
    }

    /// Goes on with an empty replica under a new peer id. What it wrote and the log may not have is
    /// lost to the person, who was told.
    fn begin_anew(&mut self, why: ErrorCode) {
        self.note(format_args!("begins anew after {why}"));
        self.parts.history.met("a client began anew");
        let peer = self.parts.ids.peer();
        self.replica = fresh(&self.parts, peer, Honesty::Honest);
        self.kept = None;
        self.set_peer(peer);
        self.lose("it begins anew");
    }

    // --- The connection ---

    fn lose(&mut self, why: &str) {
        self.note(format_args!("loses its connection: {why}"));
        self.connection = None;
        self.join_at = now() + self.pause();
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(1) + self.parts.random.jitter(RETRY_PAUSE_MAX)
    }

    async fn join(&mut self) {
        self.join_at = now() + self.pause();
        let Some(life) = self.parts.cluster.life(self.node) else {
            // Nobody answers there; somebody may elsewhere.
            self.node = (self.node + 1) % self.parts.cluster.node_count();
            return;
        };
        let Ok(version) = self.replica.document.version() else {
            return;
        };
        let request = JoinRequest {
            document: self.parts.document.clone(),
            session: self.parts.ids.session(),
            principal: self.parts.principal.clone(),
            version,
            kind: self.parts.kind,
            peer: Some(self.replica.peer),
        };
        let joined = tokio::select! {
            biased;
            () = life.gone.cancelled() => return,
            joined = tokio::time::timeout(JOIN_TIME_MAX, life.service.join(request)) => joined,
        };
        match joined {
            Ok(Ok(joined)) => {
                if let Err(error) = self.joined(joined, life.gone) {
                    self.engine_failed(&error);
                }
            }
            Ok(Err(error)) => {
                self.note(format_args!("may not join node{}: {error}", self.node));
                if error.code.advice() == Advice::GiveUp {
                    let name = &self.parts.name;
                    self.parts.history.violation(format!("{name}: {error}"));
                }
            }
            Err(_) => self.note(format_args!("gets no answer from node{}", self.node)),
        }
    }

    fn joined(&mut self, joined: Joined, gone: CancellationToken) -> Result<(), CrdtError> {
        let Some(standing) = joined.peer else {
            let name = &self.parts.name;
            self.parts
                .history
                .violation(format!("{name}: a join does not say how the peer stands"));
            return Ok(());
        };
        self.note(format_args!(
            "joins node{}, its peer stands at {}",
            self.node, standing.end
        ));
        if !standing.owned {
            self.must_deserve(ErrorCode::ForeignPeer);
            self.begin_anew(ErrorCode::ForeignPeer);
            return Ok(());
        }
        if standing.end > self.replica.offered() {
            self.parts
                .history
                .met("a set-back client was found out at its join");
            self.begin_anew(ErrorCode::Equivocation);
            return Ok(());
        }
        let recut = self.parts.random.chance(0.4).then_some(&self.parts.random);
        self.replica.offer_again(standing.end, recut)?;
        self.send_at = now();
        self.connection = Some(Connection {
            room: joined.room,
            events: joined.events,
            gone,
            caught_up: false,
            folds: self.parts.history.count(FOLDED),
            waiting_since: now(),
        });
        Ok(())
    }

    async fn send(&mut self) -> Result<(), CrdtError> {
        while let Some(connection) = &mut self.connection
            && self.send_at <= now()
        {
            let batch = self.parts.ids.batch();
            if self.replica.in_flight_count() == 0 {
                connection.waiting_since = now();
            }
            let Some(updates) = self.replica.next_batch(batch) else {
                return Ok(());
            };
            let count = updates.len();
            let submission = Submission {
                batch,
                updates,
                trace: None,
                received: Instant::now(),
            };
            let submitted = connection.room.submit(submission).await;
            self.note(format_args!("offers {count} updates as {batch}"));
            if submitted.is_err() {
                self.lose("its room is gone");
            }
        }
        Ok(())
    }

    // --- What the room says ---

    fn hear(&mut self, event: Option<SessionEvent>) -> Result<(), CrdtError> {
        if let Some(connection) = &mut self.connection {
            connection.waiting_since = now();
        }
        match event {
            None => self.lose("the room says no more"),
            Some(SessionEvent::Updates(frame)) => self.import(&frame)?,
            Some(SessionEvent::CaughtUp) => {
                self.note(format_args!("is caught up"));
                if let Some(connection) = &mut self.connection {
                    connection.caught_up = true;
                    if connection.folds < self.parts.history.count(FOLDED) {
                        self.parts.history.met("a fold during a catch-up");
                    }
                }
            }
            Some(SessionEvent::Pulse { beat_ms, .. }) => {
                if beat_ms > 0 {
                    self.parts.history.met("pulse");
                }
            }
            Some(SessionEvent::Ack { batch, stamps }) => {
                self.note(format_args!("hears that {batch} is safe ({stamps:?})"));
                if stamps.is_none() {
                    self.parts.history.met("acknowledged as known");
                }
                self.replica.acked(batch);
            }
            Some(SessionEvent::Nack {
                batch,
                code,
                message,
            }) => {
                self.note(format_args!(
                    "hears that {batch} is refused: {code}, {message}"
                ));
                self.refused(batch, code);
            }
            Some(SessionEvent::Closed { code, message }) => {
                self.note(format_args!("is closed: {code}, {message}"));
                if code.advice() == Advice::GiveUp {
                    let name = &self.parts.name;
                    self.parts
                        .history
                        .violation(format!("{name} was put out: {code}, {message}"));
                }
                self.lose("it was closed");
            }
        }
        Ok(())
    }

    fn import(&mut self, frame: &UpdateFrame) -> Result<(), CrdtError> {
        let outcome = self.replica.document.import_batch(&frame.updates)?;
        self.note(format_args!(
            "imports {} updates: {:?}",
            frame.updates.len(),
            outcome.applied
        ));
        if !outcome.pending.is_empty() {
            let (name, pending) = (&self.parts.name, &outcome.pending);
            self.parts
                .history
                .violation(format!("{name} was sent {pending:?} too early"));
        }
        if self.replica.document.version()?.end(self.replica.peer) > self.replica.end() {
            // These are its own operations, which its disk does not know of any more.
            self.parts
                .history
                .met("a set-back client met its own operations");
            self.must_deserve(ErrorCode::Equivocation);
            self.begin_anew(ErrorCode::Equivocation);
        }
        Ok(())
    }

    /// A correct client is refused for good only if somebody else wrote under its peer id, be it its
    /// own past self.
    fn must_deserve(&self, code: ErrorCode) {
        if !self.has_double() {
            let name = &self.parts.name;
            self.parts
                .history
                .violation(format!("{name} was refused for good with {code}"));
        }
    }

    /// Whether somebody else has written under this client's peer id, or the client itself from a disk
    /// that was set back.
    fn has_double(&self) -> bool {
        let facts = self.parts.history.facts();
        let same_peer = |line: &&Line| line.peer == self.replica.peer;
        facts.lines.iter().filter(same_peer).count() > 1
    }

    fn refused(&mut self, batch: BatchId, code: ErrorCode) {
        match code.advice() {
            Advice::Retry => {
                self.replica.take_back(batch);
                self.send_at = now() + self.pause();
            }
            Advice::Rejoin => {
                self.replica.take_back(batch);
                self.lose("it has to join again");
            }
            Advice::Fix | Advice::GiveUp => {
                self.must_deserve(code);
                for span in self.replica.give_up(batch) {
                    self.parts.history.refused(self.replica.line, span, code);
                }
                self.begin_anew(code);
            }
        }
    }
}

fn fresh(parts: &ClientParts, peer: PeerId, honesty: Honesty) -> Replica {
    let line = line(parts, peer, honesty);
    Replica::new(peer, line, parts.history.clone()).expect("the peer id is not the reserved one")
}

fn line(parts: &ClientParts, peer: PeerId, honesty: Honesty) -> LineId {
    note!(parts.trace, parts.name, "writes as {peer}");
    parts
        .history
        .line(&parts.document, &parts.name, peer, honesty)
}

async fn next_event(connection: &mut Option<Connection>) -> Option<SessionEvent> {
    match connection {
        None => std::future::pending().await,
        Some(connection) => tokio::select! {
            biased;
            () = connection.gone.cancelled() => None,
            event = connection.events.recv() => event,
        },
    }
}

#[allow(clippy::disallowed_methods)] // Paused time, which the simulation controls.
fn now() -> Instant {
    Instant::now()
}
