use std::os::unix::process::CommandExt;

use anyhow::Context;

use crate::command::{self, cargo, root, target_dir};
use crate::{toolchain, web};

/// What `dev` understands.
#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on to `collabedit dev`, as in `cargo xtask dev --listen 127.0.0.1:9000`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    server: Vec<String>,
}

/// Builds the editor and the server where they changed, then becomes the server.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    toolchain::check()?;
    web::build_editor_if_changed()?;
    command::run(cargo(&[
        "build",
        "--package",
        "server",
        "--bin",
        "collabedit",
    ]))?;

    let mut server = std::process::Command::new(target_dir().join("debug/collabedit"));
    server.arg("dev");
    if !arguments
        .server
        .iter()
        .any(|argument| argument.starts_with("--data"))
    {
        server.arg("--data").arg(root().join(".data"));
    }
    server.args(&arguments.server);
    // We become the server, so that Ctrl-C and SIGTERM reach it and nothing stands between.
    Err(server.exec()).context("the server did not start")
}
