//! One run: the plan, the healing, the settling, the checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{IdSource, Random, SimulatedClock};
use crdt_document::{CrdtDocument, CrdtError};
use document_store::{DocumentStore, Faults, FoldInput, FoldOutcome, FoldedSnapshot, SnapshotId};
use document_types::record::{Body, OpRecord, Payload};
use document_types::{
    DeviceId, Digest, DocumentId, ErrorCode, PeerId, Principal, UserId, VersionVector,
};
use history::HistoryNode;
use op_log::{FaultChances, OpLog};
use service_api::{History as _, WireKind};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::attack::Attack;
use crate::check;
use crate::client::{Client, ClientHandle, ClientParts, Command, Report};
use crate::cluster::{Cluster, ClusterParts, START_MS};
use crate::counters::Counters;
use crate::history::{FOLDED, History};
use crate::panics;
use crate::plan::{Event, NODES, Plan, Step};
use crate::ports::Ports;
use crate::trace::{Trace, note};

/// How long it may take after the last fault until everybody is up to date.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(120);
/// How long it takes at most, after that, until nobody tries anything again any more.
const QUIET: Duration = Duration::from_secs(10);
/// How often that is looked at.
const SETTLE_LOOK: Duration = Duration::from_millis(100);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What happened, to the byte.
    pub trace: String,
    /// What must never be, and was.
    pub violations: Vec<String>,
    /// How often each rare state was met.
    pub met: BTreeMap<&'static str, u64>,
}

/// Runs a plan.
pub fn run(plan: &Plan, ports: Ports) -> Outcome {
    panics::watch();
    let counters = Counters::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    let mut outcome = metrics::with_local_recorder(&counters, || {
        let outcome = runtime.block_on(Simulation::run(plan, ports));
        // What is left of the tasks is dropped while the recorder is there.
        drop(runtime);
        outcome
    });
    outcome.violations.extend(panics::take());
    counters.add_to(&mut outcome.met);
    outcome
}

struct Simulation {
    random: Random,
    trace: Trace,
    history: History,
    cluster: Cluster,
    ports: Ports,
    clients: Vec<ClientHandle>,
    documents: Vec<DocumentId>,
    /// Attackers and folders, which end by themselves.
    extras: TaskTracker,
}

impl Simulation {
    async fn run(plan: &Plan, ports: Ports) -> Outcome {
        let random = Random::from_seed(plan.header.seed);
        let (trace, history) = (Trace::begin(), History::default());
        let cluster = Cluster::new(ClusterParts {
            node_count: NODES,
            partition_count: plan.header.partitions,
            random: &random,
            trace: trace.clone(),
            history: history.clone(),
            ports,
        });
        let documents: Vec<_> = (0..plan.header.documents)
            .map(|number| DocumentId::parse(&format!("doc_{number}")).expect("it is an id"))
            .collect();
        let mut simulation = Self {
            random,
            trace,
            history,
            cluster,
            ports,
            clients: Vec::new(),
            documents,
            extras: TaskTracker::new(),
        };
        simulation.start_clients(plan);
        for step in &plan.steps {
            simulation.wait_until(step).await;
            simulation.happen(&step.event).await;
        }
        simulation.heal();
        if simulation.settle().await {
            check::everything(&simulation.evidence().await, &simulation.history);
        } else {
            simulation.say_who_is_behind().await;
        }
        simulation.log_faults_met();
        simulation.cluster.stop();
        let facts = simulation.history.facts();
        Outcome {
            trace: simulation.trace.text(),
            violations: facts.violations.clone(),
            met: facts.met.clone(),
        }
    }

    fn ids(&self) -> IdSource {
        IdSource::new(
            Arc::new(SimulatedClock::starting_at(START_MS)),
            self.random.fork(),
        )
    }

    fn start_clients(&mut self, plan: &Plan) {
        for (number, client) in plan.header.clients.iter().enumerate() {
            let name = format!("client{number}");
            let user = UserId::parse(&format!("usr_{number}")).expect("it is an id");
            let device = DeviceId::parse("dev_1").expect("it is an id");
            self.clients.push(Client::start(ClientParts {
                name,
                principal: Principal { user, device },
                document: self.documents[client.document].clone(),
                node: client.node,
                kind: if client.stock {
                    WireKind::Stock
                } else {
                    WireKind::CollabEdit
                },
                random: self.random.fork(),
                ids: self.ids(),
                cluster: self.cluster.clone(),
                history: self.history.clone(),
                trace: self.trace.clone(),
            }));
        }
    }

    async fn wait_until(&self, step: &Step) {
        let now_ms = u64::try_from(self.trace.now_ms()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_millis(step.at_ms.saturating_sub(now_ms))).await;
    }

    async fn happen(&self, event: &Event) {
        note!(self.trace, "plan", "{event:?}");
        let tell = |client: usize, command| self.clients[client].tell(command);
        match event.clone() {
            Event::Insert {
                client,
                place,
                count,
            } => {
                tell(client, Command::Insert { place, count }).await;
            }
            Event::Paste { client, place, len } => {
                tell(client, Command::Paste { place, len }).await;
            }
            Event::Delete {
                client,
                place,
                count,
            } => {
                tell(client, Command::Delete { place, count }).await;
            }
            Event::Offline { client } => tell(client, Command::GoOffline).await,
            Event::Online { client } => tell(client, Command::GoOnline).await,
            Event::Move { client, node } => tell(client, Command::Move { node }).await,
            Event::Pause { client, ms } => {
                tell(
                    client,
                    Command::Pause {
                        pause: Duration::from_millis(ms),
                    },
                )
                .await;
            }
            Event::Keep { client } => tell(client, Command::Keep).await,
            Event::SetBack { client } => tell(client, Command::SetBack).await,
            Event::CrashNode { node } => _ = self.cluster.crash_node(node),
            Event::DrainNode { node } => _ = self.cluster.drain_node(node),
            Event::StartNode { node } => self.cluster.start_node(node),
            Event::JumpClock { machine, ms } if machine < self.cluster.node_count() => {
                self.cluster.node_clock(machine).jump(ms);
            }
            Event::JumpClock { ms, .. } => self.cluster.merger_clock().jump(ms),
            Event::StartMerger => self.cluster.start_merger(),
            Event::CrashMerger => _ = self.cluster.crash_merger(0),
            Event::LogWeather { seed } => {
                let chances = FaultChances::swarm(&Random::from_seed(seed));
                self.cluster.log().set_chances(chances);
            }
            Event::LogDown => self.cluster.log().set_chances(FaultChances {
                failed: 1.0,
                read_failed: 1.0,
                ..FaultChances::NONE
            }),
            Event::LogCalm => self.cluster.log().set_chances(FaultChances::NONE),
            Event::StoreWeather { per_thousand } => {
                self.cluster
                    .set_store_faults(Faults::stormy(f64::from(per_thousand) / 1_000.0));
            }
            Event::StoreDown => {
                self.cluster.set_store_faults(Faults {
                    unreachable: true,
                    ..Faults::NONE
                });
            }
            Event::StoreCalm => self.cluster.set_store_faults(Faults::NONE),
            Event::TrialWeather { per_thousand } => {
                self.cluster
                    .trial_weather()
                    .set(f64::from(per_thousand) / 1_000.0);
            }
            Event::Fold { document, ms } => {
                let store = self.cluster.reliable_store().await;
                let fold = fold(
                    store,
                    self.documents[document].clone(),
                    Duration::from_millis(ms),
                    self.ids(),
                    self.history.clone(),
                    self.ports,
                );
                self.extras.spawn(fold);
            }
            Event::Attack {
                kind,
                node,
                client,
                seed,
            } => {
                let random = Random::from_seed(seed);
                let clock = Arc::new(SimulatedClock::starting_at(START_MS));
                let attack = Attack {
                    kind,
                    node,
                    victim: self.clients[client].clone(),
                    ids: IdSource::new(clock, random.fork()),
                    random,
                    cluster: self.cluster.clone(),
                    history: self.history.clone(),
                    trace: self.trace.clone(),
                };
                self.extras.spawn(attack.run());
            }
        }
    }

    /// From here on nothing goes wrong any more.
    fn heal(&self) {
        note!(self.trace, "plan", "all is well from here on");
        self.cluster.log().set_chances(FaultChances::NONE);
        self.cluster.set_store_faults(Faults::NONE);
        self.cluster.trial_weather().set(0.0);
        for node in 0..self.cluster.node_count() {
            self.cluster.start_node(node);
        }
        if self.cluster.merger_count() == 0 {
            self.cluster.start_merger();
        }
    }

    /// Waits until everybody is up to date; says whether that came to be.
    async fn settle(&self) -> bool {
        for client in &self.clients {
            client.tell(Command::GoOnline).await;
        }
        self.extras.close();
        let deadline = now() + SETTLE_TIME_MAX;
        while now() < deadline {
            if self.extras.is_empty() && self.is_settled().await {
                note!(self.trace, "plan", "everybody is up to date");
                tokio::time::sleep(QUIET).await;
                return true;
            }
            tokio::time::sleep(SETTLE_LOOK).await;
        }
        false
    }

    async fn is_settled(&self) -> bool {
        if !self.cluster.is_whole() || !self.cluster.is_merged().await {
            return false;
        }
        let store = self.cluster.reliable_store().await;
        for client in &self.clients {
            let standing = client.standing().await;
            if !standing.is_settled {
                return false;
            }
            let stored = store.version_vector(&client.document).await;
            if stored.is_ok_and(|stored| stored != standing.version) {
                return false;
            }
        }
        true
    }

    async fn say_who_is_behind(&self) {
        let mut behind = Vec::new();
        let store = self.cluster.reliable_store().await;
        for client in &self.clients {
            let standing = client.standing().await;
            let stored = store.version_vector(&client.document).await;
            if !standing.is_settled || stored.as_ref().ok() != Some(&standing.version) {
                behind.push(format!(
                    "{} (settled: {}) has {:?}, and the store {stored:?}",
                    client.name, standing.is_settled, standing.version
                ));
            }
        }
        if !self.cluster.is_merged().await {
            behind.push("the merger".to_owned());
        }
        if !self.extras.is_empty() {
            behind.push(format!("{} attackers or folders", self.extras.len()));
        }
        let seconds = SETTLE_TIME_MAX.as_secs();
        self.history.violation(format!(
            "{seconds} s after the last fault are behind: {behind:?}"
        ));
    }

    async fn evidence(&self) -> check::Evidence {
        let mut replicas: BTreeMap<DocumentId, Vec<(String, Report)>> = BTreeMap::new();
        for client in &self.clients {
            let report = client.report().await;
            let replicas = replicas.entry(client.document.clone()).or_default();
            replicas.push((client.name.clone(), report));
        }
        let history = |store| {
            let log: Arc<dyn OpLog> = Arc::new(self.cluster.log().connect());
            HistoryNode::new(self.cluster.logs(log), store)
        };
        let stored = history(self.cluster.reliable_store().await);
        let rebuilt = history(self.cluster.rebuild().await);
        for document in &self.documents {
            let replicas = replicas.entry(document.clone()).or_default();
            replicas.push(("the store".to_owned(), read(&stored, document).await));
            replicas.push((
                "the rebuilt store".to_owned(),
                read(&rebuilt, document).await,
            ));
        }
        let records = self.cluster.all_records().await;
        for (partition, offset, record) in &records {
            note!(
                self.trace,
                "log",
                "{partition}/{offset}: {}",
                describe(record)
            );
        }
        check::Evidence {
            replicas,
            records,
            ended: self.cluster.ended_lives(),
        }
    }

    fn log_faults_met(&self) {
        let counts = self.cluster.log().fault_counts();
        for (state, count) in [
            ("log: append overloaded", counts.overloaded),
            ("log: append failed", counts.failed),
            (
                "log: unknown append that is written",
                counts.unknown_written,
            ),
            ("log: unknown append that is lost", counts.unknown_lost),
            ("log: record written twice", counts.duplicated),
            ("log: crash after append before ack", counts.crash_kept),
            ("log: crash loses an append", counts.crash_lost),
            ("log: read failed", counts.reads_failed),
        ] {
            *self.history.facts().met.entry(state).or_default() += count;
        }
        let counts = self.cluster.store_fault_counts();
        for (state, count) in [
            ("store: conflict", counts.conflict),
            (
                "store: unknown commit that happened",
                counts.unknown_committed,
            ),
            ("store: unknown commit that is lost", counts.unknown_lost),
            ("store: transaction too old", counts.too_old),
        ] {
            *self.history.facts().met.entry(state).or_default() += count;
        }
    }
}

/// A record on a line of the trace.
fn describe(record: &OpRecord) -> String {
    let position = &record.position;
    let updates: Vec<_> = match &record.body {
        Body::Updates(batch) => {
            let stamped = batch.content.iter();
            stamped
                .map(|update| format!("{} at {:?}", update.span, update.stamp.hlc))
                .collect()
        }
        _ => Vec::new(),
    };
    let (node, epoch, number) = (position.node, position.epoch.0, position.sequence);
    format!("{node}.{epoch}.{number} {updates:?}")
}

/// What a history node says of a document.
/// What a history says of a document.
pub async fn read(history: &HistoryNode, document: &DocumentId) -> Report {
    match history.current(document).await {
        Ok(state) => Report {
            version: state.version,
            text: state.text,
            state_hash: state.state_hash,
        },
        Err(error) if error.code == ErrorCode::NotFound => {
            let empty = CrdtDocument::new(PeerId(0)).expect("it is not the reserved peer id");
            Report {
                version: VersionVector::new(),
                text: String::new(),
                state_hash: empty.state_hash().expect("an empty document can be read"),
            }
        }
        // No replica says so of itself, so they differ.
        Err(error) => Report {
            version: VersionVector::new(),
            text: format!("what was let in can't be read: {error}"),
            state_hash: Digest::of(&[]),
        },
    }
}

/// A fold that takes its time, as one of a merger on another machine may.
async fn fold(
    store: DocumentStore,
    document: DocumentId,
    slowness: Duration,
    ids: IdSource,
    history: History,
    ports: Ports,
) {
    let Ok(Some(input)) = store.begin_fold(&document).await else {
        return;
    };
    tokio::time::sleep(slowness).await;
    let Ok(snapshot) = fold_in(&input) else {
        return;
    };
    let id = SnapshotId(ids.uuid());
    let written = store
        .write_snapshot(&document, id, &snapshot, &input.version, START_MS)
        .await;
    if written.is_ok() {
        tokio::time::sleep(slowness).await;
        let folded = FoldedSnapshot::new(id, &snapshot);
        let newest = store.head(&document).await.ok().flatten();
        let newest = newest.and_then(|head| head.snapshot?.snapshot_id());
        let input = ports.began_with(input, newest);
        match store.finish_fold(&document, &input, folded).await {
            Ok(FoldOutcome::Done) => history.met(FOLDED),
            Ok(FoldOutcome::Superseded) => history.met("a slow fold was superseded"),
            Err(_) => {}
        }
    }
}

fn fold_in(input: &FoldInput) -> Result<Bytes, CrdtError> {
    let replica = match &input.snapshot {
        Some(snapshot) => CrdtDocument::from_snapshot(snapshot, PeerId(0))?,
        None => CrdtDocument::new(PeerId(0))?,
    };
    for update in &input.tail {
        if let Payload::Inline(bytes) = &update.payload {
            replica.import(bytes)?;
        }
    }
    replica.export_snapshot()
}

#[allow(clippy::disallowed_methods)] // Paused time, which the simulation controls.
fn now() -> Instant {
    Instant::now()
}
