//! Replays a recorded editing trace with concurrent clients against a running server, measures it,
//! and compares what everybody has in the end.
//!
//! Each client writes its own share of the trace at its own place in one document. After the last
//! ack these have to be the same: the text and state hash of every client, of the server, and of one
//! document that merged the same updates without any server; and the text that the trace says.
//!
//! A report that was saved can be checked again later, for example after the server was killed and
//! started again.

mod concurrency;
mod error;
mod options;
mod player;
mod recording;
mod report;
mod script;
mod server_state;
mod trace;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use collabedit_sdk::{Committed, Options};
use crdt_document::{CONTENT, CrdtDocument, CrdtError};
use document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX;
use document_types::{Counter, Digest, DocumentId, PeerId, VersionVector};
use futures::future::try_join_all;
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use error::ReplayError;
pub use options::ReplayOptions;
pub use report::{Check, Percentiles, ReplayReport};
pub use server_state::{ServerState, ServerStateError, fetch as fetch_state, get};
pub use trace::{AUTOMERGE_PAPER, Edit, Trace, TraceError};

use player::Player;
use recording::Recording;
use script::Script;

/// Replays a trace as `options` say, or checks an earlier report. `progress` counts the edits.
///
/// # Errors
/// [`ReplayError`] if it could not be carried through. Whether the checks passed is in the report.
pub async fn replay(
    options: &ReplayOptions,
    progress: &ProgressBar,
) -> Result<ReplayReport, ReplayError> {
    let report = match (&options.report, options.verify_only) {
        (Some(path), true) => return verify(options, path).await,
        _ => run(options, progress).await?,
    };
    if let Some(path) = &options.report {
        report.save(path)?;
    }
    Ok(report)
}

async fn run(options: &ReplayOptions, progress: &ProgressBar) -> Result<ReplayReport, ReplayError> {
    let mut trace = Trace::load(&options.trace)?;
    if let Some(count) = options.edits {
        trace = trace.truncated(count);
    }
    let script = Script::new(&trace, options.clients);
    let document = options.document.clone().unwrap_or_else(new_document);
    let players = (0..options.clients)
        .map(|_| Player::join(&options.url, &document))
        .collect::<Result<Vec<_>, _>>()?;
    let mut recorders = JoinSet::new();
    for player in &players {
        recorders.spawn(Recording::of(player.document.subscribe()));
    }
    set_the_scene(&players, &script, &document).await?;

    progress.set_length(trace.edits.len() as u64);
    // All of them before anybody's first edit, which would move what the positions are about.
    let starts = players
        .iter()
        .zip(&script.parts)
        .map(|(player, part)| player.document.mark(part.position))
        .collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let playing = players.iter().zip(&script.parts).zip(&starts);
    try_join_all(playing.map(|((player, part), start)| {
        player.play(
            &trace.edits[part.edits.clone()],
            start,
            options.rate,
            progress,
        )
    }))
    .await?;
    let elapsed_seconds = began.elapsed().as_secs_f64();
    progress.finish();

    let mut everything = VersionVector::new();
    for player in &players {
        everything.merge(&player.document.version()?);
    }
    try_join_all(players.iter().map(|player| {
        player.wait_until("convergence", |document| {
            Ok(document.version()? == everything)
        })
    }))
    .await?;
    let replicas = players
        .iter()
        .map(Replica::of_player)
        .collect::<Result<Vec<_>, _>>()?;
    let server = Replica::of_server(&options.url, &document).await?;

    // A recorder ends when its document is closed.
    drop((starts, players));
    let mut recordings = Vec::new();
    while let Some(recording) = recorders.join_next().await {
        recordings.push(recording??);
    }
    let mut commits: Vec<&Committed> = recordings
        .iter()
        .flat_map(|recording| &recording.commits)
        .collect();
    commits.sort_by_key(|commit| commit.committed_at);
    let merged = Replica::of_document(&merge(&commits)?)?;

    let ours = &replicas[0];
    #[allow(clippy::cast_precision_loss)] // A trace has far fewer than 2^52 edits.
    let edits = trace.edits.len() as f64;
    Ok(ReplayReport {
        document,
        trace: options.trace.clone(),
        clients: options.clients,
        edits: trace.edits.len(),
        elapsed_seconds,
        edits_per_second: edits / elapsed_seconds.max(f64::MIN_POSITIVE),
        updates: commits.len(),
        concurrent_updates: concurrency::concurrent_count(&commits),
        refused_batches: recordings
            .iter()
            .map(|recording| recording.refused_count)
            .sum(),
        pulsed: recordings.iter().any(|recording| recording.pulsed),
        ack_latency: recording::ack_latency(&recordings),
        propagation: recording::propagation(&recordings),
        text_characters: ours.text.chars().count(),
        text_digest: Digest::of(ours.text.as_bytes()).to_string(),
        state_hash: ours.state_hash.clone(),
        checks: vec![
            Check::new(
                "all clients have the same document",
                replicas.iter().all(|r| r == ours),
            ),
            Check::new("the server has the same document", server == *ours),
            Check::new(
                "one document that merged the same updates is the same",
                merged == *ours,
            ),
            Check::new(
                if options.clients == 1 {
                    "the text is the trace's own end text"
                } else {
                    "each part's text is the trace's at the end of its share"
                },
                ours.text == script.end,
            ),
        ],
    })
}

/// Checks that a document still is what an earlier report says, in a fresh client and at the server.
async fn verify(options: &ReplayOptions, path: &Path) -> Result<ReplayReport, ReplayError> {
    let mut report = ReplayReport::load(path)?;
    let player = Player::join(&options.url, &report.document)?;
    player.wait_caught_up().await?;
    let fresh = Replica::of_player(&player)?;
    let server = Replica::of_server(&options.url, &report.document).await?;
    let as_reported = |replica: &Replica| {
        Digest::of(replica.text.as_bytes()).to_string() == report.text_digest
            && replica.state_hash == report.state_hash
    };
    report.checks = vec![
        Check::new(
            "a fresh client has the document of the report",
            as_reported(&fresh),
        ),
        Check::new(
            "the server has the document of the report",
            as_reported(&server),
        ),
        Check::new(
            "both know the same operations",
            fresh.version == server.version,
        ),
    ];
    Ok(report)
}

/// Puts the text in place that the clients begin with, and waits until all have it.
async fn set_the_scene(
    players: &[Player],
    script: &Script,
    document: &DocumentId,
) -> Result<(), ReplayError> {
    try_join_all(players.iter().map(Player::wait_caught_up)).await?;
    let [first, ..] = players else { return Ok(()) };
    if !first.document.version()?.is_empty() {
        return Err(ReplayError::NotEmpty {
            document: document.clone(),
        });
    }
    if !script.start.is_empty() {
        first.document.insert(0, &script.start)?;
        player::within("the first ack", first.document.wait_acknowledged()).await??;
    }
    try_join_all(players.iter().map(|player| {
        player.wait_until("the arrival of the first text", |document| {
            Ok(document.text()? == script.start)
        })
    }))
    .await?;
    Ok(())
}

/// One document that imports `commits` in an order in which each comes after what it builds on.
fn merge(commits: &[&Committed]) -> Result<CrdtDocument, CrdtError> {
    let document = CrdtDocument::new(PeerId(0))?;
    let mut step: Vec<&Bytes> = Vec::new();
    let mut step_bytes = 0;
    for update in commits.iter().flat_map(|commit| &commit.updates) {
        if step_bytes + update.len() > INSERTED_TEXT_PER_IMPORT_BYTES_MAX && !step.is_empty() {
            document.import_batch(&step)?;
            step.clear();
            step_bytes = 0;
        }
        step_bytes += update.len();
        step.push(update);
    }
    if !step.is_empty() {
        document.import_batch(&step)?;
    }
    Ok(document)
}

/// What one holder of the document has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replica {
    text: String,
    state_hash: String,
    version: BTreeMap<String, Counter>,
}

impl Replica {
    fn of_player(player: &Player) -> Result<Self, ReplayError> {
        Ok(Self {
            text: player.document.text()?,
            state_hash: player.document.state_hash()?.to_string(),
            version: ends(&player.document.version()?),
        })
    }

    fn of_document(document: &CrdtDocument) -> Result<Self, CrdtError> {
        Ok(Self {
            text: document.text_in(CONTENT)?,
            state_hash: document.state_hash()?.to_string(),
            version: ends(&document.version()?),
        })
    }

    async fn of_server(url: &str, document: &DocumentId) -> Result<Self, ReplayError> {
        let state = server_state::fetch(url, document).await?;
        Ok(Self {
            text: state.text,
            state_hash: state.state_hash,
            version: state.version,
        })
    }
}

fn ends(version: &VersionVector) -> BTreeMap<String, Counter> {
    version
        .iter()
        .map(|(peer, end)| (peer.to_string(), end))
        .collect()
}

fn new_document() -> DocumentId {
    let Options { clock, random, .. } = Options::new("");
    clock::IdSource::new(clock, random).document()
}
