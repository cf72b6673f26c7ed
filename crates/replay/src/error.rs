use std::io;
use std::path::PathBuf;

use document_types::DocumentId;
use document_types::limits::REPLAY_SETTLE_TIME_MAX;

use crate::server_state::ServerStateError;
use crate::trace::TraceError;

/// Why a replay could not be carried through. A replay that was, and found a difference, is no error:
/// its report says so.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The trace can't be used.
    #[error("the trace can't be used")]
    Trace(#[from] TraceError),
    /// The client could not be made.
    #[error("the client could not be made")]
    Connect(#[from] collabedit_sdk::ConnectError),
    /// The document could not be opened.
    #[error("the document could not be opened")]
    Open(#[from] collabedit_sdk::OpenError),
    /// The document was closed.
    #[error("the document was closed")]
    Closed(#[from] collabedit_sdk::ClosedError),
    /// The document holds something already, so the result could not be told.
    #[error("document {document} is not empty")]
    NotEmpty {
        /// Which.
        document: DocumentId,
    },
    /// An edit was not made.
    #[error("an edit was not made")]
    Edit(#[from] collabedit_sdk::EditError),
    /// A replica could not be read.
    #[error("a replica could not be read")]
    Read(#[from] collabedit_sdk::ReadError),
    /// The server refused an edit for good.
    #[error("the server refused an edit for good: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// A recorder fell behind its client.
    #[error("{count} events were missed, so what was measured is incomplete")]
    EventsMissed {
        /// How many.
        count: u64,
    },
    /// Not everybody had everything in time.
    #[error("{what} did not happen within {} s", REPLAY_SETTLE_TIME_MAX.as_secs())]
    TimedOut {
        /// What.
        what: &'static str,
    },
    /// The server did not say what the document is.
    #[error("the server did not say what the document is")]
    Server(#[from] ServerStateError),
    /// The updates could not be merged in one document.
    #[error("the updates could not be merged in one document")]
    Merge(#[from] crdt_document::CrdtError),
    /// A client's task failed.
    #[error("a client's task failed")]
    Task(#[from] tokio::task::JoinError),
    /// The report's file can't be read or written.
    #[error("the report {} can't be read or written", path.display())]
    ReportFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The report's file is not a report.
    #[error("the report's file is not a report")]
    ReportFormat(#[source] serde_json::Error),
}
