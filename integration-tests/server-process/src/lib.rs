//! The real server as a process that tests start, kill and start again.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a server may take to start, with the recovery of its log.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to end in order.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
/// How variables begin that tell tests something. The server would take them for settings.
const FOR_TESTS: [&[u8]; 3] = [
    b"COLLABEDIT_PARTS",
    b"COLLABEDIT_TEST_",
    b"COLLABEDIT_XTASK",
];
/// How a panic begins in a process's log.
const PANIC: &str = "panicked at";

/// A server that runs on a data directory. It is killed when this is dropped.
pub struct ServerProcess {
    binary: PathBuf,
    command: &'static str,
    folder: PathBuf,
    addresses: Addresses,
    process_id: u32,
    child: Child,
    _binary_folder: TempDir,
}

impl ServerProcess {
    /// Starts `binary dev` on a free port, with its data and its log in `folder`, and with `arguments`
    /// besides.
    ///
    /// # Errors
    /// If the binary is not there or does not come up.
    pub async fn start(binary: &Path, folder: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        Self::start_as("dev", binary, folder, arguments).await
    }

    /// Starts `binary serve` in the same way, as one node of several.
    ///
    /// # Errors
    /// See [`ServerProcess::start`].
    pub async fn serve(binary: &Path, folder: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        Self::start_as("serve", binary, folder, arguments).await
    }

    async fn start_as(
        command: &'static str,
        binary: &Path,
        folder: &Path,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let (binary, binary_folder) = pinned(binary)?;
        let any_port = Addresses {
            clients: SocketAddr::from(([127, 0, 0, 1], 0)),
            services: None,
        };
        let (child, addresses) = spawn(&binary, command, folder, any_port, arguments).await?;
        Ok(Self {
            binary,
            command,
            folder: folder.to_owned(),
            addresses,
            process_id: child.id().context("the server has ended already")?,
            child,
            _binary_folder: binary_folder,
        })
    }

    /// Where it serves; the same after each restart.
    pub fn address(&self) -> SocketAddr {
        self.addresses.clients
    }

    /// Where it answers other nodes, if it does.
    pub fn services_url(&self) -> Option<String> {
        let address = self.addresses.services?;
        Some(format!("http://{address}"))
    }

    /// Where it serves, as clients write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addresses.clients)
    }

    /// The process that was started last.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Ends the process at once, as `kill -9` does.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let killed = self.child.kill().await;
        killed.context("the server can't be killed")
    }

    /// Asks the process to end, as an orchestrator does, and waits until it has.
    ///
    /// # Errors
    /// If it does not end well, or not in time.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("TERM").await?;
        let ended = timeout(STOP_TIME_MAX, self.child.wait()).await;
        let status = ended.context("the server does not end")??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Makes the process hang, with all that it has in memory, until it is told to [`go_on`](Self::go_on).
    ///
    /// # Errors
    /// If it runs no more.
    pub async fn hang(&self) -> anyhow::Result<()> {
        self.signal("STOP").await
    }

    /// Ends a hang.
    ///
    /// # Errors
    /// See [`hang`](Self::hang).
    pub async fn go_on(&self) -> anyhow::Result<()> {
        self.signal("CONT").await
    }

    async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let (signal, id) = (format!("-{signal}"), self.process_id.to_string());
        let sent = Command::new("kill").args([&signal, &id]).status().await?;
        ensure!(sent.success(), "the server can't be sent {signal}");
        Ok(())
    }

    /// Starts it again after it has ended, on what was left.
    ///
    /// # Errors
    /// If it does not come up again.
    pub async fn restart(&mut self, arguments: &[String]) -> anyhow::Result<()> {
        let (command, before) = (self.command, self.addresses);
        let (child, now) = spawn(&self.binary, command, &self.folder, before, arguments).await?;
        ensure!(
            now == before,
            "the server came back at {now:?} instead of {before:?}"
        );
        self.process_id = child.id().context("the server has ended already")?;
        self.child = child;
        Ok(())
    }

    /// Checks that the process which was started last still runs, and that nothing in it panicked.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_unharmed(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended with {status}");
        }
        let log =
            std::fs::read(log_file(&self.folder)).context("the server's log can't be read")?;
        let log = String::from_utf8_lossy(&log);
        if let Some(line) = log.lines().find(|line| line.contains(PANIC)) {
            bail!("the server's log has a panic: {line}");
        }
        Ok(())
    }
}

/// The real binary, which cargo puts beside the folder of the tests' own.
///
/// # Errors
/// If it is not there.
pub fn real_binary() -> anyhow::Result<PathBuf> {
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

/// A second name for the binary, in a folder that goes when it is dropped: a build in the middle of a
/// run would otherwise bring up another program after a kill, or none.
fn pinned(binary: &Path) -> anyhow::Result<(PathBuf, TempDir)> {
    let (Some(folder), Some(name)) = (binary.parent(), binary.file_name()) else {
        bail!("{} is no file", binary.display());
    };
    // Beside the binary, since a file has names in one file system only.
    let folder = tempfile::tempdir_in(folder)?;
    let link = folder.path().join(name);
    std::fs::hard_link(binary, &link)
        .with_context(|| format!("{} can't be linked", binary.display()))?;
    Ok((link, folder))
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// Where a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Addresses {
    clients: SocketAddr,
    services: Option<SocketAddr>,
}

async fn spawn(
    binary: &Path,
    name: &str,
    folder: &Path,
    listen: Addresses,
    arguments: &[String],
) -> anyhow::Result<(Child, Addresses)> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_file(folder))
        .context("the server's log can't be written")?;
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if FOR_TESTS
            .iter()
            .any(|start| name.as_encoded_bytes().starts_with(start))
        {
            command.env_remove(name);
        }
    }
    let mut child = command
        .arg(name)
        .arg(format!("--listen={}", listen.clients))
        .arg(format!("--data={}", folder.join("data").display()))
        .args(arguments)
        // It counts more than what was said of it before.
        .args(
            listen
                .services
                .map(|address| format!("--set=services.listen={address}")),
        )
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
    let lines = BufReader::new(output).lines();
    let addresses = timeout(START_TIME_MAX, read_addresses(lines))
        .await
        .context("the server did not say in time that it is ready")??;
    Ok((child, addresses))
}

/// Reads what a server says once it is ready.
async fn read_addresses(mut lines: Lines<BufReader<ChildStdout>>) -> anyhow::Result<Addresses> {
    let mut services = None;
    loop {
        let line = lines
            .next_line()
            .await?
            .context("the server ended before it was ready; see server.log")?;
        let (what, url) = line.split_once(": http://").unwrap_or_default();
        let authority = url.split('/').next().unwrap_or_default();
        let address = authority
            .parse()
            .with_context(|| format!("the server said {line:?} instead of an address"))?;
        if what == "Services" {
            services = Some(address);
        } else {
            let clients = address;
            return Ok(Addresses { clients, services });
        }
    }
}
