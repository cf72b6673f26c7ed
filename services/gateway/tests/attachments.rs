//! Attachments: whose they are, who gets them, and what happens where the blob store or a client fails.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blob_store::{BlobSettings, BlobStore};
use bytes::Bytes;
use document_types::limits::{ATTACHMENT_BYTES_MAX, ATTACHMENT_UPLOADS_BYTES_MAX};
use document_types::{DocumentId, Permission, Principal};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use service_api::{Permissions, PermissionsUnavailable};
use support::Served;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const UPLOAD: &str = "/v1/documents/doc_1/attachments?name=";

/// A gateway that keeps attachments in a folder.
async fn served_over(folder: &Path) -> Served {
    let folder = BlobSettings::Directory {
        path: folder.to_owned(),
    };
    let blobs = BlobStore::at(&folder).await.unwrap();
    Served::with(|state| state.blobs = Some(blobs)).await
}

/// Sends a request on a connection of its own. The task is the connection.
async fn send<B>(served: &Served, request: Request<B>) -> (Response<Incoming>, JoinSet<()>)
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        // What goes wrong with it, its user is told.
        let _ = connection.await;
    });
    (requests.send_request(request).await.unwrap(), task)
}

fn request(method: Method, address: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(address)
        .header(header::HOST, "localhost")
}

async fn upload(
    served: &Served,
    address: &str,
    media_type: &str,
    content: &Bytes,
) -> (StatusCode, Value) {
    let request = request(Method::POST, address)
        .header(header::CONTENT_TYPE, media_type)
        .body(Full::new(content.clone()))
        .unwrap();
    let (response, _connection) = send(served, request).await;
    answer(response).await
}

async fn answer(response: Response<Incoming>) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn download(served: &Served, address: &str) -> (hyper::http::response::Parts, Option<Bytes>) {
    let request = request(Method::GET, address)
        .body(Full::<Bytes>::default())
        .unwrap();
    let (response, _connection) = send(served, request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.ok();
    (parts, body.map(http_body_util::Collected::to_bytes))
}

fn content(bytes: usize) -> Bytes {
    (0..bytes)
        .map(|i| u8::try_from(i % 251).unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_with_its_name_and_digest() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_over(folder.path()).await;
    // Larger than a piece of a blob.
    let content = content(20_000_000);
    let address = format!("{UPLOAD}caf%C3%A9%20%5B1%5D.bin");
    let (status, stored) = upload(&served, &address, "application/x-thing", &content).await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    assert_eq!(stored["name"], "café [1].bin");
    assert_eq!(stored["length_bytes"], 20_000_000);
    // Sending it again after a lost answer stores nothing new.
    let (_, again) = upload(&served, &address, "application/x-thing", &content).await;
    assert_eq!(again, stored);

    let (parts, body) = download(&served, stored["address"].as_str().unwrap()).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert!(body.unwrap() == content, "it comes back as it was");
    let header = |name: &str| parts.headers[name].to_str().unwrap();
    assert_eq!(header("content-length"), "20000000");
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(
        header("content-disposition"),
        "attachment; filename*=UTF-8''caf%C3%A9%20%5B1%5D%2Ebin"
    );
    let digest = header("repr-digest").strip_prefix("sha-256=:").unwrap();
    let digest = data_encoding::BASE64
        .decode(digest.strip_suffix(':').unwrap().as_bytes())
        .unwrap();
    assert_eq!(stored["sha256"], data_encoding::HEXLOWER.encode(&digest));
}

#[tokio::test]
async fn pictures_are_shown_and_pages_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_over(folder.path()).await;
    let page = Bytes::from_static(b"<script>alert(1)</script>");
    for (name, media_type, shown) in [
        ("cat.png", "image/png", Some("image/png")),
        ("page.html", "text/html", None),
        ("picture.svg", "image/svg+xml", None),
    ] {
        let address = format!("{UPLOAD}{name}");
        let (_, stored) = upload(&served, &address, media_type, &page).await;
        assert_eq!(stored["media_type"], media_type);
        let (parts, _) = download(&served, stored["address"].as_str().unwrap()).await;
        let header = |name: &str| parts.headers[name].to_str().unwrap();
        let expected = shown.unwrap_or("application/octet-stream");
        assert_eq!(header("content-type"), expected);
        let way = if shown.is_some() {
            "inline"
        } else {
            "attachment"
        };
        assert!(header("content-disposition").starts_with(way));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(
            header("content-security-policy"),
            "default-src 'none'; sandbox"
        );
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
    }
}

#[tokio::test]
async fn nobody_reads_a_file_through_another_document() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_over(folder.path()).await;
    let (_, stored) = upload(
        &served,
        &format!("{UPLOAD}a.txt"),
        "text/plain",
        &content(9),
    )
    .await;
    let address = stored["address"].as_str().unwrap();
    let (parts, _) = download(&served, &address.replace("doc_1", "doc_2")).await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
    // Nor is what lies in the blob store without being an attachment one.
    let blobs = served.blobs.clone().unwrap();
    let other = blobs.put(Bytes::from_static(b"a snapshot")).await.unwrap();
    let id = stored["id"].as_str().unwrap();
    let (parts, _) = download(&served, &address.replace(id, &other.to_string())).await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
    let (parts, _) = download(&served, &address.replace(id, "nonsense")).await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_too_large_or_has_no_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_over(folder.path()).await;
    let announced = request(Method::POST, &format!("{UPLOAD}a"))
        .header(header::CONTENT_LENGTH, ATTACHMENT_BYTES_MAX + 1)
        .body(silent())
        .unwrap();
    let (response, _connection) = send(&served, announced).await;
    let (status, problem) = answer(response).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(problem["code"], "too_large");
    for name in ["", "..", "a%2Fb", "a%0Ab", &"a".repeat(256)] {
        let address = format!("{UPLOAD}{name}");
        let (status, problem) = upload(&served, &address, "text/plain", &content(9)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}: {problem}");
    }
}

/// A body that is announced and does not come.
fn silent() -> impl hyper::body::Body<Data = Bytes, Error = std::io::Error> + Send {
    StreamBody::new(futures::stream::pending::<
        Result<Frame<Bytes>, std::io::Error>,
    >())
}

#[tokio::test]
async fn uploads_have_room_for_so_many_bytes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_over(folder.path()).await;
    let mut waiting = Vec::new();
    for _ in 0..ATTACHMENT_UPLOADS_BYTES_MAX / ATTACHMENT_BYTES_MAX {
        let request = request(Method::POST, &format!("{UPLOAD}a"))
            .header(header::CONTENT_LENGTH, ATTACHMENT_BYTES_MAX)
            .body(silent())
            .unwrap();
        let mut sending = Box::pin(send(&served, request));
        let taken = tokio::time::timeout(Duration::from_millis(200), &mut sending).await;
        assert!(taken.is_err(), "it waits for the content");
        waiting.push(sending);
    }
    let request = request(Method::POST, &format!("{UPLOAD}b"))
        .body(Full::new(content(9)))
        .unwrap();
    let (response, _connection) = send(&served, request).await;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let (status, problem) = answer(response).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem["code"], "overloaded");
    // Whoever goes away makes room.
    drop(waiting);
    loop {
        let (status, _) = upload(&served, &format!("{UPLOAD}b"), "text/plain", &content(9)).await;
        if status == StatusCode::CREATED {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be_and_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (here, away) = (folder.path().join("blobs"), folder.path().join("away"));
    let served = served_over(&here).await;
    let address = format!("{UPLOAD}a.txt");
    let (_, stored) = upload(&served, &address, "text/plain", &content(9)).await;
    std::fs::rename(&here, &away).unwrap();
    let (status, problem) = upload(&served, &address, "text/plain", &content(99)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["code"], "unavailable");
    assert_eq!(problem["advice"], "retry");
    std::fs::rename(&away, &here).unwrap();
    let (status, problem) = upload(&served, &address, "text/plain", &content(99)).await;
    assert_eq!(status, StatusCode::CREATED, "{problem}");
    let (_, body) = download(&served, stored["address"].as_str().unwrap()).await;
    assert_eq!(body.unwrap(), content(9));
}

#[tokio::test]
async fn a_damaged_file_never_arrives_whole() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_over(folder.path()).await;
    let address = format!("{UPLOAD}a.bin");
    let (_, stored) = upload(&served, &address, "text/plain", &content(10_000_000)).await;
    let file = folder.path().join(stored["id"].as_str().unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[9_000_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (parts, body) = download(&served, stored["address"].as_str().unwrap()).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert!(body.is_none(), "the connection is cut before the end");
}

/// Everybody may read.
struct EveryoneReads;

#[async_trait]
impl Permissions for EveryoneReads {
    async fn permission(
        &self,
        _principal: &Principal,
        _document: &DocumentId,
    ) -> Result<Option<Permission>, PermissionsUnavailable> {
        Ok(Some(Permission::Read))
    }
}

#[tokio::test]
async fn who_may_not_write_attaches_nothing_and_reads_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let writers = served_over(folder.path()).await;
    let address = format!("{UPLOAD}a.txt");
    let (_, stored) = upload(&writers, &address, "text/plain", &content(9)).await;
    let blobs = writers.blobs.clone();
    let readers = Served::with(|state| {
        state.blobs = blobs;
        state.permissions = Arc::new(EveryoneReads);
    })
    .await;
    let (status, problem) = upload(&readers, &address, "text/plain", &content(9)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(problem["code"], "permission_denied");
    let (_, body) = download(&readers, stored["address"].as_str().unwrap()).await;
    assert_eq!(body.unwrap(), content(9));
}

#[tokio::test]
async fn pages_of_other_origins_attach_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_over(folder.path()).await;
    let request = request(Method::POST, &format!("{UPLOAD}a.txt"))
        .header(header::ORIGIN, "https://evil.example")
        .body(Full::new(content(9)))
        .unwrap();
    let (response, _connection) = send(&served, request).await;
    assert_eq!(answer(response).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_server_without_a_place_for_them_says_what_to_set() {
    let served = Served::start().await;
    let address = format!("{UPLOAD}a.txt");
    let (status, problem) = upload(&served, &address, "text/plain", &content(9)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("blobs.address")
    );
}
