use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use blob_store::BlobId;
use document_types::limits::{
    ATTACHMENT_BYTES_MAX, ATTACHMENT_MEDIA_TYPE_BYTES_MAX, ATTACHMENT_NAME_BYTES_MAX,
    ATTACHMENT_SILENCE_MAX, ATTACHMENT_UPLOAD_TIME_MAX,
};
use document_types::{DocumentId, ErrorCode, Permission};
use futures::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::label::{Label, LabelledContent};
use super::problem;
use crate::metric_names::{ATTACHMENT_BYTES, ATTACHMENTS};
use crate::problem::Problem;
use crate::request::DocumentRequest;
use crate::state::Gateway;

/// Nobody has to say more of a file.
const ANY_MEDIA_TYPE: &str = "application/octet-stream";

#[derive(Deserialize)]
pub(crate) struct UploadQuery {
    name: String,
}

/// `POST /v1/documents/{id}/attachments?name=…`: stores the body as an attachment of the document, and says
/// where it is. Sending the same again stores nothing new and is answered alike.
pub(crate) async fn upload(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let outcome = store(&gateway, &id, query.name, &headers, body).await;
    let (label, response) = match outcome {
        Ok(stored) => ("stored", stored),
        Err(problem) => (problem.code.as_str(), problem.into_response()),
    };
    metrics::counter!(ATTACHMENTS, "outcome" => label).increment(1);
    response
}

async fn store(
    gateway: &Gateway,
    id: &str,
    name: String,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !gateway.state.origins.allows(headers) {
        let detail = "pages of this origin may not attach anything";
        return Err(Problem::new(ErrorCode::PermissionDenied, detail));
    }
    let request = DocumentRequest::of(gateway, id, headers).await?;
    if request.permission != Permission::Write {
        let detail = "you may read this document, and not attach anything to it";
        return Err(Problem::new(ErrorCode::PermissionDenied, detail));
    }
    let blobs = gateway.attachments.blobs()?;
    let label = Label {
        sha256: String::new(),
        document: request.document,
        name: checked_name(name)?,
        media_type: media_type(headers),
        user: request.principal.user,
        device: request.principal.device,
    };
    let announced = announced_bytes(headers)?;
    let room = announced.unwrap_or(ATTACHMENT_BYTES_MAX);
    let _room = gateway.attachments.room_for(room)?;
    let (label, length, blob) = receive(body, label, room).await?;
    let id = blobs.put(blob).await.map_err(|error| problem(&error))?;
    metrics::counter!(ATTACHMENT_BYTES, "direction" => "in").increment(length as u64);
    Ok(answer(id, &label, length))
}

/// Takes the body in, at most `room` bytes of it.
async fn receive(
    body: Body,
    label: Label,
    room: usize,
) -> Result<(Label, usize, bytes::Bytes), Problem> {
    let internal = |error: serde_json::Error| Problem::new(ErrorCode::Internal, error.to_string());
    let mut content = LabelledContent::begin(label, room).map_err(internal)?;
    let mut digest = Sha256::new();
    let receiving = async {
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = timeout(ATTACHMENT_SILENCE_MAX, chunks.next())
            .await
            .map_err(|_| too_slow())?
        {
            let chunk = chunk.map_err(|error| {
                let detail = format!("the attachment did not arrive whole: {error}");
                Problem::new(ErrorCode::ProtocolViolation, detail)
            })?;
            if content.content_bytes() + chunk.len() > room {
                return Err(too_large());
            }
            digest.update(&chunk);
            content.extend(&chunk);
        }
        Ok(())
    };
    timeout(ATTACHMENT_UPLOAD_TIME_MAX, receiving)
        .await
        .map_err(|_| too_slow())??;
    let length = content.content_bytes();
    let (label, blob) = content
        .finish(&digest.finalize().into())
        .map_err(internal)?;
    Ok((label, length, blob))
}

fn answer(id: BlobId, label: &Label, length: usize) -> Response {
    let address = address(&label.document, id, &label.name);
    let about = json!({
        "id": id.to_string(),
        "name": label.name,
        "media_type": label.media_type,
        "length_bytes": length,
        "sha256": label.sha256,
        "address": address,
    });
    let location = [(header::LOCATION, address)];
    (StatusCode::CREATED, location, Json(about)).into_response()
}

/// Where the attachment is, for this server's pages. The name at its end is for people.
fn address(document: &DocumentId, id: BlobId, name: &str) -> String {
    let encode = |text| utf8_percent_encode(text, PATH_SEGMENT);
    let document = encode(document.as_str());
    let name = encode(name);
    format!("/v1/documents/{document}/attachments/{id}/{name}")
}

/// All but what RFC 3986 leaves unreserved, so that Markdown has nothing to escape either.
const PATH_SEGMENT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name that a file can have anywhere.
fn checked_name(name: String) -> Result<String, Problem> {
    let is_name = !name.is_empty()
        && name.len() <= ATTACHMENT_NAME_BYTES_MAX
        && name != "."
        && name != ".."
        && !name
            .chars()
            .any(|character| character.is_control() || matches!(character, '/' | '\\'));
    if is_name {
        return Ok(name);
    }
    let detail = format!(
        "`name` has to be a file's name of 1 to {ATTACHMENT_NAME_BYTES_MAX} bytes, without slashes and control characters"
    );
    Err(Problem::new(ErrorCode::ProtocolViolation, detail))
}

fn media_type(headers: &HeaderMap) -> String {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.len() <= ATTACHMENT_MEDIA_TYPE_BYTES_MAX && text.contains('/'))
        .unwrap_or(ANY_MEDIA_TYPE)
        .to_owned()
}

/// How long the body will be, if the client says so.
fn announced_bytes(headers: &HeaderMap) -> Result<Option<usize>, Problem> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let announced = value.to_str().ok().and_then(|text| text.parse().ok());
    let length = announced.filter(|length| *length <= ATTACHMENT_BYTES_MAX);
    length.map(Some).ok_or_else(too_large)
}

fn too_large() -> Problem {
    let detail = format!(
        "an attachment has {} MiB at most",
        ATTACHMENT_BYTES_MAX / (1024 * 1024)
    );
    Problem::new(ErrorCode::TooLarge, detail)
}

fn too_slow() -> Problem {
    let detail = "the attachment took too long to arrive; try again on a better connection";
    Problem::new(ErrorCode::FragmentTimeout, detail)
}
