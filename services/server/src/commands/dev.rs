//! All roles in one process, on one machine.

use std::io::Write;

use anyhow::{Context, anyhow};
use crdt_document::quiet_guarded_panics;
use service_runtime::{PanicWatch, Signals, raise_file_descriptor_limit, telemetry};

use crate::{Components, Settings, start};

/// Runs all roles in this process until it is asked to stop.
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(settings, &panics));
    // What still runs was given its time.
    runtime.shutdown_background();
    result
}

async fn serve(settings: &Settings, panics: &PanicWatch) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let components = Components::of_this_machine(settings).await?;
    let node = start(settings, components).await?;
    let address = node.editor_address();
    tokio::select! {
        biased;
        () = node.ready() => announce(&address),
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

/// Says on the standard output where the editor is: for people, and for programs that started this
/// one and wait for the line.
fn announce(address: &str) {
    let mut output = std::io::stdout().lock();
    if let Err(error) = writeln!(output, "Editor: {address}").and_then(|()| output.flush()) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "nobody reads the address"
        );
    }
}
