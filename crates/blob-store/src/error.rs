use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use document_types::Advice;

use crate::BlobId;

/// What the place where blobs are kept has to say about a failure.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a blob was not stored or is not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// The store did not answer, not in time, or with a failure of its own. Do the same again after a
    /// pause. A blob that was being stored may be there, whole, or not.
    #[error("the blob store does not answer")]
    Unavailable(#[source] Cause),
    /// The store does not let us, or does not have what we were told to use. It will go on refusing
    /// until somebody changes permissions, credentials or settings.
    #[error(
        "the blob store refuses the request; check its settings, the credentials, and what they permit"
    )]
    Refused(#[source] Cause),
    /// There is no such blob. Since blobs are not removed, whoever named it has stored it elsewhere or
    /// never has.
    #[error("there is no blob {id}")]
    NotFound {
        /// The blob asked for.
        id: BlobId,
    },
    /// What is stored under this name is not what was stored there. Asking again will not help, nor
    /// will storing it again, which replaces nothing: an operator has to bring the blob back from a
    /// copy.
    #[error("the blob {id} is damaged: {problem}")]
    Damaged {
        /// The blob's name.
        id: BlobId,
        /// What is wrong with it.
        problem: String,
    },
    /// The blob is larger than a blob may be, and was not stored. Store it in parts.
    #[error("a blob has {bytes} bytes, and {bytes_max} is the most it may have")]
    TooLarge {
        /// Bytes of the blob.
        bytes: usize,
        /// The most it may have.
        bytes_max: usize,
    },
}

impl BlobError {
    pub(crate) fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    pub(crate) fn refused(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused(Arc::from(cause.into()))
    }

    pub(crate) fn damaged(id: BlobId, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Damaged { id, problem }
    }

    /// What the caller should do. To retry means to do the same again.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Unavailable(_) => Advice::Retry,
            Self::Refused(_) | Self::TooLarge { .. } => Advice::Fix,
            Self::NotFound { .. } | Self::Damaged { .. } => Advice::GiveUp,
        }
    }

    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.advice() == Advice::Retry
    }
}

/// Why a blob store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory can't be used.
    #[error("the directory {} can't be used for blobs", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Another process, or another store in this one, has the directory.
    #[error("the directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// This program can't talk to such a store.
    #[error("{scheme}:// needs a program that was built with the feature `cloud`")]
    NotBuiltIn {
        /// How the store's address begins.
        scheme: &'static str,
    },
    /// The client can't be made of these settings and what the environment says.
    #[error("the blob store's client can't be set up")]
    Client(#[source] Cause),
    /// The store was opened, but does not do what a blob store has to.
    #[error("the blob store can't be used")]
    Unusable(#[from] BlobError),
    /// The store answers that an object is there which nobody can have stored, or gives back something
    /// else than what it was given.
    #[error("the blob store does not keep to what it was told: {0}")]
    Untrue(&'static str),
}

impl OpenError {
    /// Whether the same store may open later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::InUse { .. })
            || matches!(self, Self::Unusable(error) if error.is_retryable())
    }
}
