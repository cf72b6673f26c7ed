//! One edit is one trace, or none, and costs its author nothing either way.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use anyhow::Context;
use server_process::{ServerProcess, real_binary};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trace_collector::Collector;
use trace_tests::{SECRET, one_whole_trace, open, traced};

#[tokio::test]
async fn one_edit_is_one_trace_down_to_the_commit() -> anyhow::Result<()> {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir()?;
    let settings = traced(&collector.url());
    let server = ServerProcess::start(&real_binary()?, folder.path(), &settings).await?;
    let (_client, document) = open(&server.url()).await?;
    document.insert(0, SECRET)?;
    document.wait_acknowledged().await?;
    let spans = one_whole_trace(&collector).await;

    assert_eq!(spans["batch"].attributes["collabedit.document"], "notes");
    assert_eq!(spans["append"].attributes["collabedit.offset"], "0");
    let correlation_id = &spans["batch"].attributes["collabedit.correlation_id"];
    let at_the_gate = &spans["gate"].attributes["collabedit.correlation_id"];
    assert_eq!(correlation_id, at_the_gate);
    // What the client saw began before the server saw anything of it.
    assert!(spans["key press"].start_ns <= spans["batch"].start_ns);
    for part in ["gate", "append"] {
        assert!(spans["batch"].start_ns <= spans[part].start_ns, "{part}");
    }
    let services: Vec<_> = ["key press", "batch", "append", "commit"]
        .iter()
        .map(|name| spans[*name].service.as_str())
        .collect();
    let expected = ["client", "gateway", "collaboration", "merger"];
    assert_eq!(services, expected.map(|name| format!("collabedit-{name}")));
    Ok(())
}

#[tokio::test]
async fn an_edit_that_is_not_sampled_is_not_traced() -> anyhow::Result<()> {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir()?;
    let mut settings = traced(&collector.url());
    settings.push("--set=telemetry.otlp.sampling_ratio=0".to_owned());
    let mut server = ServerProcess::start(&real_binary()?, folder.path(), &settings).await?;
    let (client, document) = open(&server.url()).await?;
    document.insert(0, SECRET)?;
    document.wait_acknowledged().await?;
    drop((document, client));
    // In the end it exports whatever it has.
    server.stop().await?;
    assert_eq!(collector.spans(), []);
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_costs_nobody_an_edit() -> anyhow::Result<()> {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        listener.local_addr()?
    };
    let folder = tempfile::tempdir()?;
    let settings = traced(&format!("http://{nobody}"));
    let server = ServerProcess::start(&real_binary()?, folder.path(), &settings).await?;
    let (_client, document) = open(&server.url()).await?;
    // The second is exported, or rather is not, after the first was not.
    for count in [8, 16] {
        document.insert(0, SECRET)?;
        document.wait_acknowledged().await?;
        let mut dropped = 0;
        while dropped < count {
            dropped = undelivered(&server).await?;
        }
    }
    let log = std::fs::read_to_string(folder.path().join("server.log"))?;
    let warnings = log.matches("spans don't reach the collector").count();
    assert_eq!(warnings, 1, "{log}");
    Ok(())
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_nobody_an_edit_nor_the_end() -> anyhow::Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let folder = tempfile::tempdir()?;
    let settings = traced(&format!("http://{}", silent.local_addr()?));
    let mut server = ServerProcess::start(&real_binary()?, folder.path(), &settings).await?;
    let (client, document) = open(&server.url()).await?;
    document.insert(0, SECRET)?;
    document.wait_acknowledged().await?;
    let _connection = silent.accept().await?;
    document.insert(0, SECRET)?;
    document.wait_acknowledged().await?;
    drop((document, client));
    server.stop().await?;
    let log = std::fs::read_to_string(folder.path().join("server.log"))?;
    assert!(log.contains("the last spans were not taken"), "{log}");
    assert!(!log.contains("abandoned a phase"), "{log}");
    Ok(())
}

/// Spans that did not reach the collector, as the server counts them.
async fn undelivered(server: &ServerProcess) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(server.address()).await?;
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        server.address()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let of_collector = "collabedit_traces_spans_total{outcome=\"undelivered\"} ";
    let Some((_, rest)) = response.split_once(of_collector) else {
        return Ok(0);
    };
    let count = rest.lines().next().context("a count")?;
    Ok(count.parse()?)
}
