use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a server may take to start.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How a panic begins in a process's log.
const PANIC: &str = "panicked at";

/// The real binary, running on a data directory. It is killed when this is dropped.
pub struct ServerProcess {
    log: PathBuf,
    address: SocketAddr,
    process_id: u32,
    child: Child,
}

impl ServerProcess {
    /// Starts a server that keeps its data and writes its log in `folder`, on a free port.
    ///
    /// # Errors
    /// If the binary is not there or does not come up.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let binary = binary()?;
        let log = folder.join("server.log");
        let output = std::fs::File::create(&log).context("the server's log can't be written")?;
        let mut child = Command::new(&binary)
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} can't be started", binary.display()))?;
        let process_id = child.id().context("the server has ended already")?;
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
        Ok(Self {
            log,
            address,
            process_id,
            child,
        })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves, as clients write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process that was started.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Checks that the process which was started still runs, and that nothing in it panicked.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_unharmed(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended with {status}");
        }
        ensure!(
            self.child.id() == Some(self.process_id),
            "the server is another process"
        );
        let log = std::fs::read(&self.log).context("the server's log can't be read")?;
        let log = String::from_utf8_lossy(&log);
        if let Some(line) = log.lines().find(|line| line.contains(PANIC)) {
            bail!("the server's log has a panic: {line}");
        }
        Ok(())
    }
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
