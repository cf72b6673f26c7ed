use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use blob_store::{BlobError, BlobId, BlobReader};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use document_types::Digest;
use document_types::limits::ATTACHMENT_SILENCE_MAX;
use futures::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::label::Label;
use super::{not_found, problem};
use crate::metric_names::ATTACHMENT_BYTES;
use crate::problem::Problem;
use crate::request::DocumentRequest;
use crate::state::Gateway;

/// The content's digest (RFC 9530).
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
/// Pictures, which browsers show and which can't do anything. Whatever else people attach is saved and
/// not opened: a page or a script of theirs would act as one of this server's.
const SHOWN: [&str; 5] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
];

#[derive(Deserialize)]
pub(crate) struct AttachmentPath {
    id: String,
    attachment: String,
}

/// `GET /v1/documents/{id}/attachments/{attachment}/{name}`: an attachment of this document.
///
/// Its last piece is held back until all of it has proven to be what was stored, so a damaged one never
/// arrives whole.
pub(crate) async fn download(
    State(gateway): State<Arc<Gateway>>,
    Path(path): Path<AttachmentPath>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = DocumentRequest::of(&gateway, &path.id, &headers).await?;
    let id = blob_id(&path.attachment).ok_or_else(not_found)?;
    let place = gateway.attachments.download_place()?;
    let blobs = gateway.attachments.blobs()?;
    let failed = |error: BlobError| problem(&error);
    let mut reader = blobs.read(id).await.map_err(failed)?;
    let first = reader.next().await.map_err(failed)?.unwrap_or_default();
    let (label, label_bytes) = Label::read(&first).ok_or_else(not_found)?;
    if label.document != request.document {
        return Err(not_found());
    }
    let about = about(id, &label).ok_or_else(not_found)?;
    let tag = format!("\"{id}\"");
    let is_known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|known| known.as_bytes() == tag.as_bytes());
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let length = [(
        header::CONTENT_LENGTH,
        (reader.length() - label_bytes).to_string(),
    )];
    if method == Method::HEAD {
        return Ok((about, length).into_response());
    }
    let (pieces, taken) = mpsc::channel(1);
    let giving = Giving {
        reader,
        held_back: first.slice(label_bytes..),
        pieces,
        _place: place,
    };
    let stop = gateway.state.drain.clone();
    gateway.state.sockets.spawn(giving.run(stop));
    let body = stream::unfold(taken, async |mut taken| {
        taken.recv().await.map(|piece| (piece, taken))
    });
    Ok((about, length, Body::from_stream(body)).into_response())
}

fn blob_id(text: &str) -> Option<BlobId> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
    Digest::from_slice(&bytes).map(BlobId)
}

/// What the client is told of an attachment; `None` if its label is damaged.
fn about(id: BlobId, label: &Label) -> Option<[(HeaderName, String); 8]> {
    let sha256 = HEXLOWER.decode(label.sha256.as_bytes()).ok()?;
    let shown = SHOWN.into_iter().find(|shown| *shown == label.media_type);
    let disposition = if shown.is_some() {
        "inline"
    } else {
        "attachment"
    };
    // RFC 8187, the one way that holds any name.
    let name = utf8_percent_encode(&label.name, NON_ALPHANUMERIC);
    Some([
        (
            header::CONTENT_TYPE,
            shown.unwrap_or("application/octet-stream").to_owned(),
        ),
        (
            header::CONTENT_DISPOSITION,
            format!("{disposition}; filename*=UTF-8''{name}"),
        ),
        (REPR_DIGEST, format!("sha-256=:{}:", BASE64.encode(&sha256))),
        (header::ETAG, format!("\"{id}\"")),
        // It can't change. Who may read the document has it, and nobody in between keeps it.
        (
            header::CACHE_CONTROL,
            "private, max-age=31536000, immutable".to_owned(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox".to_owned(),
        ),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin".to_owned()),
    ])
}

/// An attachment on its way out, one piece ahead of what the client has.
struct Giving {
    reader: BlobReader,
    held_back: Bytes,
    pieces: mpsc::Sender<Result<Bytes, Cut>>,
    _place: OwnedSemaphorePermit,
}

/// The connection is cut before the end, so that the client knows that it has not got all.
#[derive(Debug, thiserror::Error)]
#[error("the attachment ends here, before its end")]
struct Cut;

impl Giving {
    async fn run(mut self, stop: CancellationToken) {
        let is_whole = stop.run_until_cancelled(self.give()).await == Some(true);
        if !is_whole {
            // Nobody may be listening any more.
            let _ = self.pieces.try_send(Err(Cut));
        }
    }

    /// Whether all of it was given.
    async fn give(&mut self) -> bool {
        loop {
            let next = match self.reader.next().await {
                Ok(next) => next,
                Err(error) => {
                    // It has been logged, and the client has no ears for a reason any more.
                    problem(&error);
                    return false;
                }
            };
            let is_last = next.is_none();
            let piece = std::mem::replace(&mut self.held_back, next.unwrap_or_default());
            let length = piece.len() as u64;
            let sending = self.pieces.send(Ok(piece));
            if !matches!(timeout(ATTACHMENT_SILENCE_MAX, sending).await, Ok(Ok(()))) {
                return false;
            }
            metrics::counter!(ATTACHMENT_BYTES, "direction" => "out").increment(length);
            if is_last {
                return true;
            }
        }
    }
}
