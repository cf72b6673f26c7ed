//! A crowd of people who type in the same documents: how long their updates take, and what the server
//! needs for them.

use std::path::PathBuf;

use anyhow::{Context, bail};
use benchmarks::crowd::{Scenario, Target, run};
use clap::Parser;

/// Lets a crowd type into documents of a running server, and measures both.
///
/// Each person is a light client that plays updates which were recorded before, in each of which its
/// author had seen what the others had written. It sends one when the server's frames have brought all
/// that the update builds on, and on the room's beat, as our editor does.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  crowd --scenario benchmarks/scenarios/field-usual.toml
        50 people in one document, 10 updates a second each, 30 s
  crowd --scenario SCENARIO --server-pid \"$(pgrep -o collabedit)\" --json figures.json
        with the server's CPU and memory, its worker processes' too

A scenario is a TOML file:
  documents = 1                # each new, with people of its own
  people_per_document = 50     # those who write
  readers_per_document = 0     # those who only read; 0 unless it is given
  cursors_per_second = 0       # how often each of both moves the cursor; 0 unless it is given
  flooders_per_document = 0    # of the readers, those who move theirs 1,000 times a second; 0 unless it is given
  updates_per_second = 10      # of each; an update is a character
  seconds = 30                 # how long they write
  ramp_up_seconds = 2          # over how long they come in before; 0 unless it is given

How to read the table:
  failures             updates that were sent and not acknowledged; the last lines say why
  sent to seen         at every other client, all of them; on the pulse it holds up to a beat of waiting
  sent later than due  what the rate lost to a server that beats slower than the rounds, or was late
  server, ms           from its receipt of a batch, as its histograms say: about, and between which bounds
  gate µs, CPU µs      processor time for an update, medians over the seconds of a minute: the gate's dry
                       runs, and all that the server's processes do

It ends with an error if anything failed, or if the server's documents are not what was recorded.")]
struct Arguments {
    /// The servers, as `http://host:port`; people come in at them in turn.
    #[arg(long, default_value = "http://127.0.0.1:8787", value_delimiter = ',')]
    server: Vec<String>,
    /// Process ids of the servers, on this machine, whose CPU and memory are measured, with all that they
    /// have started.
    #[arg(long, value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// What the crowd does; benchmarks/scenarios has some.
    #[arg(long)]
    scenario: PathBuf,
    /// A file for the figures, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scenario = Scenario::read(&arguments.scenario)?;
    let target = Target {
        urls: arguments.server,
        processes: arguments.server_pid,
    };
    let report = run(&target, &scenario).await?;
    print!("{report}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if !report.failures.is_empty() {
        bail!("the crowd did not come through");
    }
    Ok(())
}
