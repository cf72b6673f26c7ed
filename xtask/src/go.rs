//! Programs that are built from Go modules.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::command::{command, run, target_dir};
use crate::toolchain::{self, GO};

/// Builds the program of `module` at `version`, unless it is here, and gives its path.
pub fn install(module: &str, version: &str) -> anyhow::Result<PathBuf> {
    toolchain::check_for(&[&GO])?;
    let name = module.rsplit('/').next().unwrap_or(module);
    let file_name = module.replace('/', "-");
    let folder = target_dir().join(format!("xtask/{file_name}-{version}"));
    let program = folder.join(name);
    if folder.is_dir() {
        return Ok(program);
    }
    println!("{name}: installing, which takes a minute");
    // What is cut short is not taken for whole.
    let partial = folder.with_added_extension("partial");
    let mut install = command("go", &["install", &format!("{module}@{version}")]);
    install
        .env("GOBIN", &partial)
        .env("GOFLAGS", "-buildvcs=false")
        .env("CGO_ENABLED", "0");
    run(install)?;
    fs::rename(&partial, &folder).with_context(|| format!("{name} can't be put in its place"))?;
    Ok(program)
}
