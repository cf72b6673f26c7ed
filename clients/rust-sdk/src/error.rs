use document_types::limits::{MARKS_COUNT_MAX, TRANSACTIONS_WAITING_MAX};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one of the kind `http://host:port` or `grpc://host:port`.
    #[error("the server's URL {url:?} is not of the kind http://host:port or grpc://host:port")]
    Url {
        /// What was given.
        url: String,
    },
}

/// Why a document could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The connection's task has ended.
    #[error("the client is closed")]
    Closed,
    /// The client has the document open already; one replica is enough for a process.
    #[error("the document is open already")]
    AlreadyOpen,
    /// The client has as many documents open as one connection carries.
    #[error("the client has {count_max} documents open, which is the most it may")]
    TooMany {
        /// The most it may have.
        count_max: usize,
    },
    /// The engine could not make an empty replica.
    #[error("the replica could not be made")]
    Engine(#[from] crdt_document::CrdtError),
}

/// Why an edit was not made. The document is as before.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text is shorter than the edit needs it to be.
    #[error("the text has {len} characters, and the edit reaches to {position}")]
    OutOfRange {
        /// Characters of the text.
        len: usize,
        /// Where the edit reaches to.
        position: usize,
    },
    /// The server gives this client no right to write.
    #[error("this client may only read the document")]
    ReadOnly,
    /// The replica is being loaded from the server again, after the engine failed on an import.
    /// [`crate::DocumentEvent::CaughtUp`] says when it is back.
    #[error("the replica is being loaded again")]
    Reloading,
    /// The replica is closed, and the status says why.
    #[error("the document is closed")]
    Closed,
    /// As many transactions wait for a commit as may.
    #[error("{TRANSACTIONS_WAITING_MAX} transactions wait for the next commit already")]
    TooManyWaiting,
    /// The document has as many marks as it may.
    #[error("the document has {MARKS_COUNT_MAX} marks already")]
    TooManyMarks,
    /// The engine refused the edit.
    #[error("the engine refused the edit")]
    Engine(#[from] crdt_document::CrdtError),
}

/// Why a document's state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The replica is being loaded from the server again.
    #[error("the replica is being loaded again")]
    Reloading,
    /// The engine failed.
    #[error("the engine could not read the document")]
    Engine(#[from] crdt_document::CrdtError),
}

/// The document was closed while something was waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document was closed: {reason}")]
pub struct ClosedError {
    /// Why.
    pub reason: String,
}
