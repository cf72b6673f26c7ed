//! Real servers for tests and development, on loopback, with all they write in one folder.
//!
//! A part is one entry in [`PARTS`] and one file beside this.

mod kafka;
mod place;
mod process;

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
target/parts/environment holds the addresses as the tests want them:

    cargo xtask parts up
    set -a; . target/parts/environment; set +a
    cargo test -p op-log --features kafka --test kafka

`cargo xtask test` does that by itself and stops afterwards what was not running before.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Installs what is missing, starts what is not running, and returns when all are ready
    Up,
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
    },
}

/// A server that is not ours.
struct Part {
    name: &'static str,
    /// Installs it where it is not yet, writes its settings, and says how to start it.
    prepare: fn(&Place) -> anyhow::Result<Server>,
    /// What tests are told once it runs, as environment variables.
    variables: fn(&Place) -> anyhow::Result<Variables>,
}

type Variables = Vec<(&'static str, String)>;

/// How a part is started.
struct Server {
    /// Names the part's folder, by which its process is known again.
    command: Command,
    /// What it prints when it is ready.
    ready_text: &'static str,
}

/// In the order in which they start; they stop in the opposite one.
const PARTS: &[Part] = &[kafka::PART];

/// Does what was asked.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Action::Up => {
            up()?;
            status()
        }
        Action::Down { wipe } => down(*wipe),
        Action::Status => status(),
        Action::Kill { name } => {
            let part = PARTS.iter().find(|part| part.name == name);
            let part = part.with_context(|| {
                let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
                format!("there is no part {name:?}; there are: {}", names.join(", "))
            })?;
            process::kill(&Place::of(part.name))
        }
    }
}

/// Runs `action` while all parts run, with the variables that say where they are. Those that did not
/// run before are stopped afterwards, and what they stored is removed unless it may tell what failed.
pub fn with(action: impl FnOnce(&[(&str, String)]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let ran_before = PARTS
        .iter()
        .any(|part| process::running(&Place::of(part.name)).is_some());
    let result = up().and_then(|()| {
        let mut variables = variables()?;
        // By this a test kills a part and starts it again.
        let xtask = std::env::current_exe().context("xtask does not know where it is")?;
        variables.push(("COLLABEDIT_XTASK", xtask.display().to_string()));
        action(&variables)
    });
    if ran_before {
        return result;
    }
    let stopped = down(result.is_ok());
    result.and(stopped)
}

fn up() -> anyhow::Result<()> {
    for part in PARTS {
        let place = Place::of(part.name);
        if process::running(&place).is_none() {
            place.create()?;
            let server =
                (part.prepare)(&place).with_context(|| format!("{} can't be set up", part.name))?;
            process::start(&place, server)?;
        }
    }
    write_environment()
}

fn down(wipe: bool) -> anyhow::Result<()> {
    for part in PARTS.iter().rev() {
        let place = Place::of(part.name);
        process::stop(&place)?;
        if wipe {
            place.remove()?;
        }
    }
    write_environment()
}

fn status() -> anyhow::Result<()> {
    for part in PARTS {
        let place = Place::of(part.name);
        match process::running(&place) {
            None => println!("{:<8}is not running", part.name),
            Some(id) => {
                let log = process::log(&place);
                println!(
                    "{:<8}runs as process {id}, says {}",
                    part.name,
                    log.display()
                );
                for (name, value) in (part.variables)(&place)? {
                    println!("        {name}={value}");
                }
            }
        }
    }
    Ok(())
}

fn variables() -> anyhow::Result<Variables> {
    let mut variables = Vec::new();
    for part in PARTS {
        let place = Place::of(part.name);
        if process::running(&place).is_some() {
            variables.extend((part.variables)(&place)?);
        }
    }
    Ok(variables)
}

/// Writes where things are, in a form that a shell and a person can read.
fn write_environment() -> anyhow::Result<()> {
    let mut text = "# Where `cargo xtask parts` runs things; it writes this anew.\n".to_owned();
    for part in PARTS {
        if let Some(id) = process::running(&Place::of(part.name)) {
            text += &format!("# {}: process {id}\n", part.name);
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
