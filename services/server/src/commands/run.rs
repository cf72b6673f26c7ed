//! A node in this process: all roles on one machine (`dev`), or some of a deployment (`serve`).

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use crdt_document::quiet_guarded_panics;
use document_store::OrderedKv;
use service_runtime::{PanicWatch, Signals, raise_file_descriptor_limit, telemetry};

use crate::{Components, RunningNode, Settings, SharedStores, start};

/// Runs a node in this process until it is asked to stop.
///
/// # Errors
/// If the node can't start, or a part of it failed while it ran.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    telemetry::install(&settings.telemetry.filter, settings.telemetry.format)?;
    match raise_file_descriptor_limit() {
        Ok(limit) => tracing::info!(limit, "files and sockets that may be open"),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "limit unchanged"),
    }
    let panics = PanicWatch::install();
    // The engine's panics are caught; any other one ends the process.
    quiet_guarded_panics();
    SharedStores::run(|stores| {
        let shared_store = stores.open(&settings.store.foundationdb)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let result = runtime.block_on(serve(settings, shared_store, &panics));
        // What still runs was given its time.
        runtime.shutdown_background();
        result
    })?
}

async fn serve(
    settings: &Settings,
    shared_store: Option<Arc<dyn OrderedKv>>,
    panics: &PanicWatch,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let components = Components::of_this_machine(settings, shared_store).await?;
    let node = start(settings, components).await?;
    tokio::select! {
        biased;
        () = node.ready() => announce(&node),
        signal = signals.next() => {
            tracing::info!(signal, "asked to stop before it was ready");
            node.shutdown().await;
            return Ok(());
        }
        failure = node.failed() => return Err(failure).context("the node failed as it started"),
    }

    let outcome = tokio::select! {
        biased;
        failure = node.failed() => Err(failure).context("the node failed"),
        panic = panics.panicked() => Err(anyhow!("a part of the node panicked: {panic}")),
        signal = signals.next() => {
            tracing::info!(signal, "draining; a second signal ends it at once");
            Ok(())
        }
    };
    tokio::select! {
        biased;
        signal = signals.next() => tracing::warn!(signal, "ended at once"),
        report = node.shutdown() => tracing::info!(abandoned = ?report.abandoned, "drained"),
    }
    outcome
}

/// Says on the standard output where the node is: for people, and for programs that started this one
/// and wait for the last line.
fn announce(node: &RunningNode) {
    let mut text = String::new();
    if let Some(url) = node.services_url() {
        text += &format!("Services: {url}\n");
    }
    text += &match node.editor_url() {
        Some(url) => format!("Editor: {url}\n"),
        None => format!("Health: {}\n", node.readiness_url()),
    };
    let mut output = std::io::stdout().lock();
    if let Err(error) = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "nobody reads the addresses"
        );
    }
}
