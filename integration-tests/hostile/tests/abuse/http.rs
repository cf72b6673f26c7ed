//! Before anything is a socket.

use std::net::SocketAddr;

use anyhow::ensure;
use document_types::limits::CONNECTIONS_PER_SECOND_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::door::{ask, say};

const UPGRADE: &str = "GET /v1/sync HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

pub async fn a_head_that_never_ends(server: SocketAddr) -> anyhow::Result<()> {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {server}\r\n{}",
        "X-A: aaaaaaaaaaaaaaa\r\n".repeat(10_000)
    );
    let answer = say(server, head.as_bytes()).await?;
    ensure!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    Ok(())
}

pub async fn a_head_that_never_comes(server: SocketAddr) -> anyhow::Result<()> {
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let answer = say(server, begun.as_bytes()).await?;
        ensure!(!answer.starts_with("HTTP/1.1 200"), "it was answered");
    }
    Ok(())
}

pub async fn a_foreign_page(server: SocketAddr) -> anyhow::Result<()> {
    let page = "Origin: https://evil.example";
    let status = ask(server, &format!("{UPGRADE}\r\nHost: {server}\r\n{page}")).await?;
    ensure!(status == "403", "{status}");
    Ok(())
}

/// As after a name of theirs was made to lead here.
pub async fn a_foreign_name(server: SocketAddr) -> anyhow::Result<()> {
    let headers = "Host: evil.example\r\nOrigin: http://evil.example";
    let status = ask(server, &format!("{UPGRADE}\r\n{headers}")).await?;
    ensure!(status == "421", "{status}");
    Ok(())
}

/// Everybody at once, far beyond what is taken in a second.
pub async fn a_storm_of_connections(server: SocketAddr) -> anyhow::Result<()> {
    let mut storm = JoinSet::new();
    for _ in 0..2 * CONNECTIONS_PER_SECOND_MAX {
        storm.spawn(async move {
            let mut stream = TcpStream::connect(server).await?;
            let request = format!("{UPGRADE}\r\nHost: {server}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = vec![0; 512];
            let length = stream.read(&mut answer).await?;
            answer.truncate(length);
            anyhow::Ok(String::from_utf8_lossy(&answer).to_lowercase())
        });
    }
    let (mut taken, mut sent_away) = (0, 0);
    while let Some(answer) = storm.join_next().await {
        let answer = answer??;
        if answer.starts_with("http/1.1 101") {
            taken += 1;
        } else {
            ensure!(
                answer.starts_with("http/1.1 503") && answer.contains("retry-after:"),
                "{answer}"
            );
            sent_away += 1;
        }
    }
    ensure!(taken > 0, "nobody was let in");
    println!("of a storm {taken} were taken and {sent_away} sent away");
    Ok(())
}

pub async fn an_upload_without_bounds(server: SocketAddr) -> anyhow::Result<()> {
    let head = format!(
        "POST /v1/documents/abused/attachments?name=x HTTP/1.1\r\nHost: {server}\r\n\
         Connection: close\r\nContent-Length: 1000000000000"
    );
    let status = ask(server, &head).await?;
    ensure!(status == "413", "{status}");
    Ok(())
}
