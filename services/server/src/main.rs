//! The binary `collabedit`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use server::Settings;
use server::arguments::{Arguments, Command, ConfigCommand, LogCommand};
use server::commands::{check, log_show, replay, run as node};
use service_runtime::configuration::{self, Configuration, Sources};

/// Documents are loaded on many threads and let go, for folds, reads and rooms. The C library keeps what
/// each thread has had, which after an hour with large documents is most of the process; this one gives it
/// back within seconds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let configuration = || settings(arguments);
    match &arguments.command {
        Command::Dev { .. } | Command::Serve { .. } => node::run(&configuration()?.settings),
        Command::Check => check::run(&configuration()?.settings),
        Command::Log(LogCommand::Show { document, from }) => {
            log_show::run(&configuration()?.settings, document, *from)
        }
        Command::Replay(options) => replay::run(&configuration()?.settings, options),
        Command::Config(ConfigCommand::Show) => {
            print!("{}", configuration()?.to_toml());
            Ok(())
        }
        Command::Config(ConfigCommand::Reference) => {
            print!("{}", configuration::reference::<Settings>());
            Ok(())
        }
        Command::Version => {
            println!("collabedit {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::DryRunWorker => Ok(dry_run::run_worker(
            std::io::stdin().lock(),
            std::io::stdout().lock(),
        )?),
    }
}

fn settings(arguments: &Arguments) -> anyhow::Result<Configuration<Settings>> {
    // A variable that is not a text is not one of ours.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let sources = Sources {
        file: arguments.settings.config.clone(),
        environment: std::env::vars_os().filter_map(text).collect(),
        flags: arguments.flags(),
    };
    configuration::load(&sources).context("the settings are wrong")
}
