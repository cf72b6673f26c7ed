//! The parts that npm installs, checks and builds: one npm workspace with its scripts at the root.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::command::{command, root, run, target_dir};

/// What npm installs from.
const LOCK_FILE: &str = "package-lock.json";
/// Packages outside of the workspace.
const STOCK_CLIENTS: [&str; 2] = [
    "integration-tests/stock-clients/pinned-engine",
    "integration-tests/stock-clients/newest-engine",
];
/// Where the built editor begins.
const EDITOR_PAGE: &str = "clients/web-editor/dist/index.html";
/// All that the editor is built from.
const EDITOR_SOURCES: [&str; 4] = [
    "package.json",
    LOCK_FILE,
    "clients/typescript-sdk",
    "clients/web-editor",
];
/// Folders that hold what is made, not what is written.
const MADE: [&str; 3] = ["node_modules", "dist", "coverage"];

/// Installs the workspace's packages exactly as locked, where they are not yet.
pub fn install_packages() -> anyhow::Result<()> {
    install(Path::new(""))
}

/// Installs the stock clients, which are outside of the workspace because each has its own version of
/// the engine.
pub fn install_stock_clients() -> anyhow::Result<()> {
    STOCK_CLIENTS.iter().map(Path::new).try_for_each(install)
}

fn install(package: &Path) -> anyhow::Result<()> {
    let lock_file = package.join(LOCK_FILE);
    let shown = lock_file.display().to_string();
    let stamp = Stamp::of(&format!("{shown}.installed"), &[&shown])?;
    if stamp.is_current() && root().join(package).join("node_modules").is_dir() {
        println!("what {shown} names is installed");
        return Ok(());
    }
    let mut install = command("npm", &["ci", "--no-audit", "--no-fund"]);
    install.current_dir(root().join(package));
    run(install)?;
    stamp.keep()
}

/// Runs one of the root's npm scripts.
pub fn run_script(script: &str) -> anyhow::Result<()> {
    run(command("npm", &["run", "--silent", script]))
}

/// Runs one of the root's npm scripts with the server that cargo has built.
pub fn run_script_against_server(script: &str) -> anyhow::Result<()> {
    let mut command = command("npm", &["run", "--silent", script]);
    command.env("COLLABEDIT_BINARY", target_dir().join("debug/collabedit"));
    run(command)
}

/// Builds the editor's pages.
pub fn build_editor() -> anyhow::Result<()> {
    let stamp = Stamp::of("web-editor", &EDITOR_SOURCES)?;
    run_script("build")?;
    stamp.keep()
}

/// Builds the editor's pages if a source of them is not what it was at the last build.
pub fn build_editor_if_changed() -> anyhow::Result<()> {
    if Stamp::of("web-editor", &EDITOR_SOURCES)?.is_current() && root().join(EDITOR_PAGE).is_file()
    {
        println!("the web editor is current");
        return Ok(());
    }
    install_packages()?;
    build_editor()
}

/// What was made last, by the hash of what it was made from.
struct Stamp {
    file: PathBuf,
    hash: String,
}

impl Stamp {
    /// The stamp of what is made from these files and folders as they are now.
    fn of(made: &str, sources: &[&str]) -> anyhow::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        // Clones that share a target folder each have their own packages and pages.
        hasher.update(root().as_os_str().as_encoded_bytes());
        for source in sources {
            hash(&root().join(source), &mut hasher)
                .with_context(|| format!("{source} can't be read"))?;
        }
        let file = target_dir().join("xtask").join(made.replace('/', "-"));
        Ok(Self {
            file,
            hash: hasher.finalize().to_hex().to_string(),
        })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|kept| kept == self.hash)
    }

    fn keep(&self) -> anyhow::Result<()> {
        let folder = self.file.parent().expect("a stamp lies in a folder");
        fs::create_dir_all(folder)?;
        fs::write(&self.file, &self.hash).context("the stamp can't be written")
    }
}

fn hash(path: &Path, hasher: &mut blake3::Hasher) -> std::io::Result<()> {
    if path.is_dir() {
        let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.retain(|entry| !MADE.iter().any(|made| entry.file_name() == *made));
        entries.sort_by_key(fs::DirEntry::file_name);
        return entries
            .iter()
            .try_for_each(|entry| hash(&entry.path(), hasher));
    }
    let content = fs::read(path)?;
    let name = path
        .strip_prefix(root())
        .unwrap_or(path)
        .as_os_str()
        .as_encoded_bytes();
    // Each part has its length before it, so that no two trees look alike.
    for part in [name, &content] {
        hasher
            .update(&(part.len() as u64).to_le_bytes())
            .update(part);
    }
    Ok(())
}
