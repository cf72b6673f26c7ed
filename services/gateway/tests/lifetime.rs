//! How sockets begin and end: admission, origins, deadlines, draining; and the routes beside them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod support;

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use document_types::limits::{FIRST_JOIN_WAIT_MAX, SOCKET_SILENCE_MAX};
use gateway::{GatewayLimits, OriginPolicy};
use support::{Client, Heard, Served, join_payload, subscription};
use sync_protocol::{Magic, ServerText};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, http};

/// Tries to open a socket and says how that was refused.
async fn refused(request: impl IntoClientRequest + Unpin) -> http::Response<Option<Vec<u8>>> {
    match connect_async(request).await {
        Err(tungstenite::Error::Http(response)) => *response,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn with_origin(served: &Served, origin: &str) -> http::Request<()> {
    let mut request = served.url().into_client_request().unwrap();
    request
        .headers_mut()
        .insert("origin", origin.parse().unwrap());
    request
}

/// A plain HTTP/1.1 exchange: status line, headers and body as they came.
async fn get(served: &Served, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn foreign_pages_are_refused_before_the_upgrade() {
    let served = Served::start().await;
    let response = refused(with_origin(&served, "https://evil.example")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    connect_async(with_origin(&served, &format!("http://{}", served.address)))
        .await
        .unwrap();

    let exact = OriginPolicy::Exact(["https://edit.example".to_owned()].into());
    let served = Served::with(|state| state.origins = exact).await;
    connect_async(with_origin(&served, "https://edit.example"))
        .await
        .unwrap();
    let response = refused(with_origin(&served, &format!("http://{}", served.address))).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_full_gateway_says_when_to_come_back() {
    let limits = GatewayLimits {
        connections_count_max: 1,
        ..GatewayLimits::default()
    };
    let served = Served::with(|state| state.limits = limits).await;
    let _held = served.connect().await;
    let response = refused(served.url()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "10");
    let problem: serde_json::Value =
        serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
    assert_eq!(
        (&problem["code"], &problem["advice"]),
        (&"overloaded".into(), &"retry".into())
    );
}

#[tokio::test]
async fn draining_tells_our_clients_then_closes_all() {
    let served = Served::start().await;
    let notes = subscription(Magic::Loro, "notes");
    let (mut ours, mut stock) = (served.connect().await, served.connect().await);
    ours.join(&notes, join_payload("dev_a")).await;
    stock.join(&notes, Bytes::new()).await;
    served.drain.cancel();
    assert!(matches!(
        ours.text().await,
        ServerText::Draining {
            reconnect_within_ms: 2_000
        }
    ));
    assert_eq!(ours.hear().await, Heard::Closed(1012));
    assert_eq!(stock.hear().await, Heard::Closed(1012));
    let response = refused(served.url()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop((ours, stock));
    served.sockets.close();
    served.sockets.wait().await;
    served
        .rooms
        .room("notes")
        .until(|log| log.leaves == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_joins_nothing_is_closed() {
    let served = Served::start().await;
    let opened = tokio::time::Instant::now();
    let mut client = served.connect().await;
    assert_eq!(client.hear().await, Heard::Closed(4408));
    assert!(opened.elapsed() >= FIRST_JOIN_WAIT_MAX);
}

#[tokio::test]
async fn a_silent_socket_leaves_its_rooms() {
    let served = Served::start().await;
    let notes = subscription(Magic::Loro, "notes");
    let mut silent = served.connect().await;
    silent.join(&notes, Bytes::new()).await;
    // From here on nothing is read, so that not even the pings are answered.
    tokio::time::pause();
    let silent_since = tokio::time::Instant::now();
    served
        .rooms
        .room("notes")
        .until(|log| log.leaves == 1)
        .await;
    assert!(silent_since.elapsed() + Duration::from_secs(1) >= SOCKET_SILENCE_MAX);
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_its_rooms() {
    let served = Served::start().await;
    let notes = subscription(Magic::Loro, "notes");
    let mut client: Client = served.connect().await;
    client.join(&notes, Bytes::new()).await;
    drop(client);
    served
        .rooms
        .room("notes")
        .until(|log| log.leaves == 1)
        .await;
}

#[tokio::test]
async fn the_text_of_a_document_is_served_with_its_version() {
    let served = Served::start().await;
    served.rooms.room("notes").put("grüße");
    let plain = get(&served, "/v1/documents/notes/text", "").await;
    let (head, body) = plain.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "grüße");
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.split_once(": ").filter(|(of, _)| *of == name))
            .map(|(_, value)| value.to_owned())
            .unwrap_or_else(|| panic!("no {name} in {head}"))
    };
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    let ends: std::collections::BTreeMap<String, u32> =
        serde_json::from_str(&header("x-document-version")).unwrap();
    assert_eq!(ends.into_values().collect::<Vec<_>>(), [5]);
    assert_eq!(header("etag"), format!("\"{}\"", header("x-state-hash")));

    let known = format!("if-none-match: {}\r\n", header("etag"));
    let unchanged = get(&served, "/v1/documents/notes/text", &known).await;
    assert!(unchanged.starts_with("HTTP/1.1 304"), "{unchanged}");

    let json = get(
        &served,
        "/v1/documents/notes/text",
        "accept: application/json\r\n",
    )
    .await;
    let json: serde_json::Value =
        serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["text"], "grüße");
    assert_eq!(json["document"], "notes");
    assert_eq!(json["state_hash"], header("x-state-hash"));
    assert!(json["frontiers"][0].as_str().unwrap().starts_with("4@"));
}

#[tokio::test]
async fn an_unknown_document_is_a_problem_with_a_code() {
    let served = Served::start().await;
    let missing = get(&served, "/v1/documents/missing/text", "").await;
    let (head, body) = missing.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert!(head.contains("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&problem["code"], &problem["advice"]),
        (&"not_found".into(), &"fix".into())
    );
}

#[tokio::test]
async fn new_leads_to_a_document_of_its_own() {
    let served = Served::start().await;
    let mut places = Vec::new();
    for _ in 0..2 {
        let response = get(&served, "/new", "").await;
        assert!(response.starts_with("HTTP/1.1 303"), "{response}");
        let place = response
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .unwrap();
        assert!(place.starts_with("/d/doc_"));
        places.push(place.to_owned());
    }
    assert_ne!(places[0], places[1]);
}
