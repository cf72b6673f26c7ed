use axum::http::HeaderMap;
use document_types::{DocumentId, ErrorCode, Permission, Principal};
use sync_protocol::ClientPayload;

use crate::Credentials;
use crate::problem::Problem;
use crate::state::Gateway;

/// A request for a document over HTTP, from somebody who may read it.
pub(crate) struct DocumentRequest {
    pub(crate) document: DocumentId,
    pub(crate) principal: Principal,
    pub(crate) permission: Permission,
}

impl DocumentRequest {
    /// Finds out who asks with these headers for the document that the address names.
    pub(crate) async fn of(
        gateway: &Gateway,
        document: &str,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let document = DocumentId::parse(document)
            .map_err(|error| Problem::new(ErrorCode::NotFound, error.to_string()))?;
        let principal = gateway
            .state
            .authenticator
            .authenticate(&Credentials::of(headers), &ClientPayload::Stock)
            .await
            .map_err(|error| Problem::new(error.code, error.message))?;
        let permission = gateway
            .permission(&principal, &document)
            .await
            .map_err(|refusal| Problem::new(refusal.code, refusal.message))?;
        Ok(Self {
            document,
            principal,
            permission,
        })
    }
}
