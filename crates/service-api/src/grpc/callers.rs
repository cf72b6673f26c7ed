//! Who opens streams to a node or a gateway, and whom they join for.

use std::sync::Arc;

use async_trait::async_trait;
use document_types::limits::SEATS_PER_STREAM_MAX;
use document_types::{DeviceId, DocumentId, ErrorCode, PeerId, Principal, SessionId, UserId};
use document_types::{IdError, VersionVector};
use tonic::codegen::http::HeaderMap;

use super::values::Malformed;
use crate::{Collaboration, JoinError, JoinRequest, Joined, WireKind};

/// Lets callers open streams.
pub trait Callers: Send + Sync + 'static {
    /// The caller who came with `headers`. It is dropped when its stream has ended.
    ///
    /// # Errors
    /// [`JoinError`] if it may not open one.
    fn admit(&self, headers: &HeaderMap) -> Result<Arc<dyn Caller>, JoinError>;
}

/// Somebody who has opened a stream.
#[async_trait]
pub trait Caller: Send + Sync + 'static {
    /// Joins a document as [`Collaboration::join`] does, for whom the caller may.
    ///
    /// # Errors
    /// [`JoinError`].
    async fn join(&self, claim: JoinClaim) -> Result<Joined, JoinError>;

    /// How many documents it may have joined at once.
    fn seats_count_max(&self) -> usize;
}

/// A join in its caller's words. A service is believed in all of it. A client is not: its gateway knows
/// who it is.
#[derive(Clone, Debug)]
pub struct JoinClaim {
    /// The document.
    pub document: DocumentId,
    /// The connection; a service has to say.
    pub session: Option<SessionId>,
    /// The person; a service has to say.
    pub user: Option<UserId>,
    /// The installation.
    pub device: DeviceId,
    /// What the replica knows.
    pub version: VersionVector,
    /// What the client can do beyond the stock protocol.
    pub kind: WireKind,
    /// The peer id that the client will write under, if it says.
    pub peer: Option<PeerId>,
}

impl JoinClaim {
    /// The join of somebody who is known.
    pub fn of(self, principal: Principal, session: SessionId) -> JoinRequest {
        JoinRequest {
            document: self.document,
            session,
            principal,
            version: self.version,
            kind: self.kind,
            peer: self.peer,
        }
    }
}

impl From<JoinRequest> for JoinClaim {
    fn from(request: JoinRequest) -> Self {
        Self {
            document: request.document,
            session: Some(request.session),
            user: Some(request.principal.user),
            device: request.principal.device,
            version: request.version,
            kind: request.kind,
            peer: request.peer,
        }
    }
}

/// Other services of the deployment, which have shown their token.
pub(super) struct Services(pub(super) Arc<dyn Collaboration>);

impl Callers for Services {
    fn admit(&self, _headers: &HeaderMap) -> Result<Arc<dyn Caller>, JoinError> {
        Ok(Arc::new(Self(self.0.clone())))
    }
}

#[async_trait]
impl Caller for Services {
    async fn join(&self, claim: JoinClaim) -> Result<Joined, JoinError> {
        let (Some(session), Some(user)) = (claim.session.clone(), claim.user.clone()) else {
            return Err(JoinError {
                code: ErrorCode::ProtocolViolation,
                message: "a service says for whom and for which session it joins".into(),
            });
        };
        let device = claim.device.clone();
        self.0
            .join(claim.of(Principal { user, device }, session))
            .await
    }

    fn seats_count_max(&self) -> usize {
        SEATS_PER_STREAM_MAX
    }
}

/// An id that may be left out.
pub(super) fn optional<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, IdError>,
) -> Result<Option<T>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    parse(text)
        .map(Some)
        .map_err(|error| Malformed(error.to_string()))
}
