//! The servers: a log and a store that outlive everybody, nodes that live and die, and mergers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{HybridLogicalClock, IdSource, Offload, Random, SimulatedClock};
use collaboration::{CollaborationNode, CollaborationParts, NodeIdentity, OtherRegion};
use document_store::{
    DocumentStore, FaultCounts, Faults, NodeCeiling, SimulatedKv, SimulatedStore, StoreError,
};
use document_types::record::OpRecord;
use document_types::{LogOffset, LogPartition, NodeEpoch, NodeId, RegionId};
use merger::{Merger, MergerParts};
use op_log::{
    FaultChances, OpLog, PartitionShare, ReadLimit, RegionalLogs, SimulatedLog, SimulatedOpLog,
};
use service_api::EveryoneWrites;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use traces::Traces;

use crate::history::History;
use crate::ports::Ports;
use crate::trace::{Trace, note};
use crate::trial::{FaultyDryRun, TrialWeather};

/// When the simulated clocks begin: 2026-01-01, as good a day as any.
pub const START_MS: u64 = 1_767_225_600_000;
/// How long a node or merger that can't start waits before it tries again.
const START_RETRY: Duration = Duration::from_millis(100);
/// How often two mergers have the same partition for as long as a division holds,
const SHARED_CHANCE: f64 = 0.2;
/// and how often one does not hear of what it lost.
const UNHEARD_CHANCE: f64 = 0.2;

/// The servers of one region.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    region: RegionId,
    log: SimulatedLog,
    /// Copies of other regions' logs.
    copies: Vec<(RegionId, SimulatedLog)>,
    /// The other regions themselves.
    others: Mutex<Vec<OtherRegion>>,
    store: SimulatedStore,
    random: Random,
    trace: Trace,
    history: History,
    ports: Ports,
    tasks: TaskTracker,
    nodes: Vec<Node>,
    merger_clock: Arc<SimulatedClock>,
    mergers: Mutex<Vec<MergerLife>>,
    store_faults: Mutex<Faults>,
    trial_weather: TrialWeather,
    /// The handles of the lives that ended, for their counts.
    kvs: Mutex<Vec<SimulatedKv>>,
    ended: Mutex<BTreeSet<(NodeId, NodeEpoch)>>,
}

/// A machine that runs a node: its clock goes on while the node is dead.
struct Node {
    id: NodeId,
    clock: Arc<SimulatedClock>,
    life: Mutex<Standing>,
}

enum Standing {
    Dead,
    Starting,
    Alive(Life),
}

/// One life of a node.
#[derive(Clone)]
pub struct Life {
    /// What its clients talk to.
    pub service: CollaborationNode,
    /// Cancelled when the node dies, as a connection to it breaks.
    pub gone: CancellationToken,
    epoch: NodeEpoch,
    stop: CancellationToken,
    log: Arc<SimulatedOpLog>,
    kv: SimulatedKv,
}

/// One life of a merger.
struct MergerLife {
    merger: Arc<Merger>,
    /// Decides which partitions it has.
    share: watch::Sender<Option<BTreeSet<LogPartition>>>,
    stop: CancellationToken,
    log: Arc<SimulatedOpLog>,
    kv: SimulatedKv,
}

/// What a cluster is made of.
pub struct ClusterParts<'a> {
    /// How many machines run nodes.
    pub node_count: usize,
    /// Partitions of the log.
    pub partition_count: u32,
    /// All choices.
    pub random: &'a Random,
    /// The trace.
    pub trace: Trace,
    /// The facts.
    pub history: History,
    /// The ports as the services get them.
    pub ports: Ports,
}

impl Cluster {
    /// A log, a store, and machines without a life in them, in a region that knows of no other.
    pub fn new(parts: ClusterParts<'_>) -> Self {
        Self::in_region("local", Vec::new(), parts)
    }

    /// The same in one of several regions, of whose logs it has copies.
    pub fn in_region(
        region: &str,
        copies: Vec<(RegionId, SimulatedLog)>,
        parts: ClusterParts<'_>,
    ) -> Self {
        let ClusterParts { random, .. } = parts;
        let nodes = (0..)
            .take(parts.node_count)
            .map(|id| Node {
                id: NodeId(id),
                clock: Arc::new(SimulatedClock::starting_at(START_MS)),
                life: Mutex::new(Standing::Dead),
            })
            .collect();
        Self(Arc::new(Inner {
            region: RegionId::parse(region).expect("it is a valid id"),
            log: SimulatedLog::new(parts.partition_count, random, FaultChances::NONE),
            copies,
            others: Mutex::default(),
            store: SimulatedStore::new(),
            random: random.fork(),
            trace: parts.trace,
            history: parts.history,
            ports: parts.ports,
            tasks: TaskTracker::new(),
            nodes,
            merger_clock: Arc::new(SimulatedClock::starting_at(START_MS)),
            mergers: Mutex::default(),
            store_faults: Mutex::new(Faults::NONE),
            trial_weather: TrialWeather::default(),
            kvs: Mutex::default(),
            ended: Mutex::default(),
        }))
    }

    /// How many machines run nodes.
    pub fn node_count(&self) -> usize {
        self.0.nodes.len()
    }

    /// The region's name.
    pub fn region(&self) -> &RegionId {
        &self.0.region
    }

    /// Has nodes that start from now on offer another region what it lacks.
    pub fn knows(&self, other: OtherRegion) {
        lock(&self.0.others).push(other);
    }

    /// All logs that the region reads: its own by `own`, and the copies by handles of their own.
    pub fn logs(&self, own: Arc<dyn OpLog>) -> RegionalLogs {
        let mut logs = RegionalLogs::alone(self.0.region.clone(), own);
        for (region, copy) in &self.0.copies {
            logs = logs
                .with_copy(region.clone(), Arc::new(copy.connect()))
                .expect("all logs of a simulation have equally many partitions");
        }
        logs
    }

    /// The shared log.
    pub fn log(&self) -> &SimulatedLog {
        &self.0.log
    }

    /// Where background tasks run.
    pub fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// The machine's clock.
    pub fn node_clock(&self, node: usize) -> &SimulatedClock {
        &self.0.nodes[node].clock
    }

    /// The clock of the machine that mergers run on.
    pub fn merger_clock(&self) -> &SimulatedClock {
        &self.0.merger_clock
    }

    /// A handle on the shared store that never fails.
    pub async fn reliable_store(&self) -> DocumentStore {
        let kv = self.0.store.handle(self.0.random.fork(), Faults::NONE);
        let opened = DocumentStore::open(Arc::new(kv), self.0.random.fork()).await;
        opened.expect("a store without faults opens")
    }

    /// Sets what goes wrong in every store handle from here on.
    pub fn set_store_faults(&self, faults: Faults) {
        *lock(&self.0.store_faults) = faults;
        for node in &self.0.nodes {
            if let Standing::Alive(life) = &*lock(&node.life) {
                life.kv.set_faults(faults);
            }
        }
        for merger in &*lock(&self.0.mergers) {
            merger.kv.set_faults(faults);
        }
    }

    /// How often the nodes' dry runs are not there.
    pub fn trial_weather(&self) -> &TrialWeather {
        &self.0.trial_weather
    }

    /// The node's life, if it has one.
    pub fn life(&self, node: usize) -> Option<Life> {
        match &*lock(&self.0.nodes[node].life) {
            Standing::Alive(life) => Some(life.clone()),
            Standing::Dead | Standing::Starting => None,
        }
    }

    /// Whether all nodes live.
    pub fn is_whole(&self) -> bool {
        (0..self.node_count()).all(|node| self.life(node).is_some())
    }

    /// Begins a life of a dead node; it takes as long as it takes.
    pub fn start_node(&self, node: usize) {
        let mut life = lock(&self.0.nodes[node].life);
        if matches!(*life, Standing::Dead) {
            *life = Standing::Starting;
            self.0.tasks.spawn(self.clone().bring_up(node));
        }
    }

    async fn bring_up(self, node: usize) {
        let machine = &self.0.nodes[node];
        loop {
            let log = Arc::new(self.0.log.connect());
            let faults = *lock(&self.0.store_faults);
            let kv = self.0.store.handle(self.0.random.fork(), faults);
            lock(&self.0.kvs).push(kv.clone());
            match self.begin_life(machine, &log, &kv).await {
                Ok((service, epoch, stop)) => {
                    note!(
                        self.0.trace,
                        format!("node{node}"),
                        "is up in epoch {}",
                        epoch.0
                    );
                    let gone = CancellationToken::new();
                    let life = Life {
                        service,
                        gone,
                        epoch,
                        stop,
                        log,
                        kv,
                    };
                    *lock(&machine.life) = Standing::Alive(life);
                    return;
                }
                Err(error) => {
                    note!(self.0.trace, format!("node{node}"), "can't start: {error}");
                    tokio::time::sleep(START_RETRY).await;
                }
            }
        }
    }

    async fn begin_life(
        &self,
        machine: &Node,
        log: &Arc<SimulatedOpLog>,
        kv: &SimulatedKv,
    ) -> Result<(CollaborationNode, NodeEpoch, CancellationToken), StoreError> {
        let ports = self.0.ports;
        let store = DocumentStore::open(ports.kv(kv.clone()), self.0.random.fork()).await?;
        let life = store.take_node_epoch(machine.id).await?;
        let epoch = ports.epoch(life.epoch);
        let ceilings = ports.ceilings(NodeCeiling::new(store.clone(), machine.id, life.epoch));
        let stamps = HybridLogicalClock::new(machine.clock.clone(), ceilings, life.hlc_ceiling);
        let identity = NodeIdentity {
            region: self.0.region.clone(),
            node: machine.id,
            epoch,
        };
        let stop = CancellationToken::new();
        let service = CollaborationNode::new(CollaborationParts {
            identity,
            logs: self.logs(ports.log(log.clone(), machine.id)),
            other_regions: lock(&self.0.others).clone(),
            ids: IdSource::new(machine.clock.clone(), self.0.random.fork()),
            offload: Offload::InPlace,
            store,
            dry_run: ports.dry_run(FaultyDryRun::new(
                self.0.random.fork(),
                self.0.trial_weather.clone(),
            )),
            permissions: Arc::new(EveryoneWrites),
            clock: machine.clock.clone(),
            stamps: Arc::new(stamps),
            traces: Traces::off(),
            tasks: self.0.tasks.clone(),
            stop: stop.clone(),
        });
        Ok((service, epoch, stop))
    }

    /// Kills a node: what it has in flight is lost but for a first part, and nothing that is left of
    /// it reaches the log or the store any more. Says whether it lived.
    pub fn crash_node(&self, node: usize) -> bool {
        let mut standing = lock(&self.0.nodes[node].life);
        let Standing::Alive(life) = &*standing else {
            return false;
        };
        lock(&self.0.ended).insert((self.0.nodes[node].id, life.epoch));
        life.gone.cancel();
        cut_off(&life.log, &life.kv);
        life.stop.cancel();
        *standing = Standing::Dead;
        true
    }

    /// Has a node drain, as at a deployment: it answers what it was offered and ends. Says whether it
    /// lived.
    pub fn drain_node(&self, node: usize) -> bool {
        let mut standing = lock(&self.0.nodes[node].life);
        let Standing::Alive(life) = &*standing else {
            return false;
        };
        lock(&self.0.ended).insert((self.0.nodes[node].id, life.epoch));
        life.stop.cancel();
        *standing = Standing::Dead;
        true
    }

    /// Starts a merger, beside those that run already.
    pub fn start_merger(&self) {
        let cluster = self.clone();
        self.0.tasks.spawn(async move {
            loop {
                let faults = *lock(&cluster.0.store_faults);
                let kv = cluster.0.store.handle(cluster.0.random.fork(), faults);
                lock(&cluster.0.kvs).push(kv.clone());
                match cluster.begin_merger(kv).await {
                    Ok(life) => {
                        lock(&cluster.0.mergers).push(life);
                        break cluster.divide_partitions();
                    }
                    Err(_) => tokio::time::sleep(START_RETRY).await,
                }
            }
        });
    }

    async fn begin_merger(&self, kv: SimulatedKv) -> Result<MergerLife, StoreError> {
        let log = Arc::new(self.0.log.connect());
        let store = DocumentStore::open(self.0.ports.kv(kv.clone()), self.0.random.fork()).await?;
        let stop = CancellationToken::new();
        let clock = self.0.merger_clock.clone();
        let (share, known) = PartitionShare::decided_elsewhere();
        let merger = Merger::start(MergerParts {
            logs: self.logs(self.0.ports.merger_log(log.clone())),
            share: known,
            store,
            ids: IdSource::new(clock.clone(), self.0.random.fork()),
            clock,
            offload: Offload::InPlace,
            traces: Traces::off(),
            tasks: self.0.tasks.clone(),
            stop: stop.clone(),
        });
        Ok(MergerLife {
            merger: Arc::new(merger),
            share,
            stop,
            log,
            kv,
        })
    }

    /// Kills the merger that runs longest, if `spare` others stay. Says whether there was one.
    pub fn crash_merger(&self, spare: usize) -> bool {
        let mut mergers = lock(&self.0.mergers);
        if mergers.len() <= spare {
            return false;
        }
        let life = mergers.remove(0);
        cut_off(&life.log, &life.kv);
        life.stop.cancel();
        drop(mergers);
        self.divide_partitions();
        true
    }

    /// Divides the partitions among the mergers as a group would that has met anew: each has some
    /// merger, some have two, and a merger that lost one may not have heard of it yet.
    fn divide_partitions(&self) {
        let mergers = lock(&self.0.mergers);
        let mut shares = vec![BTreeSet::new(); mergers.len()];
        let random = &self.0.random;
        let draw = || usize::try_from(random.below(mergers.len() as u64)).unwrap_or_default();
        if shares.is_empty() {
            return;
        }
        for partition in (0..self.0.log.connect().partition_count()).map(LogPartition) {
            shares[draw()].insert(partition);
            if random.chance(SHARED_CHANCE) {
                shares[draw()].insert(partition);
            }
        }
        for (merger, mut share) in mergers.iter().zip(shares) {
            if random.chance(UNHEARD_CHANCE) {
                share.extend(merger.share.borrow().iter().flatten());
            }
            merger.share.send_replace(Some(share));
        }
    }

    /// How many mergers run.
    pub fn merger_count(&self) -> usize {
        lock(&self.0.mergers).len()
    }

    /// Whether the mergers have merged everything that the logs hold.
    pub async fn is_merged(&self) -> bool {
        let mergers: Vec<_> = lock(&self.0.mergers)
            .iter()
            .map(|life| life.merger.clone())
            .collect();
        let logs = self.logs(Arc::new(self.0.log.connect()));
        for partition in (0..logs.partition_count()).map(LogPartition) {
            for (source, log) in logs.sources(partition) {
                let Ok(tail) = log.tail(partition).await else {
                    return false;
                };
                let mut progress = mergers.iter().filter_map(|merger| merger.progress(&source));
                if !progress.any(|progress| progress.merged_end() >= tail) {
                    return false;
                }
            }
        }
        true
    }

    /// The lives that ended.
    pub fn ended_lives(&self) -> BTreeSet<(NodeId, NodeEpoch)> {
        lock(&self.0.ended).clone()
    }

    /// What went wrong in the store, over all handles.
    pub fn store_fault_counts(&self) -> FaultCounts {
        let mut all = FaultCounts::default();
        for kv in &*lock(&self.0.kvs) {
            let counts = kv.fault_counts();
            all.conflict += counts.conflict;
            all.unknown_committed += counts.unknown_committed;
            all.unknown_lost += counts.unknown_lost;
            all.too_old += counts.too_old;
        }
        all
    }

    /// Every record of the log, in order.
    pub async fn all_records(&self) -> Vec<(LogPartition, LogOffset, OpRecord)> {
        let log = self.0.log.connect();
        let mut records = Vec::new();
        for partition in (0..log.partition_count()).map(LogPartition) {
            let tail = log
                .tail(partition)
                .await
                .expect("a log without faults can be read");
            let mut from = LogOffset(0);
            while from < tail {
                let entries = log.read(partition, from, ReadLimit::default()).await;
                for entry in entries.expect("a log without faults can be read") {
                    from = entry.offset.next();
                    match OpRecord::decode(entry.record) {
                        Ok(record) => records.push((partition, entry.offset, record)),
                        Err(error) => self.0.history.violation(format!(
                            "partition {partition}, offset {}: {error}",
                            entry.offset
                        )),
                    }
                }
            }
        }
        records
    }

    /// Everything stops.
    pub fn stop(&self) {
        for node in 0..self.node_count() {
            self.crash_node(node);
        }
        while self.crash_merger(0) {}
    }

    /// A second store, which a merger of its own fills from the log's first record on.
    pub async fn rebuild(&self) -> DocumentStore {
        let kv = SimulatedStore::new().handle(self.0.random.fork(), Faults::NONE);
        let store = DocumentStore::open(Arc::new(kv), self.0.random.fork())
            .await
            .expect("a store without faults opens");
        let log: Arc<dyn OpLog> = self.0.ports.merger_log(Arc::new(self.0.log.connect()));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let clock = self.0.merger_clock.clone();
        let merger = Merger::start(MergerParts {
            share: PartitionShare::all(log.partition_count()),
            logs: self.logs(log),
            store: store.clone(),
            ids: IdSource::new(clock.clone(), self.0.random.fork()),
            clock,
            offload: Offload::InPlace,
            traces: Traces::off(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        merger
            .caught_up()
            .await
            .expect("a log without faults can be read");
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        store
    }
}

/// What a process had in flight is lost but for a first part, and it reaches nothing any more.
fn cut_off(log: &SimulatedOpLog, kv: &SimulatedKv) {
    log.crash();
    kv.set_faults(Faults {
        unreachable: true,
        ..Faults::NONE
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under a lock is a failed simulation, which goes no further.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
