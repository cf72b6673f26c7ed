//! The history service: a document's state, without a session.
//!
//! Documents are materialised here and nowhere on the way of an edit. Those that were read lately
//! are kept, within a bound of bytes, and brought up to date from the store when they are read again.

pub mod metrics;
mod replicas;

use async_trait::async_trait;
use crdt_document::CrdtError;
use document_store::{DocumentStore, StoreError};
use document_types::limits::{STORE_BEHIND_ATTEMPTS_MAX, STORE_BEHIND_PAUSE};
use document_types::{DocumentId, ErrorCode, LogSource, partition_of};
use op_log::RegionalLogs;
use service_api::{CurrentState, History, HistoryError};

use replicas::Replicas;

/// A history node.
pub struct HistoryNode {
    logs: RegionalLogs,
    store: DocumentStore,
    replicas: Replicas,
}

/// Why a document can't be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the document was never written")]
    NotFound,
    #[error("the operation log can't be reached")]
    Log(#[from] op_log::ReadError),
    #[error("the document's state can't be reached")]
    Store(#[from] StoreError),
    #[error("the document's state is too far behind the log")]
    Behind,
    #[error("the engine can't read the document")]
    Engine(#[from] CrdtError),
    #[error("the read was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl ReadError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::Log(_) | Self::Store(_) | Self::Behind | Self::Interrupted(_) => {
                ErrorCode::Unavailable
            }
            Self::Engine(_) => ErrorCode::Internal,
        }
    }
}

impl HistoryNode {
    /// A node that reads what a merger has merged from `logs` into `store`.
    pub fn new(logs: RegionalLogs, store: DocumentStore) -> Self {
        Self {
            logs,
            replicas: Replicas::new(store.clone()),
            store,
        }
    }

    async fn read(&self, document: &DocumentId) -> Result<CurrentState, ReadError> {
        self.wait_for_merger(document).await?;
        if self.store.head(document).await?.is_none() {
            return Err(ReadError::NotFound);
        }
        self.replicas.read(document).await
    }

    /// Waits until the store has everything that the region's own log has at the call, so that whoever
    /// was told here that an edit is safe finds it.
    async fn wait_for_merger(&self, document: &DocumentId) -> Result<(), ReadError> {
        let partition = partition_of(document, self.logs.partition_count());
        let source = LogSource {
            region: self.logs.region().clone(),
            partition,
        };
        let tail = self.logs.own().tail(partition).await?;
        for _ in 0..STORE_BEHIND_ATTEMPTS_MAX {
            let merged = self.store.merged(&source).await?;
            if merged.map_or(0, |last| last.next().0) >= tail.0 {
                return Ok(());
            }
            tokio::time::sleep(STORE_BEHIND_PAUSE).await;
        }
        Err(ReadError::Behind)
    }
}

#[async_trait]
impl History for HistoryNode {
    async fn current(&self, document: &DocumentId) -> Result<CurrentState, HistoryError> {
        self.read(document).await.map_err(|error| {
            let code = error.code();
            if code != ErrorCode::NotFound {
                tracing::error!(
                    %document,
                    error = &error as &dyn std::error::Error,
                    "a document can't be read"
                );
            }
            HistoryError {
                code,
                message: error.to_string(),
            }
        })
    }
}
