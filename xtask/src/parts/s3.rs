//! An S3 server that keeps its objects in a folder: s3s-fs.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::place::Place;
use super::{Part, Server, always, nothing};
use crate::command::{cargo, command, run, target_dir};

pub const PART: Part = Part {
    name: "s3",
    process_count: 1,
    is_installed: always,
    prepare,
    settle: nothing,
    variables: |places| {
        Ok(vec![
            (
                "COLLABEDIT_TEST_S3",
                format!("http://127.0.0.1:{}", places[0].port("server")?),
            ),
            ("COLLABEDIT_TEST_S3_BUCKET", BUCKET.to_owned()),
            // By these names S3's clients look for credentials.
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ])
    },
};

/// The newest version that Rust 1.95 builds; 0.15 needs 1.96.
const VERSION: &str = "0.14.1";
/// Crates of the server that it is built with optimised, as everything that it gets goes through them.
const OPTIMISED: [&str; 2] = ["md-5", "sha2@0.11.0"];
const BUCKET: &str = "blobs";
/// What everybody may know, as it opens nothing but this server on loopback.
const ACCESS_KEY: &str = "collabedit-test";
const SECRET_KEY: &str = "collabedit-test-secret";

fn prepare(places: &[Place]) -> anyhow::Result<Vec<Server>> {
    let place = &places[0];
    let program = install()?;
    // A bucket is a folder.
    let data = place.folder.join("data");
    fs::create_dir_all(data.join(BUCKET)).context("the bucket can't be created")?;
    let port = place.port("server")?.to_string();
    let arguments = [
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--access-key",
        ACCESS_KEY,
        "--secret-key",
        SECRET_KEY,
        &data.to_string_lossy(),
    ];
    let mut command = command(program, &arguments);
    // Otherwise it does not say that it is ready.
    command.env("RUST_LOG", "info");
    Ok(vec![Server {
        command,
        ready_text: "server is running at",
    }])
}

/// Builds the server, unless this version is here, and gives its program.
fn install() -> anyhow::Result<PathBuf> {
    let folder = target_dir().join(format!("xtask/s3s-fs-{VERSION}"));
    let program = folder.join("bin/s3s-fs");
    if folder.is_dir() {
        return Ok(program);
    }
    println!("s3: installing, which takes some minutes");
    // What is cut short is not taken for whole, and goes on from where it was.
    let partial = folder.with_added_extension("partial");
    let build = folder.with_added_extension("build");
    let (root, target) = (partial.to_string_lossy(), build.to_string_lossy());
    let arguments = [
        "install",
        "--quiet",
        "--locked",
        // The rest of it is built sooner without.
        "--debug",
        "--features",
        "binary",
        "--root",
        &root,
        "--target-dir",
        &target,
        "--version",
        VERSION,
        "s3s-fs",
    ];
    let mut install = cargo(&arguments);
    install.args(["--config", "profile.dev.debug=false"]);
    for package in OPTIMISED {
        let setting = format!("profile.dev.package.\"{package}\".opt-level=3");
        install.args(["--config", &setting]);
    }
    run(install)?;
    fs::rename(&partial, &folder).context("the server can't be put in its place")?;
    fs::remove_dir_all(&build).context("what was left of the build can't be removed")?;
    Ok(program)
}
