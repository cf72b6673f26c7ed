//! Native clients, which speak gRPC: what they say of themselves is checked as it is at a socket, and then
//! they have the same rooms.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::HeaderMap;
use document_types::SessionId;
use document_types::limits::DOCUMENTS_PER_SOCKET_MAX;
use metrics::counter;
use service_api::grpc::{Caller, Callers, JoinClaim};
use service_api::{JoinError, Joined};
use sync_protocol::{ClientPayload, Feature, JoinPayload};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Credentials;
use crate::admission::Place;
use crate::metric_names::{REFUSALS, UPGRADES};
use crate::state::Gateway;
use crate::upgrade::admit;

/// Admits native clients to a gateway.
pub(crate) struct NativeClients(pub(crate) Arc<Gateway>);

impl Callers for NativeClients {
    fn admit(&self, headers: &HeaderMap) -> Result<Arc<dyn Caller>, JoinError> {
        let gateway = self.0.clone();
        let admitted = admit(&gateway, headers);
        let outcome = admitted
            .as_ref()
            .map_or_else(|p| p.code.as_str(), |_| "accepted");
        counter!(UPGRADES, "outcome" => outcome).increment(1);
        let place = admitted.map_err(|problem| JoinError {
            code: problem.code,
            message: problem.detail,
        })?;
        let session = gateway.state.ids.session();
        tracing::debug!(%session, "a native client's stream is open");
        Ok(Arc::new(NativeClient {
            session,
            credentials: Credentials::of(headers),
            _open: gateway.state.sockets.token(),
            _place: place,
            gateway,
        }))
    }
}

/// One native client, as long as its stream is open.
struct NativeClient {
    gateway: Arc<Gateway>,
    session: SessionId,
    credentials: Credentials,
    _open: TaskTrackerToken,
    _place: Place,
}

#[async_trait]
impl Caller for NativeClient {
    async fn join(&self, claim: JoinClaim) -> Result<Joined, JoinError> {
        let joined = self.join_as_who_it_is(claim).await;
        if let Err(JoinError { code, message }) = &joined {
            counter!(REFUSALS, "code" => code.as_str(), "place" => "join").increment(1);
            tracing::debug!(session = %self.session, %code, message, "join refused");
        }
        joined
    }

    fn seats_count_max(&self) -> usize {
        DOCUMENTS_PER_SOCKET_MAX
    }
}

impl NativeClient {
    async fn join_as_who_it_is(&self, claim: JoinClaim) -> Result<Joined, JoinError> {
        let payload = ClientPayload::CollabEdit(JoinPayload {
            collabedit: 1,
            device: claim.device.clone(),
            name: String::new(),
            features: vec![Feature::Pulse, Feature::Stamps],
            peer: claim.peer,
            nonce: None,
            token: None,
        });
        let authenticator = &self.gateway.state.authenticator;
        let authenticating = authenticator.authenticate(&self.credentials, &payload);
        let principal = authenticating.await.map_err(|error| JoinError {
            code: error.code,
            message: error.message,
        })?;
        let request = claim.of(principal, self.session.clone());
        self.gateway.join(request).await
    }
}
