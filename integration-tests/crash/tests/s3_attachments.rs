//! Attachments in a real S3 server that is killed. `cargo xtask test --only s3` runs it.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use collabedit_sdk::{Client, DocumentId, Options};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use server_process::{ServerProcess, real_binary};
use test_parts::{parts, variable};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The setting of a server whose attachments are below `prefix` in the bucket.
fn below(prefix: &str) -> [String; 1] {
    let endpoint = variable("COLLABEDIT_TEST_S3");
    let bucket = variable("COLLABEDIT_TEST_S3_BUCKET");
    let place = format!("s3://{bucket}/{prefix}?endpoint={endpoint}&allow_http=true");
    [format!("--set=blobs.address={place}")]
}

async fn start(folder: &Path, settings: &[String]) -> ServerProcess {
    let binary = real_binary().unwrap();
    let starting = ServerProcess::start(&binary, folder, settings);
    starting.await.unwrap()
}

async fn ask(
    server: SocketAddr,
    method: Method,
    path: &str,
    content: Bytes,
) -> (StatusCode, Bytes) {
    let stream = TcpStream::connect(server).await.unwrap();
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move { connection.await.unwrap() });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, server.to_string())
        .header(header::CONTENT_TYPE, "application/x-thing")
        .body(Full::new(content))
        .unwrap();
    let response = requests.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, body)
}

async fn attach(server: SocketAddr, name: &str, content: &Bytes) -> (StatusCode, Value) {
    let path = format!("/v1/documents/doc_1/attachments?name={name}");
    let (status, body) = ask(server, Method::POST, &path, content.clone()).await;
    (status, serde_json::from_slice(&body).unwrap())
}

async fn assert_has(server: SocketAddr, attached: &Value, content: &Bytes) {
    let path = attached["address"].as_str().unwrap();
    let (status, body) = ask(server, Method::GET, path, Bytes::new()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body == content, "it is what was attached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs S3: cargo xtask test --only s3"]
async fn attachments_wait_for_a_server_that_is_away_and_editing_does_not() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // Unlike that of every other run.
    let prefix = folders[0].path().file_name().unwrap().to_str().unwrap();
    let settings = below(prefix.trim_start_matches('.'));
    let mut here = start(folders[0].path(), &settings).await;
    let there = start(folders[1].path(), &settings).await;
    let large: Bytes = (0..20_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let small = Bytes::from_static(b"small");

    let (status, attached) = attach(here.address(), "large.bin", &large).await;
    assert_eq!(status, StatusCode::CREATED, "{attached}");
    assert_has(there.address(), &attached, &large).await;

    parts(&["kill", "s3"]).await;
    let (status, problem) = attach(here.address(), "small.txt", &small).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(problem["code"], "unavailable");
    assert_eq!(problem["advice"], "retry");
    // It can be started without, too.
    here.kill().await.unwrap();
    here.restart(&settings).await.unwrap();
    let client = Client::connect(Options::new(here.url())).unwrap();
    let document = client.open(&DocumentId::parse("doc_1").unwrap()).unwrap();
    document.wait_caught_up().await.unwrap();
    document.insert(0, "written meanwhile").unwrap();
    document.wait_acknowledged().await.unwrap();

    parts(&["up", "s3"]).await;
    let (status, again) = attach(here.address(), "small.txt", &small).await;
    assert_eq!(status, StatusCode::CREATED, "{again}");
    assert_has(there.address(), &again, &small).await;
    assert_has(here.address(), &attached, &large).await;
}
