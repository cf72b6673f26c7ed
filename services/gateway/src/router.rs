use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use service_api::grpc::client_routes;

use crate::native_clients::NativeClients;
use crate::state::{Gateway, GatewayState};
use crate::{attachments, document_text, upgrade};

/// The gateway's routes:
///
/// | route | what |
/// |---|---|
/// | `GET /v1/sync` | a WebSocket, see [`sync_protocol`] |
/// | `GET /v1/documents/{id}/text` | a document's text as it stands |
/// | `POST /v1/documents/{id}/attachments?name=…` | stores an image or a file |
/// | `GET /v1/documents/{id}/attachments/{attachment}/{name}` | gives it |
/// | `GET /new` | to a new document in the editor |
/// | `POST /collabedit.v1.CollaborationService/Connect` | gRPC, for native clients |
pub fn router(state: GatewayState) -> Router {
    let gateway = Arc::new(Gateway::new(state));
    let (streams, drain) = (gateway.state.sockets.clone(), gateway.state.drain.clone());
    let native = client_routes(Arc::new(NativeClients(gateway.clone())), streams, drain);
    Router::new()
        .route("/v1/sync", get(upgrade::upgrade))
        .route("/v1/documents/{id}/text", get(document_text::text))
        .route("/v1/documents/{id}/attachments", post(attachments::upload))
        .route(
            "/v1/documents/{id}/attachments/{attachment}/{name}",
            get(attachments::download),
        )
        .route("/new", get(document_text::new_document))
        .with_state(gateway)
        .merge(native.into_axum_router().reset_fallback())
}
