//! The load tool against the real server, as people run it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use benchmarks::crowd::{Recording, Scenario};
use crdt_document::CrdtDocument;
use document_types::{DocumentId, PeerId};
use serde_json::Value;
use server_process::{ServerProcess, real_binary};
use tokio::process::Command;

/// A replica that has imported what was recorded.
fn replica(recording: &Recording) -> anyhow::Result<CrdtDocument> {
    let replica = CrdtDocument::new(PeerId(1))?;
    replica.import(recording.opening())?;
    for update in recording.updates() {
        replica.import(&update.bytes)?;
    }
    Ok(replica)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_crowd_comes_through_and_leaves_what_was_recorded() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = ServerProcess::start(&real_binary()?, folder.path(), &[]).await?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/small.toml");
    let figures = folder.path().join("figures.json");
    let crowd = Command::new(env!("CARGO_BIN_EXE_crowd"))
        .arg("--server")
        .arg(server.url())
        .arg("--server-pid")
        .arg(server.process_id().to_string())
        .arg("--scenario")
        .arg(&path)
        .arg("--json")
        .arg(&figures)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&crowd.stdout);
    let complained = String::from_utf8_lossy(&crowd.stderr);
    ensure!(crowd.status.success(), "{said}\n{complained}");

    let scenario = Scenario::read(&path)?;
    let recording = Recording::make(&scenario)?;
    let updates = recording.updates().len() as u64 * u64::from(scenario.documents);
    let others = u64::from(scenario.people_per_document) - 1;
    let figures: Value = serde_json::from_slice(&std::fs::read(&figures)?)?;
    for (figure, expected) in [
        ("/planned", updates),
        ("/offered", updates),
        ("/acknowledged", updates),
        ("/ack/count", updates),
        ("/seen/count", updates * others),
        ("/server/ack/count", updates),
    ] {
        let measured = figures.pointer(figure).and_then(Value::as_u64);
        ensure!(
            measured == Some(expected),
            "{figure} is {measured:?}, not {expected}: {figures:#}"
        );
    }
    for figure in [
        "/beat/count",
        "/server/delivery/count",
        "/server/processes/resident_max_bytes",
    ] {
        let measured = figures.pointer(figure).and_then(Value::as_u64);
        ensure!(measured > Some(0), "{figure} is {measured:?}: {figures:#}");
    }

    let metrics = replay::get(&server.url(), "/metrics").await?;
    let metrics = std::str::from_utf8(&metrics)?;
    let refused = metrics.lines().find(|line| {
        line.starts_with("collabedit_collaboration_updates_refused_total")
            || line.starts_with("collabedit_collaboration_updates_void_total")
    });
    ensure!(refused.is_none(), "{refused:?}");

    let replica = replica(&recording)?;
    let documents = figures["documents"].as_array().context("documents")?;
    ensure!(documents.len() == scenario.documents as usize);
    for document in documents {
        let document = DocumentId::parse(document.as_str().context("a document's id")?)?;
        let state = replay::fetch_state(&server.url(), &document).await?;
        ensure!(
            state.state_hash == replica.state_hash()?.to_string(),
            "{document}"
        );
        ensure!(state.text == recording.text(), "{document}");
    }
    server.check_unharmed()
}
