use std::fs;

use anyhow::{Context, bail};

use crate::command::{command, output, run, target_dir};

/// Makes sure that a program of one of Debian's packages is here.
///
/// # Errors
/// Says how to get it where this process may not install it.
pub fn ensure(program: &str, package: &str, needed_for: &str) -> anyhow::Result<()> {
    if output(command("sh", &["-c", &format!("command -v {program}")])).is_some() {
        return Ok(());
    }
    let is_root = output(command("id", &["-u"])).is_some_and(|id| id.trim() == "0");
    let has_apt = output(command("apt-get", &["--version"])).is_some();
    if !(is_root && has_apt) {
        bail!(
            "`{program}` is missing, for {needed_for}; on Debian, as root: apt-get install {package}"
        );
    }
    // A cache of our own: another apt run may empty the shared one while ours still reads it.
    let cache = target_dir().join("xtask/apt");
    fs::create_dir_all(cache.join("partial")).context("apt's cache can't be created")?;
    let cache_option = format!("Dir::Cache::archives={}", cache.display());
    let options = ["-o", "DPkg::Lock::Timeout=180", "-o", &cache_option];
    run(command("apt-get", &[&options[..], &["update"]].concat()))?;
    let install = ["install", "--yes", "--no-install-recommends", package];
    let mut install = command("apt-get", &[&options[..], &install].concat());
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run(install)
}
