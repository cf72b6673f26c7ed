use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a server may take to start, with the recovery of its log.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// The real binary, running on a data directory. It is killed when this is dropped.
pub struct ServerProcess {
    binary: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl ServerProcess {
    /// Starts a server that keeps its data and writes its log in `folder`, on a free port.
    ///
    /// # Errors
    /// If the binary is not there or does not come up.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let binary = binary()?;
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, address) = spawn(&binary, folder, any_port).await?;
        Ok(Self {
            binary,
            folder: folder.to_owned(),
            address,
            child,
        })
    }

    /// Where it serves; the same after each restart.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the process at once, as `kill -9` does, and starts it again.
    ///
    /// # Errors
    /// If it does not come up again.
    pub async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .context("the server can't be killed")?;
        let (child, address) = spawn(&self.binary, &self.folder, self.address).await?;
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
    binary: &Path,
    folder: &Path,
    listen: SocketAddr,
) -> anyhow::Result<(Child, SocketAddr)> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("server.log"))
        .context("the server's log can't be written")?;
    let mut child = Command::new(binary)
        .args(["dev", "--listen", &listen.to_string(), "--data"])
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} can't be started", binary.display()))?;
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

/// The server's binary, which cargo puts beside the folder of the tests' own.
fn binary() -> anyhow::Result<PathBuf> {
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
    Ok(binary)
}
