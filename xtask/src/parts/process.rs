//! Processes that outlive the command that started them, and are known again by a later one.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Server;
use super::place::Place;
use crate::command::{command, output};

const READY_TIME_MAX: Duration = Duration::from_secs(120);
const STOP_TIME_MAX: Duration = Duration::from_secs(20);
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

fn id_file(place: &Place) -> PathBuf {
    place.folder.join("pid")
}

/// What the part prints.
pub fn log(place: &Place) -> PathBuf {
    place.folder.join("out.log")
}

/// The process of the part, if it runs. A process is the part's only if its command line names the
/// part's folder: ids are used again, and what we did not start we don't stop.
pub fn running(place: &Place) -> Option<u32> {
    let id = fs::read_to_string(id_file(place))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let words = output(command(
        "ps",
        &["-ww", "-o", "args=", "-p", &format!("{id}")],
    ))?;
    words
        .contains(&place.folder.display().to_string())
        .then_some(id)
}

/// Starts the part and waits until it says that it is ready.
///
/// # Errors
/// With the end of what it printed, if it ends or takes too long; then it does not run.
pub fn start(place: &Place, server: Server) -> anyhow::Result<()> {
    let Server {
        mut command,
        ready_text,
    } = server;
    let name = place.name;
    let printed = File::create(log(place)).context("the part's log can't be written")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(printed.try_clone()?)
        .stderr(printed)
        // A Ctrl-C in this terminal is not meant for it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("{name} did not start"))?;
    fs::write(id_file(place), child.id().to_string())?;

    let started = Instant::now();
    let mut progress = PROGRESS_INTERVAL;
    println!("{name}: starting");
    loop {
        let said = fs::read_to_string(log(place)).unwrap_or_default();
        if said.contains(ready_text) {
            println!(
                "{name}: ready after {:.1} s",
                started.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        let problem = match child.try_wait()? {
            Some(status) => format!("ended with {status}"),
            None if started.elapsed() > READY_TIME_MAX => {
                stop(place)?;
                format!("was not ready within {} s", READY_TIME_MAX.as_secs())
            }
            None => {
                if started.elapsed() > progress {
                    println!("{name}: starting, {} s", progress.as_secs());
                    progress += PROGRESS_INTERVAL;
                }
                sleep(CHECK_INTERVAL);
                continue;
            }
        };
        let lines: Vec<_> = said.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n    ");
        bail!(
            "{name} {problem}; {} ends with\n    {end}",
            log(place).display()
        );
    }
}

/// Asks the part to end and waits for it; kills it when it takes too long.
pub fn stop(place: &Place) -> anyhow::Result<()> {
    end(place, "TERM")?;
    if running(place).is_some() {
        kill(place)?;
    }
    Ok(())
}

/// Kills the part.
pub fn kill(place: &Place) -> anyhow::Result<()> {
    end(place, "KILL")
}

fn end(place: &Place, signal: &str) -> anyhow::Result<()> {
    let Some(id) = running(place) else {
        return Ok(());
    };
    // It may have ended by itself in between, which is what was wanted.
    let _ = output(command("kill", &[&format!("-{signal}"), &id.to_string()]));
    let deadline = Instant::now() + STOP_TIME_MAX;
    while running(place).is_some() && Instant::now() < deadline {
        sleep(CHECK_INTERVAL);
    }
    if running(place).is_none() {
        println!("{}: ended (SIG{signal})", place.name);
    }
    Ok(())
}
