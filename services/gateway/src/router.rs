use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::state::{Gateway, GatewayState};
use crate::{document_text, upgrade};

/// The gateway's routes:
///
/// | route | what |
/// |---|---|
/// | `GET /v1/sync` | a WebSocket, see [`sync_protocol`] |
/// | `GET /v1/documents/{id}/text` | a document's text as it stands |
/// | `GET /new` | to a new document in the editor |
pub fn router(state: GatewayState) -> Router {
    Router::new()
        .route("/v1/sync", get(upgrade::upgrade))
        .route("/v1/documents/{id}/text", get(document_text::text))
        .route("/new", get(document_text::new_document))
        .with_state(Arc::new(Gateway::new(state)))
}
