//! Connections that have joined a document and say nothing: how much of a server's memory one takes.

#![allow(clippy::disallowed_methods)] // A benchmark measures real time, and its tasks end with it.

use std::time::Duration;

use anyhow::{Context, ensure};
use benchmarks::{ProcessMemory, WireClient};
use clap::Parser;
use collabedit_sdk::{DeviceId, DocumentId};
use sync_protocol::Magic;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

/// Measures how much of a running server's memory an idle connection takes.
///
/// Each connection is a WebSocket that has joined one document, which is new and empty, as one of our
/// own clients would. What the server's process has in memory with all of them, once it has settled,
/// less what it had before, is shared out among them: a document's room counts as well.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  idle --process \"$(pgrep -f 'collabedit dev')\"       two on each of 1,000 documents
  idle --process 4711 --presence                      the same, with the documents' presence joined
  idle --process 4711 --seconds 120                   after several pings

Start a new server for each measurement: memory that a process has given up is used again, and would
not be counted.")]
struct Arguments {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8787")]
    url: String,
    /// The server's process id; it has to be a process of this machine.
    #[arg(long)]
    process: u32,
    /// Connections.
    #[arg(long, default_value_t = 2_000)]
    connections: u32,
    /// Documents that they share.
    #[arg(long, default_value_t = 1_000)]
    documents: u32,
    /// Join each document's presence as well.
    #[arg(long)]
    presence: bool,
    /// New connections a second; a gateway takes no more than 500.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// How long they are idle before the memory is read.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(
        arguments.connections > 0 && arguments.documents > 0 && arguments.rate > 0,
        "there has to be a connection, a document and a rate"
    );
    let open_files = rlimit::increase_nofile_limit(u64::MAX)?;
    ensure!(
        open_files > u64::from(arguments.connections),
        "this process may open {open_files} files; raise the limit with `ulimit -n`"
    );
    let before = ProcessMemory::of(arguments.process)?;
    let mut idling = connect_all(&arguments).await?;
    let waited = sleep(Duration::from_secs(arguments.seconds));
    tokio::select! {
        lost = idling.join_next() => {
            lost.context("there is a connection")???;
        }
        () = waited => {}
    }
    let after = ProcessMemory::of(arguments.process)?;
    report(&arguments, before, after);
    Ok(())
}

/// Opens the connections one after the other, and leaves each idling in a task of its own.
async fn connect_all(arguments: &Arguments) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut idling = JoinSet::new();
    let mut beat = interval(Duration::from_secs(1) / arguments.rate);
    let started = Instant::now();
    let run = std::process::id();
    for connection in 0..arguments.connections {
        beat.tick().await;
        let document = connection % arguments.documents;
        let document = DocumentId::parse(&format!("idle-{run}-{document}"))?;
        let device = DeviceId::parse(&format!("dev_{run}_{connection}"))?;
        let mut client = WireClient::connect(&arguments.url, device)
            .await
            .with_context(|| format!("opening connection {connection}"))?;
        client.join(Magic::Loro, &document).await?;
        if arguments.presence {
            client.join(Magic::Ephemeral, &document).await?;
        }
        idling.spawn(async move { client.idle().await });
    }
    println!("connected in {:.1} s", started.elapsed().as_secs_f64());
    Ok(idling)
}

fn report(arguments: &Arguments, before: ProcessMemory, after: ProcessMemory) {
    println!(
        "{} connections on {} documents{}, idle for {} s",
        arguments.connections,
        arguments.documents,
        if arguments.presence {
            " and their presence"
        } else {
            ""
        },
        arguments.seconds
    );
    for (name, before, after) in [
        ("resident ", before.resident, after.resident),
        ("allocated", before.anonymous, after.anonymous),
    ] {
        println!(
            "{name} {:.1} MiB before, {:.1} MiB with them: {:.2} KiB each",
            mebibytes(before),
            mebibytes(after),
            (kibibytes(after) - kibibytes(before)) / f64::from(arguments.connections)
        );
    }
}

#[allow(clippy::cast_precision_loss)] // A process has far less than 2^52 bytes.
fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

fn mebibytes(bytes: u64) -> f64 {
    kibibytes(bytes) / 1024.0
}
