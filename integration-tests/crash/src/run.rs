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
use crate::latencies::Answers;
use crate::recorder::Record;
use crate::{Brokers, Deployment, Load, Report, ServerCommand, Way};

/// Moments that are looked at before one is taken at which nothing may be in flight.
const MOMENTS_MAX: u32 = 100;

/// How long a broker that was killed may take until it has everything again.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(300);
/// Pause before a server is asked again that said that it can't answer now.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Kills a server under clients that stay, come back to it and go on. In the end they, a client that
/// comes new, and the server have to have the same, and all of it.
///
/// # Errors
/// If the run could not be carried through, as when the server does not come up any more.
pub async fn clients_come_back(command: &ServerCommand, load: &Load) -> anyhow::Result<Report> {
    nodes_come_back(std::slice::from_ref(command), load).await
}

/// The same with several servers that share a log: each has its clients, and they are killed in turn.
///
/// # Errors
/// See [`clients_come_back`].
pub async fn nodes_come_back(commands: &[ServerCommand], load: &Load) -> anyhow::Result<Report> {
    let mut run = Run::start(commands, load).await?;
    let mut parties = run.parties(load).await?;
    while run.goes_on(load) {
        let node = run.report.kills as usize % run.servers.len();
        run.kill(node, &mut parties[node], load.operations_per_life())
            .await?;
        run.servers[node].restart().await?;
    }
    run.finish(parties, load).await
}

/// Kills brokers of the log that servers share, again and again, while these and their clients stay.
/// In the end all of them have to have the same, and all of it.
///
/// # Errors
/// If the run could not be carried through, as when nothing is acknowledged any more.
pub async fn brokers_come_back(
    commands: &[ServerCommand],
    brokers: &dyn Brokers,
    load: &Load,
) -> anyhow::Result<Report> {
    let mut run = Run::start(commands, load).await?;
    let mut parties = run.parties(load).await?;
    while run.goes_on(load) {
        let node = run.report.kills as usize % run.servers.len();
        let clients = &mut parties[node];
        run.kill_leader(brokers, clients, load.operations_per_life())
            .await?;
        run.recover(brokers, clients).await?;
    }
    run.finish(parties, load).await
}

/// Kills a server and its clients together, again and again: what was acknowledged is in nobody's
/// memory any more when the server starts again, so nobody can give it back. After each restart a
/// client that comes new and the server have to have all that was ever acknowledged.
///
/// # Errors
/// If the run could not be carried through, as when the server does not come up any more.
pub async fn clients_die(command: &ServerCommand, load: &Load) -> anyhow::Result<Report> {
    let mut run = Run::start(std::slice::from_ref(command), load).await?;
    while run.goes_on(load) && run.report.violations.is_empty() {
        let first = run.report.kills * load.clients;
        let url = run.servers[0].process.url();
        let mut clients =
            Clients::join(&url, first, load.clients, &run.record, &run.random).await?;
        run.kill(0, &mut clients, load.operations_per_life())
            .await?;
        clients.leave().await?;
        run.servers[0].restart().await?;
        run.check(Vec::new()).await?;
    }
    run.end()
}

/// The same with a deployment: clients at gateways, which stand in front of nodes, and all of these
/// processes are killed in turn.
///
/// # Errors
/// See [`clients_come_back`].
pub async fn deployment_comes_back(deployment: &Deployment, load: &Load) -> anyhow::Result<Report> {
    all_come_back(deployment, None, load).await
}

/// The same with a broker of their log as one more whose turn it is.
///
/// # Errors
/// See [`clients_come_back`].
pub async fn deployment_and_brokers_come_back(
    deployment: &Deployment,
    brokers: &dyn Brokers,
    load: &Load,
) -> anyhow::Result<Report> {
    all_come_back(deployment, Some(brokers), load).await
}

async fn all_come_back(
    deployment: &Deployment,
    brokers: Option<&dyn Brokers>,
    load: &Load,
) -> anyhow::Result<Report> {
    let Deployment {
        gateways, nodes, ..
    } = deployment;
    let mut run = Run::start(nodes, load).await?;
    let addresses: Vec<_> = run
        .servers
        .iter()
        .filter_map(|node| node.process.services_url())
        .map(|url| format!("{url:?}"))
        .collect();
    let addresses = addresses.join(", ");
    let mut parties = Vec::new();
    for (gateway, first) in gateways.iter().zip((0..).step_by(load.clients as usize)) {
        let gateway = gateway
            .clone()
            .with(&format!("services.collaboration=[{addresses}]"))
            .with(&format!("services.history=[{addresses}]"));
        let url = run.add(&gateway).await?;
        let clients = Clients::join(&url, first, load.clients, &run.record, &run.random);
        parties.push(clients.await?);
    }
    let turns = run.servers.len() + usize::from(brokers.is_some());
    while run.goes_on(load) {
        let process = run.report.kills as usize % turns;
        if let Some(brokers) = brokers
            && process == run.servers.len()
        {
            let clients = &mut parties[0];
            run.kill_leader(brokers, clients, load.operations_per_life())
                .await?;
            run.recover(brokers, clients).await?;
            continue;
        }
        if process < nodes.len() {
            run.kill_behind(process, &mut parties[0], load.operations_per_life())
                .await?;
        } else {
            let clients = &mut parties[process - nodes.len()];
            run.kill(process, clients, load.operations_per_life())
                .await?;
        }
        run.servers[process].restart().await?;
    }
    // Nodes are asked through the gateways.
    run.nodes = run.servers.drain(..nodes.len()).collect();
    run.finish(parties, load).await
}

/// Cuts the way between servers of different regions, again and again, each time until their clients have
/// had `load`'s share of operations acknowledged. In the end everybody has to have the same, and all of it.
///
/// # Errors
/// If the run could not be carried through, as when nothing is acknowledged during a cut.
pub async fn regions_come_together(
    commands: &[ServerCommand],
    way: &dyn Way,
    load: &Load,
) -> anyhow::Result<Report> {
    let mut run = Run::start(commands, load).await?;
    let mut parties = run.parties(load).await?;
    for _ in 0..load.kills {
        way.cut().await;
        // Each region's clients come to an end of their own before the way is there again.
        for clients in &mut parties {
            run.moment_to_kill(clients, load.operations_per_life())
                .await?;
        }
        way.heal().await;
        run.killed(true);
    }
    run.finish(parties, load).await
}

/// A server in one of its lives.
struct Server {
    command: ServerCommand,
    process: ServerProcess,
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

    async fn restart(&mut self) -> anyhow::Result<()> {
        self.life += 1;
        let arguments = self.command.arguments(self.life);
        self.process.restart(&arguments).await
    }
}

/// Servers, and what was done to them.
struct Run {
    servers: Vec<Server>,
    /// Servers that clients don't speak to.
    nodes: Vec<Server>,
    folder: tempfile::TempDir,
    history_path: PathBuf,
    record: Record,
    random: Random,
    /// What the next kill waits for.
    acknowledged_before: u64,
    /// When brokers were killed.
    broker_kills: Vec<Instant>,
    report: Report,
}

impl Run {
    async fn start(commands: &[ServerCommand], load: &Load) -> anyhow::Result<Self> {
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
            broker_kills: Vec::new(),
            report,
        };
        for command in commands {
            run.add(command).await?;
        }
        Ok(run)
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
    async fn parties(&self, load: &Load) -> anyhow::Result<Vec<Clients>> {
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
    async fn finish(mut self, mut parties: Vec<Clients>, load: &Load) -> anyhow::Result<Report> {
        for clients in &mut parties {
            self.acknowledge(clients, load.operations).await?;
        }
        let replicas = Clients::finish(parties).await?;
        self.check(replicas).await?;
        self.end()
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

    /// Kills a server once `operations` more are acknowledged since the last kill, at a drawn moment at
    /// which some of its `clients` wait for an answer.
    async fn kill(
        &mut self,
        node: usize,
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<()> {
        let in_flight = self.moment_to_kill(clients, operations).await?;
        self.servers[node].process.kill().await?;
        // An answer that left before the kill is still on its way, and counts.
        clients.notice_the_kill().await?;
        self.killed(clients.was_never_answered(&in_flight));
        Ok(())
    }

    /// Kills a node that stands behind the gateways, in the same way. Clients are not cut off by it, so
    /// whether one of them was answered before the kill can't be told: the kill counts as one in flight
    /// if something was.
    async fn kill_behind(
        &mut self,
        node: usize,
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<()> {
        let in_flight = self.moment_to_kill(clients, operations).await?;
        self.servers[node].process.kill().await?;
        self.killed(!in_flight.is_empty());
        Ok(())
    }

    /// Kills the broker that leads the document's partition, in the same way. The kill counts as one in
    /// flight if something is unanswered once the broker is dead.
    async fn kill_leader(
        &mut self,
        brokers: &dyn Brokers,
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<()> {
        self.moment_to_kill(clients, operations).await?;
        self.broker_kills.push(Instant::now());
        brokers.kill_leader(&self.record.document).await?;
        self.killed(!clients.in_flight().is_empty());
        Ok(())
    }

    /// Waits until `operations` more are acknowledged since the last kill, and then for a drawn moment at
    /// which some of `clients` wait for an answer. Says for which.
    async fn moment_to_kill(
        &self,
        clients: &mut Clients,
        operations: u64,
    ) -> anyhow::Result<InFlight> {
        let enough = self.acknowledged_before + operations;
        self.acknowledge(clients, enough).await?;
        self.moment_of_flight(clients).await
    }

    /// Counts a kill.
    fn killed(&mut self, is_in_flight: bool) {
        self.report.kills += 1;
        self.report.kills_in_flight += u32::from(is_in_flight);
        self.acknowledged_before = self.record.acknowledged.borrow().operations;
    }

    /// Waits until the broker that was killed is back.
    async fn recover(&self, brokers: &dyn Brokers, clients: &mut Clients) -> anyhow::Result<()> {
        clients
            .until_within(RECOVERY_TIME_MAX, "the broker is back", brokers.recover())
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
    async fn check(&mut self, mut replicas: Vec<Replica>) -> anyhow::Result<()> {
        for server in &self.servers {
            let url = server.process.url();
            replicas.push(fresh_replica(&url, &self.record).await?);
            replicas.push(server_replica(&url, &self.record).await?);
        }
        let history = read_history(&self.history_path)?;
        self.report.violations = check(&history, &replicas);
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<Report> {
        self.report.took = self.record.began.elapsed();
        self.report.operations_acknowledged = self.record.acknowledged.borrow().operations;
        if !self.broker_kills.is_empty() {
            self.report.aftermath = Some(self.record.answers.around(&self.broker_kills));
        }
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
