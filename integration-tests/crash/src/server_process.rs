use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a server may take to start, with the recovery of its log.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// What is wrong with a server on purpose. A proof that passes on one of these proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlantedBug {
    /// The disks answer syncs without syncing, once the server runs.
    NoFsync,
    /// The log's disk answers writes and syncs at once, and does them a little later.
    AckBeforeAppend,
}

impl PlantedBug {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoFsync => "no-fsync",
            Self::AckBeforeAppend => "ack-before-append",
        }
    }
}

/// Which server is started, and how.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    binary: PathBuf,
    lossy: Option<Lossy>,
}

#[derive(Clone, Debug)]
struct Lossy {
    seed: u64,
    bug: Option<PlantedBug>,
}

impl ServerCommand {
    /// The real binary, which cargo puts beside the folder of the tests' own.
    ///
    /// # Errors
    /// If it is not there.
    pub fn real() -> anyhow::Result<Self> {
        let test = std::env::current_exe().context("this program does not know where it is")?;
        let folder = test
            .parent()
            .and_then(Path::parent)
            .context("this program is in no folder")?;
        let binary = folder.join(format!("collabedit{}", std::env::consts::EXE_SUFFIX));
        if !binary.exists() {
            bail!(
                "{} is not there; build it with `cargo build -p server`",
                binary.display()
            );
        }
        Ok(Self {
            binary,
            lossy: None,
        })
    }

    /// The same node on disks that lose what was not synced, as `binary`, this package's
    /// `lossy-server`, starts it. What of it is lost is drawn from `seed`.
    pub fn lossy(binary: impl Into<PathBuf>, seed: u64, bug: Option<PlantedBug>) -> Self {
        Self {
            binary: binary.into(),
            lossy: Some(Lossy { seed, bug }),
        }
    }

    /// The same command with a second name for the binary, in a folder that goes when it is dropped: a
    /// build in the middle of a run would otherwise bring up another program after a kill, or none.
    fn pinned(&self) -> anyhow::Result<(Self, TempDir)> {
        let (Some(folder), Some(name)) = (self.binary.parent(), self.binary.file_name()) else {
            bail!("{} is no file", self.binary.display());
        };
        // Beside the binary, since a file has names in one file system only.
        let folder = tempfile::tempdir_in(folder)?;
        let binary = folder.path().join(name);
        std::fs::hard_link(&self.binary, &binary)
            .with_context(|| format!("{} can't be linked", self.binary.display()))?;
        let lossy = self.lossy.clone();
        Ok((Self { binary, lossy }, folder))
    }

    /// The arguments of the server's life number `life`.
    fn arguments(&self, listen: SocketAddr, data: &Path, life: u64) -> Vec<String> {
        let mut arguments = vec![
            "dev".to_owned(),
            format!("--listen={listen}"),
            format!("--data={}", data.display()),
        ];
        if let Some(lossy) = &self.lossy {
            // The same choices in every life would tear the same writes.
            arguments.push(format!("--seed={}", lossy.seed.wrapping_add(life)));
            let bug = lossy.bug.map(|bug| format!("--planted-bug={}", bug.name()));
            arguments.extend(bug);
        }
        arguments
    }
}

/// A server that runs on a data directory. It is killed when this is dropped.
pub(crate) struct ServerProcess {
    command: ServerCommand,
    folder: PathBuf,
    address: SocketAddr,
    child: Child,
    life: u64,
    _binary_folder: TempDir,
}

impl ServerProcess {
    /// Starts a server that keeps its data and writes its log in `folder`, on a free port.
    ///
    /// # Errors
    /// If the binary does not come up.
    pub(crate) async fn start(command: &ServerCommand, folder: &Path) -> anyhow::Result<Self> {
        let (command, binary_folder) = command.pinned()?;
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let life = 0;
        let (child, address) = spawn(&command, folder, any_port, life).await?;
        Ok(Self {
            command,
            folder: folder.to_owned(),
            address,
            child,
            life,
            _binary_folder: binary_folder,
        })
    }

    /// Where it serves; the same after each restart.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the process at once, as `kill -9` does.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .context("the server can't be killed")
    }

    /// Starts it again after a kill, on what the kill has left.
    ///
    /// # Errors
    /// If it does not come up again.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.life += 1;
        let (child, address) = spawn(&self.command, &self.folder, self.address, self.life).await?;
        if address != self.address {
            bail!(
                "the server came back at {address} instead of {}",
                self.address
            );
        }
        self.child = child;
        Ok(())
    }
}

async fn spawn(
    command: &ServerCommand,
    folder: &Path,
    listen: SocketAddr,
    life: u64,
) -> anyhow::Result<(Child, SocketAddr)> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("server.log"))
        .context("the server's log can't be written")?;
    let mut child = Command::new(&command.binary)
        .args(command.arguments(listen, &folder.join("data"), life))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} can't be started", command.binary.display()))?;
    let output = child
        .stdout
        .take()
        .context("the server has no standard output")?;
    let mut lines = BufReader::new(output).lines();
    let line = timeout(START_TIME_MAX, lines.next_line())
        .await
        .context("the server did not say in time that it is ready")??
        .context("the server ended before it was ready; see server.log")?;
    let address = line
        .strip_prefix("Editor: http://")
        .and_then(|rest| rest.trim_end_matches('/').parse().ok())
        .with_context(|| format!("the server said {line:?} instead of its address"))?;
    Ok((child, address))
}
