//! What the plan tells a client and asks it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use document_types::{Digest, DocumentId, PeerId, VersionVector};
use tokio::sync::{mpsc, oneshot};

/// What the plan has a client do.
#[derive(Debug)]
pub enum Command {
    /// Insert tokens.
    Insert {
        /// Where, of the whole text.
        place: u32,
        /// How many.
        count: u32,
    },
    /// Insert one token that is long.
    Paste {
        /// Where, of the whole text.
        place: u32,
        /// How long.
        len: usize,
    },
    /// Delete tokens.
    Delete {
        /// Where, of the whole text.
        place: u32,
        /// How many.
        count: u32,
    },
    /// Lose the connection and stay away.
    GoOffline,
    /// Come back.
    GoOnline,
    /// Leave the node for another one, with everything that is in flight.
    Move {
        /// Where to.
        node: usize,
    },
    /// Read nothing for a while.
    Pause {
        /// For how long.
        pause: Duration,
    },
    /// Lose the connection, and what was written to disk lately: the replica is as it was.
    SetBack,
    /// Remember the replica as it is, to be set back to.
    Keep,
    /// Say how things stand.
    Stand(oneshot::Sender<Standing>),
    /// Say what the replica holds.
    Report(oneshot::Sender<Report>),
}

/// How a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Connected, caught up, and with nothing of its own that the log lacks.
    pub is_settled: bool,
    /// What its replica holds.
    pub version: VersionVector,
}

/// What a replica holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its operations.
    pub version: VersionVector,
    /// The replica's text.
    pub text: String,
    /// The digest of its state.
    pub state_hash: Digest,
}

/// To speak to a client's task.
#[derive(Clone)]
pub struct ClientHandle {
    /// Its name in the trace.
    pub name: String,
    /// The document that it works on.
    pub document: DocumentId,
    pub(super) peer: Arc<Mutex<PeerId>>,
    pub(super) commands: mpsc::Sender<Command>,
}

impl ClientHandle {
    /// Has the client do something.
    pub async fn tell(&self, command: Command) {
        self.commands
            .send(command)
            .await
            .expect("clients run as long as the simulation");
    }

    /// How the client stands.
    pub async fn standing(&self) -> Standing {
        let (reply, standing) = oneshot::channel();
        self.tell(Command::Stand(reply)).await;
        standing
            .await
            .expect("clients run as long as the simulation")
    }

    /// What the client's replica holds.
    pub async fn report(&self) -> Report {
        let (reply, report) = oneshot::channel();
        self.tell(Command::Report(reply)).await;
        report.await.expect("clients run as long as the simulation")
    }

    /// The peer id that it writes under now.
    pub fn peer(&self) -> PeerId {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
