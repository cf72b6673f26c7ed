use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use document_types::ErrorCode;
use document_types::limits::{
    DRAIN_RECONNECT_WITHIN, FRAME_BYTES_MAX, SOCKET_READ_BUFFER_BYTES, SOCKET_WRITE_BUFFER_BYTES,
    SOCKET_WRITE_BUFFER_BYTES_MAX,
};
use metrics::counter;
use tracing::Instrument;

use crate::Credentials;
use crate::metric_names::UPGRADES;
use crate::problem::Problem;
use crate::socket;
use crate::state::Gateway;

/// `GET /v1/sync`: opens a socket, unless the gateway drains, the page is foreign, or there are too
/// many. No compression: it would cost 64 KiB and more a connection, and leak by its lengths.
pub(crate) async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let place = match admit(&gateway, &headers) {
        Ok(place) => place,
        Err(problem) => {
            counter!(UPGRADES, "outcome" => problem.code.as_str()).increment(1);
            return problem.into_response();
        }
    };
    counter!(UPGRADES, "outcome" => "accepted").increment(1);
    let session = gateway.state.ids.session();
    let credentials = Credentials::of(&headers);
    let open = gateway.state.sockets.token();
    let span = tracing::info_span!("session", %session);
    upgrade
        .read_buffer_size(SOCKET_READ_BUFFER_BYTES)
        .write_buffer_size(SOCKET_WRITE_BUFFER_BYTES)
        .max_write_buffer_size(SOCKET_WRITE_BUFFER_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .on_upgrade(move |stream| {
            let serving = socket::serve(gateway, stream, session, credentials);
            async move {
                serving.await;
                drop((place, open));
            }
            .instrument(span)
        })
}

/// Takes a place for a client that came with `headers`, unless it may not have one.
pub(crate) fn admit(
    gateway: &Gateway,
    headers: &HeaderMap,
) -> Result<crate::admission::Place, Problem> {
    if gateway.state.drain.is_cancelled() {
        let mut problem = Problem::new(ErrorCode::Draining, "this gateway is shutting down");
        problem.retry_after = Some(DRAIN_RECONNECT_WITHIN);
        return Err(problem);
    }
    if !gateway.state.origins.allows(headers) {
        let detail = "pages of this origin may not connect";
        return Err(Problem::new(ErrorCode::PermissionDenied, detail));
    }
    gateway.admission.admit().map_err(|refused| {
        let mut problem = Problem::new(ErrorCode::Overloaded, "too many connections");
        problem.retry_after = Some(refused.retry_after);
        problem
    })
}
