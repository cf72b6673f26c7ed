//! Development commands, as `cargo xtask …`. Everything a contributor or continuous integration runs
//! starts here; there are no other scripts.

// A development tool reads the environment and the time as any program does.
#![allow(clippy::disallowed_methods)]

mod beside;
mod codegen;
mod command;
mod debian;
mod dev;
mod foundationdb;
mod go;
mod parts;
mod steps;
mod test;
mod toolchain;
mod web;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Development commands of CollabEdit",
    after_help = "Start with `cargo xtask dev`; before a commit run `cargo xtask test`."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds everything and runs the server on this machine, until Ctrl-C
    Dev(dev::Arguments),
    /// Runs every check and test, as continuous integration does
    Test(test::Arguments),
    /// Starts and stops the real servers (Kafka, S3) that some tests need
    Parts(parts::Arguments),
    /// Writes anew what is generated from code
    Codegen,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Parts(arguments) => parts::run(&arguments),
        Command::Codegen => codegen::run(),
    }
}
