use std::sync::Arc;

use blob_store::BlobStore;
use clock::{Clock, IdSource};
use document_types::limits::{CONNECTIONS_COUNT_MAX, CONNECTIONS_PER_SECOND_MAX, JOIN_TIME_MAX};
use document_types::{DocumentId, ErrorCode, Permission, Principal};
use service_api::{Collaboration, History, JoinError, JoinRequest, Joined, Permissions, Presence};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use traces::Traces;

use crate::admission::Admission;
use crate::attachments::Attachments;
use crate::{Authenticator, OriginPolicy};

/// Everything that a gateway works with.
#[derive(Clone)]
pub struct GatewayState {
    /// Where documents are joined.
    pub collaboration: Arc<dyn Collaboration>,
    /// Where presence is joined.
    pub presence: Arc<dyn Presence>,
    /// Where documents are read without a session.
    pub history: Arc<dyn History>,
    /// Where attachments are kept, if anywhere.
    pub blobs: Option<BlobStore>,
    /// Who clients are.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who may read documents and see their presence; the gate asks for itself who may write.
    pub permissions: Arc<dyn Permissions>,
    /// Which web pages may open sockets.
    pub origins: OriginPolicy,
    /// Where session and document ids come from.
    pub ids: IdSource,
    /// The wall clock that clients are told.
    pub clock: Arc<dyn Clock>,
    /// Where spans of traced batches go.
    pub traces: Traces,
    /// What this gateway takes on.
    pub limits: GatewayLimits,
    /// Cancelled when the process is about to stop: new sockets are refused, open ones are told and
    /// closed.
    pub drain: CancellationToken,
    /// The open sockets. After cancelling `drain`, close this and wait for it.
    pub sockets: TaskTracker,
}

/// What a gateway takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Sockets at once.
    pub connections_count_max: usize,
    /// New sockets a second.
    pub connections_per_second_max: u32,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            connections_count_max: CONNECTIONS_COUNT_MAX,
            connections_per_second_max: CONNECTIONS_PER_SECOND_MAX,
        }
    }
}

/// The state as handlers share it.
pub(crate) struct Gateway {
    pub(crate) state: GatewayState,
    pub(crate) admission: Admission,
    pub(crate) attachments: Attachments,
}

impl Gateway {
    pub(crate) fn new(state: GatewayState) -> Self {
        let admission = Admission::new(state.limits);
        let attachments = Attachments::new(state.blobs.clone());
        Self {
            state,
            admission,
            attachments,
        }
    }

    /// Joins a document's room, in time.
    pub(crate) async fn join(&self, request: JoinRequest) -> Result<Joined, JoinError> {
        let joining = timeout(JOIN_TIME_MAX, self.state.collaboration.join(request));
        joining.await.unwrap_or_else(|_| {
            Err(JoinError {
                code: ErrorCode::Unavailable,
                message: "the document did not open in time".into(),
            })
        })
    }

    /// What `principal` may do with `document`, at least read it.
    pub(crate) async fn permission(
        &self,
        principal: &Principal,
        document: &DocumentId,
    ) -> Result<Permission, Refusal> {
        match self.state.permissions.permission(principal, document).await {
            Ok(Some(permission)) => Ok(permission),
            Ok(None) => Err(Refusal::new(
                ErrorCode::PermissionDenied,
                "you may not read this document",
            )),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no permission decided"
                );
                Err(Refusal::new(ErrorCode::Unavailable, error.to_string()))
            }
        }
    }
}

/// A request that is refused, whichever way it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
