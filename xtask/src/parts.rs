//! Real servers for tests and development, on loopback, with all they write in one folder.
//!
//! A part is one entry in [`PARTS`] and one file beside this.

mod foundationdb;
mod kafka;
mod mirror_maker;
mod place;
mod process;
mod redis;
mod s3;
mod wide_area;

use std::fs;
use std::process::Command;

use anyhow::Context;
use clap::Subcommand;

use crate::command::target_dir;
use place::Place;

/// What `parts` understands.
#[derive(clap::Args)]
#[command(after_help = "\
Everything a part writes is in target/parts/NAME: its settings, its data, and what it says (out.log).
A part of several processes has a folder there for each, by its number.
target/parts/environment holds the addresses as the tests want them:

    cargo xtask parts up
    set -a; . target/parts/environment; set +a
    cargo test -p op-log --test kafka -- --ignored

`cargo xtask test` does that by itself and stops afterwards what was not running before.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Installs what is missing, starts what is not running, and returns when all are ready
    Up {
        /// Only these parts, as `status` shows them; a test's own call means those that it needs
        #[arg(env = NAMES, value_delimiter = ',')]
        names: Vec<String>,
    },
    /// Stops what `up` started
    Down {
        /// Remove what the parts have stored as well
        #[arg(long)]
        wipe: bool,
    },
    /// Says which parts run, and where
    Status,
    /// Ends one part as a crash would, with SIGKILL; `up` starts it again on what it has stored
    Kill {
        /// Its name, as `status` shows it
        name: String,
        /// Only this one of its processes, if it has several
        number: Option<usize>,
    },
}

/// A server that is not ours.
struct Part {
    name: &'static str,
    /// How many processes it consists of. Each has a place, and what follows is given all of them.
    process_count: usize,
    /// Whether what `prepare` can't install is there; without it only those get the part who name it.
    is_installed: fn() -> bool,
    /// Installs it where it is not yet, writes its settings, and says how to start it at each place.
    prepare: fn(&[Place]) -> anyhow::Result<Vec<Server>>,
    /// What is left to do when it has been started, as to wait for what it does not say by itself.
    settle: fn(&[Place]) -> anyhow::Result<()>,
    /// What tests are told once it runs, as environment variables.
    variables: fn(&[Place]) -> anyhow::Result<Variables>,
}

impl Part {
    fn places(&self) -> Vec<Place> {
        match self.process_count {
            1 => vec![Place::of(self.name)],
            count => (1..=count)
                .map(|number| Place::of_process(self.name, number))
                .collect(),
        }
    }

    /// Whether any of its processes runs.
    fn runs(&self) -> bool {
        self.places()
            .iter()
            .any(|place| process::running(place).is_some())
    }
}

/// For a part that `prepare` installs by itself.
fn always() -> bool {
    true
}

/// For a part that says by itself when it is ready.
fn nothing(_: &[Place]) -> anyhow::Result<()> {
    Ok(())
}

/// Whether what this part needs is installed.
pub fn is_installed(name: &str) -> anyhow::Result<bool> {
    Ok((part(name)?.is_installed)())
}

type Variables = Vec<(&'static str, String)>;

/// How one of a part's processes is started.
struct Server {
    /// Names a file in the process's folder, by which it is known again.
    command: Command,
    /// What it prints when it is ready.
    ready_text: &'static str,
}

/// In the order in which they start; they stop in the opposite one.
const PARTS: &[Part] = &[
    kafka::PART,
    kafka::CLUSTER,
    kafka::REGIONS,
    wide_area::PART,
    mirror_maker::PART,
    s3::PART,
    redis::PART,
    foundationdb::PART,
];

/// Names the parts that a test needs, so that its own `parts up` installs no others.
const NAMES: &str = "COLLABEDIT_PARTS";

/// Does what was asked.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Action::Up { names } if names.is_empty() => {
            let (installed, missing): (Vec<_>, Vec<_>) =
                PARTS.iter().partition(|part| (part.is_installed)());
            up(installed)?;
            for part in missing {
                println!("{}: left out, since it is not installed", part.name);
            }
            status()
        }
        Action::Up { names } => {
            let parts: Vec<_> = names
                .iter()
                .map(|name| part(name))
                .collect::<Result<_, _>>()?;
            up(parts)?;
            status()
        }
        Action::Down { wipe } => down(PARTS, *wipe),
        Action::Status => status(),
        Action::Kill { name, number } => kill(part(name)?, *number),
    }
}

fn kill(part: &Part, number: Option<usize>) -> anyhow::Result<()> {
    let places = part.places();
    let killed = match number {
        None => &places[..],
        Some(number) => {
            let index = number.checked_sub(1);
            let place = index.and_then(|index| places.get(index));
            std::slice::from_ref(place.with_context(|| {
                let (name, count) = (part.name, places.len());
                format!("{name} has no process {number}; they are counted from 1 to {count}")
            })?)
        }
    };
    process::kill(killed);
    Ok(())
}

fn part(name: &str) -> anyhow::Result<&'static Part> {
    let part = PARTS.iter().find(|part| part.name == name);
    part.with_context(|| {
        let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        format!("there is no part {name:?}; there are: {}", names.join(", "))
    })
}

/// Runs `action` while the parts of these names run, with the variables that say where they are. Those
/// that did not run before are stopped afterwards, and what they stored is removed unless it may tell
/// what failed.
pub fn with(
    names: &[&str],
    action: impl FnOnce(&[(&str, String)]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let parts: Vec<_> = names
        .iter()
        .map(|name| part(name))
        .collect::<Result<_, _>>()?;
    let (_, started): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| part.runs());
    let result = up(parts).and_then(|()| {
        let mut variables = variables()?;
        // By these a test kills a part and starts it again.
        let xtask = std::env::current_exe().context("xtask does not know where it is")?;
        variables.push(("COLLABEDIT_XTASK", xtask.display().to_string()));
        variables.push((NAMES, names.join(",")));
        action(&variables)
    });
    let stopped = down(started, result.is_ok());
    result.and(stopped)
}

fn up(parts: impl IntoIterator<Item = &'static Part>) -> anyhow::Result<()> {
    for part in parts {
        let places = part.places();
        let is_missing = |place: &Place| process::running(place).is_none();
        if places.iter().any(is_missing) {
            for place in &places {
                place.create()?;
            }
            let servers = (part.prepare)(&places)
                .with_context(|| format!("{} can't be set up", part.name))?;
            let missing = places.iter().zip(servers);
            process::start(missing.filter(|(place, _)| is_missing(place)).collect())?;
            (part.settle)(&places)?;
        }
    }
    write_environment()
}

fn down<P>(parts: P, wipe: bool) -> anyhow::Result<()>
where
    P: IntoIterator<Item = &'static Part, IntoIter: DoubleEndedIterator>,
{
    for part in parts.into_iter().rev() {
        let places = part.places();
        if wipe {
            // Nothing of it is needed any more, so it need not put it in order.
            process::kill(&places);
            Place::of(part.name).remove()?;
        } else {
            process::stop(&places);
        }
    }
    write_environment()
}

fn status() -> anyhow::Result<()> {
    for part in PARTS {
        let places = part.places();
        for place in &places {
            match process::running(place) {
                None => println!("{:<16}is not running", place.name),
                Some(id) => {
                    let (name, log) = (&place.name, process::log(place));
                    println!("{name:<16}runs as process {id}, says {}", log.display());
                }
            }
        }
        if part.runs() {
            for (name, value) in (part.variables)(&places)? {
                println!("        {name}={value}");
            }
        }
    }
    Ok(())
}

fn variables() -> anyhow::Result<Variables> {
    let mut variables = Vec::new();
    for part in PARTS {
        if part.runs() {
            variables.extend((part.variables)(&part.places())?);
        }
    }
    Ok(variables)
}

/// Writes where things are, in a form that a shell and a person can read.
fn write_environment() -> anyhow::Result<()> {
    let mut text = "# Where `cargo xtask parts` runs things; it writes this anew.\n".to_owned();
    for place in PARTS.iter().flat_map(Part::places) {
        if let Some(id) = process::running(&place) {
            text += &format!("# {}: process {id}\n", place.name);
        }
    }
    for (name, value) in variables()? {
        text += &format!("{name}={value}\n");
    }
    let folder = target_dir().join("parts");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join("environment"), text))
        .context("the parts' addresses can't be written down")
}
