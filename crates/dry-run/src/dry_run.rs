use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crdt_document::Slice;
use document_types::limits::{DRY_RUN_FRAME_BYTES_MAX, DRY_RUN_WORKER_MEMORY_BYTES_MAX};
use document_types::{CounterSpan, DocumentId, VersionVector};
use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// Tries updates as a client would, before they reach the log.
///
/// Whoever tries keeps a replica of the documents that were tried lately, attached as a client's is.
/// It holds what the log has let in and, on top, what was tried and found harmless: the caller is
/// about to append that. If it is not appended after all, the caller says [`DryRun::forget`].
#[async_trait]
pub trait DryRun: Send + Sync + 'static {
    /// Brings the replica to where the log stands and imports the candidates in their order. Gives a
    /// verdict for each of them.
    ///
    /// A harmful candidate leaves no trace: the verdicts of those behind it are what they would be
    /// had it not been there.
    ///
    /// # Errors
    /// [`DryRunError`]. Nothing was tried then.
    async fn try_updates(&self, request: DryRunRequest) -> Result<Tried, DryRunError>;

    /// Looks at updates that overlap what the log has let in, or that are too large to be imported at
    /// once. Gives what it found for each of them. No replica is needed for it, and none is kept.
    ///
    /// # Errors
    /// [`DryRunError`], but never [`DryRunError::NeedsBase`].
    async fn clear(&self, request: ClearRequest) -> Result<Vec<Clearing>, DryRunError>;

    /// Drops what is kept of a document. The next request for it needs a base.
    async fn forget(&self, document: &DocumentId);
}

/// What is to be tried, and on what.
#[derive(Clone, Debug)]
pub struct DryRunRequest {
    /// The document.
    pub document: DocumentId,
    /// What the log has let in. A replica that does not know all of it after `applied` is no ground
    /// for a verdict.
    pub version: VersionVector,
    /// Everything that the document is made of, a snapshot first if there is one, to be imported in
    /// this order; overlaps are harmless. `None` if the replica is expected to be there.
    pub base: Option<Vec<Bytes>>,
    /// Logged updates that the replica may lack, in log order.
    pub applied: Vec<Bytes>,
    /// Whether anything in the document was ever styled: a deletion that takes one end of a style with
    /// it leaves a state that can't be loaded again.
    pub styled: bool,
    /// What is to be tried, each following what is before it.
    pub candidates: Vec<Bytes>,
    /// Whether to try more than what every client does with them at once: to take them back as well, as
    /// concurrent updates make clients do later.
    pub thorough: bool,
    /// Whether the candidates may take [`DRY_RUN_PATIENCE`](document_types::limits::DRY_RUN_PATIENCE)
    /// times as long as others.
    pub patient: bool,
    /// Whether these candidates failed on a replica that was kept; see [`DryRunError::NeedsBase`].
    pub suspect: bool,
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// A verdict for each candidate.
    pub verdicts: Vec<Verdict>,
    /// What the candidates cost: the processor time in which they were imported, and that in which the
    /// document was loaded anew because of harmful ones. Where a worker died of one, the time until
    /// then. Zero in simulations.
    pub processor_time: Duration,
}

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A client would have imported it without harm.
    Harmless,
    /// It would have harmed whoever imports it.
    Harmful(Harm),
}

/// What a harmful update does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Harm {
    /// The engine panics, or the process dies.
    Panic,
    /// It takes more time than an update may.
    Slow,
    /// It takes more time than an update may of somebody with whom one is not patient, and would be
    /// harmless otherwise. What it was written on top of may be long ago, and the document busy.
    Dear,
    /// It takes more memory than there is.
    Memory,
    /// The engine refuses it.
    Refused(String),
    /// It builds on what the document does not have.
    Dangling,
    /// It nests containers deeper than a reader can follow.
    Deep,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.write_str("importing it stops the engine"),
            Self::Slow => f.write_str("importing it takes too long"),
            Self::Dear => {
                f.write_str("importing it takes long at the moment, as much was written beside it")
            }
            Self::Memory => f.write_str("importing it takes too much memory"),
            Self::Refused(reason) => write!(f, "the engine refuses it: {reason}"),
            Self::Dangling => f.write_str("it builds on operations that the document lacks"),
            Self::Deep => f.write_str("it nests containers too deeply"),
        }
    }
}

/// Updates that are to be looked at, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearRequest {
    /// The document.
    pub document: DocumentId,
    /// Everything that the document is made of, as [`DryRunRequest::base`].
    pub history: Vec<Bytes>,
    /// What is to be looked at, each by itself.
    pub candidates: Vec<Unclear>,
}

/// An update that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclear {
    /// The update.
    pub update: Bytes,
    /// The operations that the document has under these ids, to be compared.
    pub overlap: Option<CounterSpan>,
    /// The operations that are to be cut out of it, if those are the same.
    pub rest: Option<CounterSpan>,
}

/// What a look at an update found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clearing {
    /// The overlap is what the document has. The rest, in slices of which each may be one import; none
    /// if the document has all of it.
    Same(Vec<Slice>),
    /// The same ids stand for other operations.
    Different,
    /// It would have harmed whoever looks at it.
    Harmful(Harm),
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// There is no replica of the document that a verdict could stand on. Ask again with a base.
    #[error("the dry run lacks the document")]
    NeedsBase {
        /// Whether one was there and something failed on it. Say so in the request with the base, and
        /// the candidates are tried one by one at once.
        suspect: bool,
    },
    /// A logged update can't be imported, whoever sent it. No candidate is to blame: the document is
    /// degraded, and its updates are let in without a dry run or not at all, as the caller decides.
    #[error("the document's log itself can't be imported")]
    Degraded,
    /// The document has grown beyond what a worker can open. It can be read, but not written any more.
    #[error(
        "the document is too large to be changed: a dry run opens {} MiB in {} MiB of memory at most; go on in a new document",
        DRY_RUN_FRAME_BYTES_MAX as u64 / MIB,
        DRY_RUN_WORKER_MEMORY_BYTES_MAX / MIB
    )]
    TooLarge,
    /// The dry run can't be reached or is at its limits. Try again.
    #[error("the dry run can't be had at the moment")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}
