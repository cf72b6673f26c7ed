use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use document_types::{DocumentId, VersionVector};
use serde::{Deserialize, Serialize};

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
    async fn try_updates(&self, request: DryRunRequest) -> Result<Vec<Verdict>, DryRunError>;

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
    /// What is to be tried, each following what is before it.
    pub candidates: Vec<Bytes>,
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
            Self::Memory => f.write_str("importing it takes too much memory"),
            Self::Refused(reason) => write!(f, "the engine refuses it: {reason}"),
            Self::Dangling => f.write_str("it builds on operations that the document lacks"),
            Self::Deep => f.write_str("it nests containers too deeply"),
        }
    }
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// There is no replica of the document. Ask again with a base.
    #[error("the dry run lacks the document")]
    NeedsBase,
    /// A logged update can't be imported, whoever sent it. No candidate is to blame: the document is
    /// degraded, and its updates are let in without a dry run or not at all, as the caller decides.
    #[error("the document's log itself can't be imported")]
    Degraded,
    /// The dry run can't be reached or is at its limits. Try again.
    #[error("the dry run can't be had at the moment")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}
