//! Finds the trace that is compiled in: the engine's published package carries it for its own
//! benchmarks.

// Cargo speaks to build scripts through the environment.
#![allow(clippy::disallowed_methods)]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "loro-internal";
const TRACE: &str = "benches/automerge-paper.json.gz";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let trace = package_folder()?.join(TRACE);
    let out = PathBuf::from(env::var("OUT_DIR")?).join("automerge-paper.json.gz");
    fs::copy(&trace, out).map_err(|error| format!("{}: {error}", trace.display()))?;
    Ok(())
}

/// Where cargo has put the engine's package. Cargo may have to fetch for the answer: it names all
/// packages of the workspace, and a build fetches those that it compiles.
fn package_folder() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", &env::var("TARGET")?])
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == PACKAGE)
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .map(Path::to_owned)
        .ok_or_else(|| format!("{PACKAGE} is not among the packages").into())
}
