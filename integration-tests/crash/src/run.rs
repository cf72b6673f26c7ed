use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clock::Random;
use collabedit_sdk::{DocumentId, PeerId};
use replay::{ServerState, ServerStateError};
use testkit::{HistoryWriter, Replica, Violation, check, read_history};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clients::{Clients, InFlight, fresh_replica};
use crate::recorder::Record;
use crate::server_process::ServerProcess;
use crate::{Load, Report, ServerCommand};

/// Moments that are looked at before one is taken at which nothing may be in flight.
const MOMENTS_MAX: u32 = 100;

/// Kills a server under clients that stay, come back to it and go on. In the end they, a client that
/// comes new, and the server have to have the same, and all of it.
///
/// # Errors
/// If the run could not be carried through, as when the server does not come up any more.
pub async fn clients_come_back(command: &ServerCommand, load: &Load) -> anyhow::Result<Report> {
    let mut run = Run::start(command, load).await?;
    let url = run.server.url();
    let mut clients = Clients::join(&url, 0, load.clients, &run.record, &run.random).await?;
    while run.goes_on(load) {
        run.kill(&mut clients, load.operations_per_life()).await?;
        run.server.restart().await?;
    }
    run.acknowledge(&mut clients, load.operations).await?;
    let replicas = clients.finish().await?;
    run.check(replicas).await?;
    run.end()
}

/// Kills a server and its clients together, again and again: what was acknowledged is in nobody's
/// memory any more when the server starts again, so nobody can give it back. After each restart a
/// client that comes new and the server have to have all that was ever acknowledged.
///
/// # Errors
/// If the run could not be carried through, as when the server does not come up any more.
pub async fn clients_die(command: &ServerCommand, load: &Load) -> anyhow::Result<Report> {
    let mut run = Run::start(command, load).await?;
    while run.goes_on(load) && run.report.violations.is_empty() {
        let first = run.report.kills * load.clients;
        let url = run.server.url();
        let mut clients =
            Clients::join(&url, first, load.clients, &run.record, &run.random).await?;
        run.kill(&mut clients, load.operations_per_life()).await?;
        clients.leave().await?;
        run.server.restart().await?;
        run.check(Vec::new()).await?;
    }
    run.end()
}

/// A server, and what was done to it.
struct Run {
    server: ServerProcess,
    folder: tempfile::TempDir,
    history_path: PathBuf,
    record: Record,
    random: Random,
    /// What the next kill waits for.
    acknowledged_before: u64,
    report: Report,
}

impl Run {
    async fn start(command: &ServerCommand, load: &Load) -> anyhow::Result<Self> {
        let mut folder = tempfile::tempdir()?;
        // What is left of a failed run is worth reading.
        folder.disable_cleanup(true);
        println!("{load:?} in {}", folder.path().display());
        let history_path = folder.path().join("history.jsonl");
        let record = Record {
            document: DocumentId::parse("crash")?,
            began: Instant::now(),
            history: Arc::new(HistoryWriter::append_to(&history_path)?),
            acknowledged: watch::Sender::default(),
        };
        let report = Report {
            folder: folder.path().to_owned(),
            ..Report::default()
        };
        Ok(Self {
            server: ServerProcess::start(command, folder.path()).await?,
            folder,
            history_path,
            record,
            random: Random::from_seed(load.seed),
            acknowledged_before: 0,
            report,
        })
    }

    /// Whether kills are missing, or kills in flight. An answer may always be quicker than a kill, so
    /// the number of kills that it takes is not known before, but it has an end.
    fn goes_on(&self, load: &Load) -> bool {
        let Report {
            kills,
            kills_in_flight,
            ..
        } = self.report;
        let is_enough = kills >= load.kills && kills_in_flight >= load.kills_in_flight_min();
        !is_enough && kills < 2 * load.kills
    }

    /// Waits until `operations` are acknowledged in all.
    async fn acknowledge(&self, clients: &mut Clients, operations: u64) -> anyhow::Result<()> {
        let mut acknowledged = self.record.acknowledged.subscribe();
        let enough = async move {
            let enough =
                acknowledged.wait_for(|acknowledged| acknowledged.operations >= operations);
            enough.await.map(drop)
        };
        clients.until("enough was acknowledged", enough).await??;
        Ok(())
    }

    /// Kills the server once it has acknowledged `operations` in this life of it, at a drawn moment.
    async fn kill(&mut self, clients: &mut Clients, operations: u64) -> anyhow::Result<()> {
        let enough = self.acknowledged_before + operations;
        self.acknowledge(clients, enough).await?;
        let in_flight = self.moment_of_flight(clients).await?;
        self.server.kill().await?;
        // An answer that left before the kill is still on its way, and counts.
        clients.notice_the_kill().await?;
        self.report.kills += 1;
        if clients.was_never_answered(&in_flight) {
            self.report.kills_in_flight += 1;
        }
        self.acknowledged_before = self.record.acknowledged.borrow().operations;
        Ok(())
    }

    /// Waits for a drawn moment at which something is in flight, and says what.
    async fn moment_of_flight(&self, clients: &mut Clients) -> anyhow::Result<InFlight> {
        let mut in_flight = InFlight::new();
        for _ in 0..MOMENTS_MAX {
            clients.something_is_in_flight().await?;
            // A part of the time that a batch just took from its author to the disk and back, so
            // that kills hit batches everywhere on their way. It may prove too long.
            let latency = self.record.acknowledged.borrow().last_latency;
            sleep(self.random.jitter(latency)).await;
            in_flight = clients.in_flight();
            if !in_flight.is_empty() {
                break;
            }
        }
        Ok(in_flight)
    }

    /// Compares what was promised up to now with `replicas`, a fresh client and the server.
    async fn check(&mut self, mut replicas: Vec<Replica>) -> anyhow::Result<()> {
        let url = self.server.url();
        replicas.push(fresh_replica(&url, &self.record).await?);
        replicas.push(server_replica(&url, &self.record).await?);
        let history = read_history(&self.history_path)?;
        self.report.violations = check(&history, &replicas);
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<Report> {
        self.report.took = self.record.began.elapsed();
        self.report.operations_acknowledged = self.record.acknowledged.borrow().operations;
        println!("{}", self.report);
        if self.report.violations.is_empty() {
            self.folder.disable_cleanup(false);
        } else {
            say(&self.report.violations, &self.report.folder);
        }
        Ok(self.report)
    }
}

/// One lost batch breaks many promises, and the first few say which.
const VIOLATIONS_SAID_MAX: usize = 20;

fn say(violations: &[Violation], folder: &Path) {
    for violation in violations.iter().take(VIOLATIONS_SAID_MAX) {
        println!("VIOLATION: {violation}");
    }
    println!("see {}", folder.display());
}

/// What the server says that the document is.
async fn server_replica(url: &str, record: &Record) -> anyhow::Result<Replica> {
    let state = match replay::fetch_state(url, &record.document).await {
        // It has lost the document itself, and has nothing where the others have something.
        Err(ServerStateError::Status { status, .. }) if status.as_u16() == 404 => ServerState {
            text: String::new(),
            version: BTreeMap::new(),
            state_hash: String::new(),
        },
        state => state?,
    };
    let end = |(peer, end): (&String, &u32)| anyhow::Ok((PeerId(peer.parse()?), *end));
    Ok(Replica {
        name: "the server".to_owned(),
        document: record.document.clone(),
        text: state.text,
        state_hash: state.state_hash,
        version: state.version.iter().map(end).collect::<Result<_, _>>()?,
    })
}
