//! Replaying an editing trace against a running server.

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use replay::{ReplayOptions, replay};
use service_runtime::telemetry;

use crate::Settings;

/// Replays the trace, shows how far it is, and prints the report.
///
/// # Errors
/// If the replay could not be carried through, or a check of it failed.
pub fn run(settings: &Settings, options: &ReplayOptions) -> anyhow::Result<()> {
    telemetry::install(&settings.telemetry.filter, settings.telemetry.format)?;
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} edits, {per_sec}, {eta} left")?;
    let progress = ProgressBar::new(0).with_style(style);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(replay(options, &progress))?;
    progress.finish_and_clear();
    println!("{report}");
    if !report.passed() {
        bail!("the replay's checks did not all pass");
    }
    Ok(())
}
