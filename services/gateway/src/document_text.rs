use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use document_types::{Counter, DocumentId, OpId, VersionVector};
use serde_json::json;
use service_api::CurrentState;

use crate::problem::Problem;
use crate::request::DocumentRequest;
use crate::state::Gateway;

/// The version vector as a JSON object from peer ids to ends.
const DOCUMENT_VERSION: HeaderName = HeaderName::from_static("x-document-version");
/// The state hash: equal for the same set of operations, in every replica.
const STATE_HASH: HeaderName = HeaderName::from_static("x-state-hash");

/// `GET /v1/documents/{id}/text`: the text with everything that was acknowledged before, as plain
/// text, or with its version as JSON for who accepts that. The state hash is the entity tag.
pub(crate) async fn text(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let DocumentRequest { document, .. } = DocumentRequest::of(&gateway, &id, &headers).await?;
    let state = gateway
        .state
        .history
        .current(&document)
        .await
        .map_err(|error| Problem::new(error.code, error.message))?;
    let tag = format!("\"{}\"", state.state_hash);
    let names = |name: HeaderName, wanted: &str| {
        headers.get_all(name).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|part| part.trim() == wanted))
        })
    };
    let about = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::VARY, header::ACCEPT.to_string()),
    ];
    Ok(if names(header::IF_NONE_MATCH, &tag) {
        (StatusCode::NOT_MODIFIED, about).into_response()
    } else if names(header::ACCEPT, "application/json") {
        (about, Json(as_json(&document, &state))).into_response()
    } else {
        let version = json!(ends(&state.version)).to_string();
        let hash = state.state_hash.to_string();
        let described = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
            (DOCUMENT_VERSION, version),
            (STATE_HASH, hash),
        ];
        (about, described, state.text).into_response()
    })
}

/// `GET /new`: sends the browser to the editor with a document id that nobody can guess. The
/// document is there from its first operation on.
pub(crate) async fn new_document(State(gateway): State<Arc<Gateway>>) -> Redirect {
    Redirect::to(&format!("/d/{}", gateway.state.ids.document()))
}

fn as_json(document: &DocumentId, state: &CurrentState) -> serde_json::Value {
    json!({
        "document": document,
        "text": state.text,
        "version": ends(&state.version),
        "frontiers": state.frontiers.iter().map(OpId::to_string).collect::<Vec<_>>(),
        "state_hash": state.state_hash.to_string(),
    })
}

/// Peer ids as text, since JSON numbers lose their last bits in JavaScript.
fn ends(version: &VersionVector) -> BTreeMap<String, Counter> {
    version
        .iter()
        .map(|(peer, end)| (peer.to_string(), end))
        .collect()
}
