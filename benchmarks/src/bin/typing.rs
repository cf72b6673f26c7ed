//! People typing in one document: how long a keystroke takes to reach the others' text, and what
//! importing costs, minute by minute.

#![allow(clippy::disallowed_methods)] // A benchmark measures real time, and its tasks end with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use benchmarks::{Absentee, Latencies, Reported, Sample, connect_all};
use clap::Parser;
use collabedit_sdk::DocumentId;
use tokio::sync::mpsc;

/// Measures people typing in one document of a running server.
#[derive(Parser)]
struct Arguments {
    /// The server; of several nodes, which share a log, each gets its part of the replicas in turn.
    #[arg(long, default_value = "http://127.0.0.1:8787", value_delimiter = ',')]
    url: Vec<String>,
    /// The document; a new one each time, unless the figures shall include a long history.
    #[arg(long)]
    document: Option<String>,
    /// Replicas that type.
    #[arg(long, default_value_t = 10)]
    writers: usize,
    /// Replicas that only read.
    #[arg(long, default_value_t = 0)]
    readers: usize,
    /// Keystrokes a second of each writer.
    #[arg(long, default_value_t = 5.0)]
    rate: f64,
    /// How long to type.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Bytes of text that the first writer pastes a third of the way through; 0 for none. One more
    /// replica is cut off then, and comes back after another third.
    #[arg(long, default_value_t = 0)]
    paste_bytes: usize,
}

/// Samples that may wait to be counted.
const SAMPLES_COUNT_MAX: usize = 65_536;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(
        arguments.writers > 0 && arguments.rate > 0.0,
        "somebody has to type"
    );
    let name = arguments
        .document
        .clone()
        .unwrap_or_else(|| format!("typing-{}", std::process::id()));
    let document = DocumentId::parse(&name)?;
    let (samples, received) = mpsc::channel(SAMPLES_COUNT_MAX);
    let count = arguments.writers + arguments.readers;
    let replicas = connect_all(&arguments.url, &document, count, &samples).await?;
    drop(samples);
    let mut absentee = match arguments.paste_bytes {
        0 => None,
        _ => Some(Absentee::connect(&arguments.url[0], &document).await?),
    };
    let started = Instant::now();
    let counting = tokio::spawn(count_samples(received, count, started));
    let typing: Vec<_> = replicas
        .iter()
        .take(arguments.writers)
        .enumerate()
        .map(|(writer, replica)| {
            let document = replica.document.clone();
            let period = Duration::from_secs_f64(1.0 / arguments.rate);
            let offset = period.mul_f64(writer_share(writer, arguments.writers));
            let keystrokes = keystrokes(&arguments);
            let paste = if writer == 0 {
                arguments.paste_bytes
            } else {
                0
            };
            tokio::spawn(async move {
                let begin = tokio::time::Instant::now() + offset;
                let mut beat = tokio::time::interval_at(begin, period);
                for keystroke in 0..keystrokes {
                    beat.tick().await;
                    let text = if paste > 0 && keystroke == keystrokes / 3 {
                        "0123456789abcde\n".repeat(paste / 16)
                    } else {
                        String::from("x")
                    };
                    let at = document.len() * (writer + 1) / (writer + 2);
                    document.insert(at, &text)?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    let mut returned = None;
    if let Some(absentee) = &mut absentee {
        let third = Duration::from_secs(arguments.seconds) / 3;
        tokio::time::sleep(third.saturating_sub(Duration::from_secs(1))).await;
        absentee.leave();
        tokio::time::sleep(third).await;
        returned = Some(absentee.come_back(replicas[0].document.len()).await?);
    }
    for writer in typing {
        writer.await??;
    }
    for replica in &replicas {
        replica.document.wait_acknowledged().await?;
    }
    let texts = settle(&replicas).await?;
    drop(replicas);
    let result = counting.await?;
    println!("{texts} characters, the same in {count} replicas");
    print!("{result}");
    if let Some(returned) = returned {
        println!(
            "away during the paste   back after {:.0} ms, imported within {:.0} ms, the longest import {:.1} ms",
            returned.took.as_secs_f64() * 1_000.0,
            returned.imported_within.as_secs_f64() * 1_000.0,
            returned.import_max.as_secs_f64() * 1_000.0,
        );
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // A few writers.
fn writer_share(writer: usize, writers: usize) -> f64 {
    writer as f64 / writers as f64
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn keystrokes(arguments: &Arguments) -> u64 {
    (arguments.seconds as f64 * arguments.rate) as u64
}

/// Waits until all replicas have the same text, and gives its length.
async fn settle(replicas: &[Reported]) -> anyhow::Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let hashes: Result<Vec<_>, _> = replicas
            .iter()
            .map(|replica| replica.document.state_hash())
            .collect();
        let hashes = hashes?;
        if hashes.iter().all(|hash| *hash == hashes[0]) {
            return Ok(replicas[0].document.len());
        }
        ensure!(Instant::now() < deadline, "the replicas did not converge");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One minute's figures.
#[derive(Default)]
struct Minute {
    seen: Latencies,
    acknowledged: Latencies,
    /// Import time for each operation.
    import: Latencies,
    /// Whole imports.
    imports: Latencies,
}

struct Counted {
    whole: Minute,
    minutes: BTreeMap<u64, Minute>,
    unseen: usize,
}

async fn count_samples(
    mut samples: mpsc::Receiver<Sample>,
    replicas: usize,
    started: Instant,
) -> Counted {
    let mut counted = Counted {
        whole: Minute::default(),
        minutes: BTreeMap::new(),
        unseen: 0,
    };
    // Keystrokes by peer and end, and how many replicas have not shown them yet. A replica may tell
    // that it saw one before the writer tells that it made it.
    let mut made: BTreeMap<(u64, u32), Instant> = BTreeMap::new();
    let mut early: Vec<(u64, u32, Instant)> = Vec::new();
    let mut shown: BTreeMap<(usize, u64), u32> = BTreeMap::new();
    let mut open: BTreeMap<(u64, u32), usize> = BTreeMap::new();
    while let Some(sample) = samples.recv().await {
        let minute = started.elapsed().as_secs() / 60;
        let of_minute = counted.minutes.entry(minute).or_default();
        match sample {
            Sample::Committed {
                peer,
                end,
                edited_at,
            } => {
                made.insert((peer, end), edited_at);
                open.insert((peer, end), replicas - 1);
                early.retain(|(seen_peer, seen_end, at)| {
                    let matches = *seen_peer == peer && *seen_end == end;
                    if matches {
                        let latency = at.duration_since(edited_at);
                        counted.whole.seen.record(latency);
                        of_minute.seen.record(latency);
                    }
                    !matches
                });
            }
            Sample::Acknowledged { latency } => {
                counted.whole.acknowledged.record(latency);
                of_minute.acknowledged.record(latency);
            }
            Sample::Imported { took, operations } => {
                counted.whole.imports.record(took);
                of_minute.imports.record(took);
                if operations > 0 {
                    counted.whole.import.record(took / operations);
                    of_minute.import.record(took / operations);
                }
            }
            Sample::Seen {
                replica,
                peer,
                end,
                at,
            } => {
                let before = shown.insert((replica, peer), end).unwrap_or(0);
                let passed: Vec<_> = made
                    .range((peer, before + 1)..=(peer, end))
                    .map(|(key, edited_at)| (*key, *edited_at))
                    .collect();
                if passed.is_empty() {
                    early.push((peer, end, at));
                }
                for (key, edited_at) in passed {
                    let latency = at.duration_since(edited_at);
                    counted.whole.seen.record(latency);
                    of_minute.seen.record(latency);
                    if let Some(left) = open.get_mut(&key) {
                        *left = left.saturating_sub(1);
                        if *left == 0 {
                            open.remove(&key);
                            made.remove(&key);
                        }
                    }
                }
            }
        }
    }
    counted.unseen = early.len();
    counted
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "insert to others' text  {}", self.whole.seen)?;
        writeln!(f, "commit to ack           {}", self.whole.acknowledged)?;
        writeln!(f, "an import               {}", self.whole.imports)?;
        writeln!(f, "an import, an operation {}", self.whole.import)?;
        for (minute, figures) in &self.minutes {
            writeln!(
                f,
                "minute {minute}: text p50 {:.1} p95 {:.1} ms, ack p95 {:.1} ms, import an operation p50 {:.4} ms",
                figures.seen.quantile_ms(0.5),
                figures.seen.quantile_ms(0.95),
                figures.acknowledged.quantile_ms(0.95),
                figures.import.quantile_ms(0.5),
            )?;
        }
        Ok(())
    }
}
