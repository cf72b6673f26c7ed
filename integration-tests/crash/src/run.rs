use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clock::Random;
use collabedit_sdk::{DocumentId, PeerId};
use replay::{ServerState, ServerStateError};
use server_process::ServerProcess;
use testkit::{HistoryWriter, Replica, Violation, check, read_history};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clients::{Clients, InFlight, WAIT_MAX, fresh_replica};
use crate::latencies::{Answers, Kill};
use crate::recorder::Record;
use crate::{Dependency, Deployment, Load, Report, ServerCommand};

/// Moments that are looked at before one is taken at which nothing may be in flight.
const MOMENTS_MAX: u32 = 100;

/// How long a broker that was killed may take until it has everything again.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(300);
/// Pause before a server is asked again that said that it can't answer now.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A server in one of its lives.
pub(crate) struct Server {
    pub(crate) command: ServerCommand,
    pub(crate) process: ServerProcess,
    life: u64,
}

impl Server {
    async fn start(command: &ServerCommand, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(folder)?;
        Ok(Self {
            process: command.start(folder).await?,
            command: command.clone(),
            life: 0,
        })
    }

    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.life += 1;
        let arguments = self.command.arguments(self.life);
        self.process.restart(&arguments).await
    }
}

/// Servers, and what was done to them.
pub(crate) struct Run {
    pub(crate) servers: Vec<Server>,
    /// Servers that clients don't speak to.
    nodes: Vec<Server>,
    folder: tempfile::TempDir,
    history_path: PathBuf,
    pub(crate) record: Record,
    pub(crate) random: Random,
    /// What the next kill waits for.
    acknowledged_before: u64,
    kills: Vec<Kill>,
    pub(crate) report: Report,
}

impl Run {
    pub(crate) async fn start(commands: &[ServerCommand], load: &Load) -> anyhow::Result<Self> {
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
            answers: Answers::default(),
        };
        let report = Report {
            folder: folder.path().to_owned(),
            ..Report::default()
        };
        let mut run = Self {
            servers: Vec::new(),
            nodes: Vec::new(),
            folder,
            history_path,
            record,
            random: Random::from_seed(load.seed),
            acknowledged_before: 0,
            kills: Vec::new(),
            report,
        };
        for command in commands {
            run.add(command).await?;
        }
        Ok(run)
    }

    /// Starts the nodes of a deployment, as the first servers, and then its gateways, with clients.
    pub(crate) async fn deploy(
        deployment: &Deployment,
        load: &Load,
    ) -> anyhow::Result<(Self, Vec<Clients>)> {
        let mut run = Self::start(&deployment.nodes, load).await?;
        let nodes = run.servers.iter().map(|node| &node.process);
        let gateways = deployment.gateways_before(nodes);
        let mut parties = Vec::new();
        let firsts = (0..).step_by(load.clients as usize);
        for (gateway, first) in gateways.iter().zip(firsts) {
            let url = run.add(gateway).await?;
            let clients = Clients::join(&url, first, load.clients, &run.record, &run.random);
            parties.push(clients.await?);
        }
        Ok((run, parties))
    }

    /// Ends the run of a deployment, whose nodes are asked through the gateways.
    pub(crate) async fn finish_deployment(
        mut self,
        parties: Vec<Clients>,
        nodes_count: usize,
        load: &Load,
    ) -> anyhow::Result<Report> {
        self.nodes = self.servers.drain(..nodes_count).collect();
        self.finish(parties, load).await
    }

    /// Starts one server more, and says where it serves.
    async fn add(&mut self, command: &ServerCommand) -> anyhow::Result<String> {
        let number = self.servers.len() + 1;
        let folder = self.folder.path().join(format!("node-{number}"));
        let server = Server::start(command, &folder).await?;
        let url = server.process.url();
        self.servers.push(server);
        Ok(url)
    }

    /// Clients for each server.
    pub(crate) async fn parties(&self, load: &Load) -> anyhow::Result<Vec<Clients>> {
        let mut parties = Vec::new();
        for (server, first) in self
            .servers
            .iter()
            .zip((0..).step_by(load.clients as usize))
        {
            let url = server.process.url();
            let clients = Clients::join(&url, first, load.clients, &self.record, &self.random);
            parties.push(clients.await?);
        }
        Ok(parties)
    }

    /// Lets the clients come to an end, and holds what they and the servers have against what was
    /// promised.
    pub(crate) async fn finish(
        mut self,
        mut parties: Vec<Clients>,
        load: &Load,
    ) -> anyhow::Result<Report> {
        for clients in &mut parties {
            self.acknowledge(clients, load.operations).await?;
        }
        let replicas = Clients::finish(parties).await?;
        self.check(replicas).await?;
        self.end()
    }

    /// Whether kills are missing, or kills in flight. An answer may always be quicker than a kill, so
    /// the number of kills that it takes is not known before, but it has an end.
    pub(crate) fn goes_on(&self, load: &Load) -> bool {
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

    /// Kills a server once `operations` more are acknowledged since the last kill, at a drawn moment at
    /// which some of its `clients` wait for an answer.
    pub(crate) async fn kill(
        &mut self,
        node: usize,
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<()> {
        let in_flight = self.moment_to_kill(clients, operations).await?;
        let at = Instant::now();
        self.servers[node].process.kill().await?;
        // An answer that left before the kill is still on its way, and counts.
        clients.notice_the_kill().await?;
        let name = self.servers[node].command.name();
        self.killed(name, at, clients.was_never_answered(&in_flight));
        Ok(())
    }

    /// Kills nodes that stand behind the gateways, in the same way. Clients are not cut off by it, so
    /// whether one of them was answered before the kill can't be told: the kill counts as one in flight
    /// if something was.
    pub(crate) async fn kill_behind(
        &mut self,
        name: &'static str,
        nodes: &[usize],
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<()> {
        let in_flight = self.moment_to_kill(clients, operations).await?;
        let at = Instant::now();
        for node in nodes {
            self.servers[*node].process.kill().await?;
        }
        self.killed(name, at, !in_flight.is_empty());
        Ok(())
    }

    /// Kills that of a dependency which the document needs, in the same way. The kill counts as one in
    /// flight if something is unanswered once it is dead.
    pub(crate) async fn kill_dependency(
        &mut self,
        dependency: &dyn Dependency,
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<()> {
        self.moment_to_kill(clients, operations).await?;
        let at = Instant::now();
        dependency.kill(&self.record.document).await?;
        self.killed(dependency.name(), at, !clients.in_flight().is_empty());
        Ok(())
    }

    /// Waits until `operations` more are acknowledged since the last kill, and then for a drawn moment at
    /// which some of `clients` wait for an answer. Says for which.
    pub(crate) async fn moment_to_kill(
        &self,
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<InFlight> {
        let enough = self.acknowledged_before + operations;
        self.acknowledge(clients, enough).await?;
        self.moment_of_flight(clients).await
    }

    /// Counts a kill.
    pub(crate) fn killed(&mut self, of: &'static str, at: Instant, is_in_flight: bool) {
        self.kills.push(Kill { of, at });
        self.report.kills += 1;
        self.report.kills_in_flight += u32::from(is_in_flight);
        self.acknowledged_before = self.record.acknowledged.borrow().operations;
    }

    /// Waits until what was killed is back.
    pub(crate) async fn recover(
        &self,
        dependency: &dyn Dependency,
        clients: &mut Clients,
    ) -> anyhow::Result<()> {
        let back = dependency.recover();
        clients
            .until_within(RECOVERY_TIME_MAX, "what was killed is back", back)
            .await?
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

    /// Compares what was promised up to now with `replicas`, and with a fresh client and the state of
    /// each server.
    pub(crate) async fn check(&mut self, mut replicas: Vec<Replica>) -> anyhow::Result<()> {
        for server in &self.servers {
            let url = server.process.url();
            replicas.push(fresh_replica(&url, &self.record).await?);
            replicas.push(server_replica(&url, &self.record).await?);
        }
        let history = read_history(&self.history_path)?;
        self.report.violations = check(&history, &replicas);
        Ok(())
    }

    pub(crate) fn end(mut self) -> anyhow::Result<Report> {
        self.report.took = self.record.began.elapsed();
        self.report.operations_acknowledged = self.record.acknowledged.borrow().operations;
        self.report.aftermath = self.record.answers.around(&self.kills);
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
    let deadline = Instant::now() + WAIT_MAX;
    let state = loop {
        match replay::fetch_state(url, &record.document).await {
            // As when it has not found out yet which broker leads now. It says that one may ask again.
            Err(ServerStateError::Status { status, .. })
                if status.as_u16() == 503 && Instant::now() < deadline =>
            {
                sleep(RETRY_PAUSE).await;
            }
            state => break state,
        }
    };
    let state = match state {
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
