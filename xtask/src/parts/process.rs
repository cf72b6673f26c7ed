//! Processes that outlive the command that started them, and are known again by a later one.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Server;
use super::place::Place;
use crate::command::{command, output};

const READY_TIME_MAX: Duration = Duration::from_secs(120);
const STOP_TIME_MAX: Duration = Duration::from_secs(20);
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Before a process that found its port taken is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

fn id_file(place: &Place) -> PathBuf {
    place.folder.join("pid")
}

/// What the process prints.
pub fn log(place: &Place) -> PathBuf {
    place.folder.join("out.log")
}

/// The process that lives here, if it runs. A process is a part's only if its command line names a file
/// in its folder: ids are used again, and what we did not start we don't stop.
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
    // With the slash, so that one part's name may begin with another's.
    words
        .contains(&format!("{}/", place.folder.display()))
        .then_some(id)
}

/// Starts processes side by side, since some are ready only when others are there, and waits until all
/// of them say that they are ready.
///
/// # Errors
/// With the end of what one printed, if it ends or takes too long; then that one does not run.
pub fn start(servers: Vec<(&Place, Server)>) -> anyhow::Result<()> {
    let mut starting = servers
        .into_iter()
        .map(|(place, server)| Starting::spawn(place, server))
        .collect::<Result<Vec<_>, _>>()?;
    loop {
        let mut not_ready = Vec::new();
        for mut one in starting {
            if !one.is_ready()? {
                not_ready.push(one);
            }
        }
        if not_ready.is_empty() {
            return Ok(());
        }
        starting = not_ready;
        sleep(CHECK_INTERVAL);
    }
}

/// A process that is not ready yet.
struct Starting<'a> {
    place: &'a Place,
    server: Server,
    child: Child,
    since: Instant,
    /// When it is next said that this takes long.
    progress: Duration,
}

impl<'a> Starting<'a> {
    fn spawn(place: &'a Place, mut server: Server) -> anyhow::Result<Self> {
        let child = spawn(place, &mut server)?;
        println!("{}: starting", place.name);
        Ok(Self {
            place,
            server,
            child,
            since: Instant::now(),
            progress: PROGRESS_INTERVAL,
        })
    }

    fn is_ready(&mut self) -> anyhow::Result<bool> {
        let name = &self.place.name;
        let said = fs::read_to_string(log(self.place)).unwrap_or_default();
        let waited = self.since.elapsed();
        if said.contains(self.server.ready_text) {
            println!("{name}: ready after {:.1} s", waited.as_secs_f64());
            return Ok(true);
        }
        let problem = match self.child.try_wait()? {
            // What is left of the connections of one that was killed keeps the port for a moment.
            Some(_) if says_port_is_taken(&said) && waited < READY_TIME_MAX => {
                sleep(RESTART_PAUSE);
                self.child = spawn(self.place, &mut self.server)?;
                return Ok(false);
            }
            Some(status) => format!("ended with {status}"),
            None if waited > READY_TIME_MAX => {
                stop(std::slice::from_ref(self.place));
                format!("was not ready within {} s", READY_TIME_MAX.as_secs())
            }
            None => {
                if waited > self.progress {
                    println!("{name}: starting, {} s", self.progress.as_secs());
                    self.progress += PROGRESS_INTERVAL;
                }
                return Ok(false);
            }
        };
        let lines: Vec<_> = said.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n    ");
        bail!(
            "{name} {problem}; {} ends with\n    {end}",
            log(self.place).display()
        );
    }
}

fn spawn(place: &Place, server: &mut Server) -> anyhow::Result<Child> {
    let printed = File::create(log(place)).context("the part's log can't be written")?;
    let child = server
        .command
        .stdin(Stdio::null())
        .stdout(printed.try_clone()?)
        .stderr(printed)
        // A Ctrl-C in this terminal is not meant for it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("{} did not start", place.name))?;
    fs::write(id_file(place), child.id().to_string())?;
    Ok(child)
}

fn says_port_is_taken(said: &str) -> bool {
    ["address in use", "address already in use"]
        .iter()
        .any(|text| said.to_lowercase().contains(text))
}

/// Asks processes to end and waits for them; kills those that take too long.
pub fn stop(places: &[Place]) {
    end(places, "TERM");
    kill(places);
}

/// Kills processes.
pub fn kill(places: &[Place]) {
    end(places, "KILL");
}

/// Sends all of them a signal at once: some take long to end when others have gone before.
fn end(places: &[Place], signal: &str) {
    let mut ending: Vec<_> = places
        .iter()
        .filter_map(|place| Some((place, running(place)?)))
        .collect();
    for (_, id) in &ending {
        // It may have ended by itself in between, which is what was wanted.
        let _ = output(command("kill", &[&format!("-{signal}"), &id.to_string()]));
    }
    let deadline = Instant::now() + STOP_TIME_MAX;
    loop {
        ending.retain(|(place, _)| {
            let runs = running(place).is_some();
            if !runs {
                println!("{}: ended (SIG{signal})", place.name);
            }
            runs
        });
        if ending.is_empty() || Instant::now() > deadline {
            return;
        }
        sleep(CHECK_INTERVAL);
    }
}
