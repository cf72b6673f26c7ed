//! The node that `collabedit dev` runs, on disks that lose what was not synced when the process is
//! killed, as a machine does whose power is cut. For tests only.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Parser, Subcommand};
use crash::{HastyDisk, PlantedBug, SlowDisk};
use crdt_document::quiet_guarded_panics;
use disk::{Disk, FaultyDisk, FaultyDiskOptions};
use server::{Components, Disks, Settings};
use service_runtime::{PanicWatch, telemetry};

/// The folder of the operation log in a data directory.
const LOG_FOLDER: &str = "log";
/// How much later the log's disk writes than it answers, with [`PlantedBug::AckBeforeAppend`]: longer
/// than an answer takes to its client, and much longer than a run takes to be over.
const HASTY_DELAY: Duration = Duration::from_millis(100);

/// The chance that some sectors of an unsynced write to the log are there after a kill, and others are
/// not. A kill finds one such write at most, so that each has to be one.
const LOG_TEAR_CHANCE: f64 = 1.0;
/// How long the log's disk takes to sync: about as long as a busy virtual disk.
const SYNC_TIME: Duration = Duration::from_millis(4);

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all roles in this process until it is killed
    Dev(DevArguments),
    /// Try updates that come on the standard input; the node starts this
    DryRunWorker,
}

#[derive(Args)]
struct DevArguments {
    /// The address to serve on; port 0 takes a free one
    #[arg(long)]
    listen: SocketAddr,
    /// The data directory
    #[arg(long)]
    data: PathBuf,
    /// What the disks' choices are drawn from
    #[arg(long)]
    seed: u64,
    /// What is wrong with the node on purpose
    #[arg(long)]
    planted_bug: Option<PlantedBug>,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Dev(arguments) => dev(&arguments),
        Command::DryRunWorker => Ok(dry_run::run_worker(
            std::io::stdin().lock(),
            std::io::stdout().lock(),
        )?),
    }
}

fn dev(arguments: &DevArguments) -> anyhow::Result<()> {
    let settings = Settings {
        listen: arguments.listen,
        data: arguments.data.clone(),
        ..Settings::default()
    };
    telemetry::install(&settings.telemetry.filter, settings.telemetry.format)?;
    let panics = PanicWatch::install();
    quiet_guarded_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(&settings, arguments, &panics))
}

async fn serve(
    settings: &Settings,
    arguments: &DevArguments,
    panics: &PanicWatch,
) -> anyhow::Result<()> {
    let bug = arguments.planted_bug;
    tracing::info!(seed = arguments.seed, ?bug, "this node's disks are lossy");
    let mut components = Components::of_this_machine(settings, None).await?;
    let data_options = FaultyDiskOptions::new(arguments.seed);
    let log_options = FaultyDiskOptions {
        tear_chance: LOG_TEAR_CHANCE,
        ..data_options.clone()
    };
    let data_disk = Arc::new(lossy_disk(&settings.data, data_options, bug)?);
    let log_folder = settings.data.join(LOG_FOLDER);
    let log_disk = Arc::new(lossy_disk(&log_folder, log_options, bug)?);
    let mut log: Arc<dyn Disk> = Arc::new(SlowDisk::new(Arc::clone(&log_disk) as _, SYNC_TIME));
    if bug == Some(PlantedBug::AckBeforeAppend) {
        log = Arc::new(HastyDisk::new(log, HASTY_DELAY)?);
    }
    let data = Arc::clone(&data_disk) as _;
    components.disks = Some(Disks { data, log });
    let node = server::start(settings, components).await?;
    tokio::select! {
        () = node.ready() => {}
        failure = node.failed() => return Err(failure).context("the node failed as it started"),
    }
    if bug == Some(PlantedBug::NoFsync) {
        // Not from the start on: a log without a first segment is refused, and the checker would
        // have nothing to look at.
        data_disk.set_lies_about_syncs(true);
        log_disk.set_lies_about_syncs(true);
    }
    println!("Editor: http://{}/", node.address());
    tokio::select! {
        failure = node.failed() => Err(failure).context("the node failed"),
        panic = panics.panicked() => Err(anyhow!("a part of the node panicked: {panic}")),
    }
}

fn lossy_disk(
    folder: &Path,
    mut options: FaultyDiskOptions,
    bug: Option<PlantedBug>,
) -> anyhow::Result<FaultyDisk> {
    if bug == Some(PlantedBug::NoFsync) {
        // Tearing brings everything to the disk in the end, and would hide what is not synced.
        options.tear_chance = 0.0;
    }
    FaultyDisk::open(folder, options).with_context(|| format!("{} can't be used", folder.display()))
}
