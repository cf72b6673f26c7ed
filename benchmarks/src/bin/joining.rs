//! Fresh clients that open a document with a history: how long until they have it, and how many bytes
//! that takes.

#![allow(clippy::disallowed_methods)] // A benchmark measures real time, and its tasks end with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use benchmarks::{ByteCount, Latencies, WireClient};
use bytes::Bytes;
use clap::Parser;
use collabedit_sdk::{Client, DeviceId, DocumentId, Options, VersionVector};
use loro::{ExportMode, LoroDoc};
use sync_protocol::Magic;

/// Measures how long fresh clients take to have a document of a running server, history included.
///
/// Each join is a new client of the Rust SDK with an empty replica. Its time is that from opening the
/// connection to the moment at which all that the server had is in the replica; its bytes are those
/// that its socket received.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  collabedit replay automerge-paper --clients 1 --document paper && joining --document paper
  joining --peers 20000             a new document, to which that many peers have written a word each
  joining --document big --joins 100")]
struct Arguments {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8787")]
    url: String,
    /// The document; a new one if none is given.
    #[arg(long)]
    document: Option<String>,
    /// Peers that write a word each to the document before it is joined, one after the other.
    #[arg(long, default_value_t = 0)]
    peers: u32,
    /// Clients that join, one after the other.
    #[arg(long, default_value_t = 10)]
    joins: u32,
}

/// Peers whose words go out together.
const PEERS_PER_BATCH: u32 = 250;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let name = arguments
        .document
        .clone()
        .unwrap_or_else(|| format!("joining-{}", std::process::id()));
    let document = DocumentId::parse(&name)?;
    if arguments.peers > 0 {
        write_as_peers(&arguments.url, &document, arguments.peers).await?;
    }
    let logged = logged(&arguments.url, &document).await?;
    let (mut times, mut bytes) = (Latencies::new(), Vec::new());
    for _ in 0..arguments.joins {
        let joined = join(&arguments.url, &document, &logged).await?;
        println!(
            "{:7.1} ms  {:8} bytes  {} characters, {} operations of {} peers",
            joined.took.as_secs_f64() * 1_000.0,
            joined.bytes,
            joined.characters,
            joined.operations,
            joined.peers
        );
        times.record(joined.took);
        bytes.push(joined.bytes);
    }
    println!("{times}");
    bytes.sort_unstable();
    if let (Some(median), Some(max)) = (bytes.get(bytes.len() / 2), bytes.last()) {
        println!("bytes p50 {median}, max {max}");
    }
    Ok(())
}

/// What the server's log holds of the document.
async fn logged(url: &str, document: &DocumentId) -> anyhow::Result<VersionVector> {
    let device = DeviceId::parse(&format!("dev_{}_looks", std::process::id()))?;
    let mut client = WireClient::connect(url, device).await?;
    Ok(client.join(Magic::Loro, document).await?.version)
}

/// One client's way into the document.
struct Joined {
    took: Duration,
    bytes: u64,
    characters: usize,
    operations: usize,
    peers: usize,
}

async fn join(url: &str, document: &DocumentId, logged: &VersionVector) -> anyhow::Result<Joined> {
    let count = ByteCount::default();
    let mut options = Options::new(url);
    options.connector = Arc::new(count.clone());
    let started = Instant::now();
    let client = Client::connect(options)?;
    let opened = client.open(document)?;
    opened.wait_caught_up().await?;
    let took = started.elapsed();
    let bytes = count.received();
    let version = opened.version()?;
    ensure!(
        version.includes(logged),
        "the client says that it has caught up after {took:?} and {bytes} bytes, and has {} of {} peers",
        version.iter().count(),
        logged.iter().count()
    );
    let (operations, is_shallow) = opened.with_doc(|doc| (doc.len_ops(), doc.is_shallow()))?;
    ensure!(!is_shallow, "the document came without its history");
    Ok(Joined {
        took,
        bytes,
        characters: opened.text()?.chars().count(),
        operations,
        peers: version.iter().count(),
    })
}

/// Writes a word to the document under each of `peers` new peer ids. All of them belong to one device,
/// and each builds on those before it.
async fn write_as_peers(url: &str, document: &DocumentId, peers: u32) -> anyhow::Result<()> {
    let device = DeviceId::parse(&format!("dev_{}", std::process::id()))?;
    let mut client = WireClient::connect(url, device).await?;
    client.join(Magic::Loro, document).await?;
    let started = Instant::now();
    let doc = LoroDoc::new();
    let text = doc.get_text("content");
    // The engine gives a new document a random peer id; those after it are as random, spread out so
    // that none is near another.
    let first = doc.peer_id();
    let mut written = 0;
    while written < peers {
        let known = doc.oplog_vv();
        let until = peers.min(written + PEERS_PER_BATCH);
        for peer in written..until {
            let spread = u64::from(peer).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            doc.set_peer_id(first.wrapping_add(spread) & (u64::MAX >> 1))?;
            text.insert(text.len_unicode(), "word ")?;
            doc.commit();
        }
        written = until;
        let update = Bytes::from(doc.export(ExportMode::updates(&known))?);
        client.offer(document, vec![update]).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{peers} peers wrote a word each in {seconds:.1} s");
    Ok(())
}
