//! Two regions that copy their logs to each other by something slow, repetitive and sometimes cut off,
//! and in half of the runs forgetful. Once all is well again, both have everything that was written in
//! either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clock::{IdSource, Random, SimulatedClock};
use collaboration::OtherRegion;
use document_store::Faults;
use document_types::limits::ANTI_ENTROPY_INTERVAL;
use document_types::{
    DeviceId, DocumentId, ErrorCode, LogOffset, LogPartition, Principal, RegionId, UserId,
};
use history::HistoryNode;
use op_log::{FaultChances, OpLog, ReadLimit, SimulatedLog};
use service_api::{Collaboration, JoinError, JoinRequest, Joined, WireKind};

use crate::client::{Client, ClientHandle, ClientParts, Command, Report};
use crate::cluster::{Cluster, ClusterParts, START_MS};
use crate::counters::Counters;
use crate::history::History;
use crate::panics;
use crate::ports::Ports;
use crate::run::read;
use crate::trace::{Trace, note};

/// Seeds of one run of the suite.
const SEEDS: u64 = 200;
/// Partitions of each log.
const PARTITIONS: u32 = 2;
/// Nodes of each region.
const NODES: usize = 2;
/// What happens in a run.
const EVENTS: u64 = 150;
/// How long a record is on its way to the other region at most, while nothing is cut.
const WAY_MAX: Duration = Duration::from_millis(300);
/// How far the copying goes back at most when it begins again.
const REPEATED_MAX: u64 = 5;
/// How long it may take after the last fault until everybody has everything: a lost record is noticed
/// when it was here at one comparison and lacks there at the next, and then the answer may be late.
const SETTLE_TIME_MAX: Duration = ANTI_ENTROPY_INTERVAL.saturating_mul(5);
/// How often that is looked at.
const SETTLE_LOOK: Duration = Duration::from_millis(500);

/// What lies between the regions.
#[derive(Clone, Default)]
struct Link(Arc<AtomicBool>);

impl Link {
    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set_cut(&self, is_cut: bool) {
        self.0.store(is_cut, Ordering::Relaxed);
    }
}

/// The copying of one region's log to another region.
#[derive(Clone)]
struct Mirror {
    source: SimulatedLog,
    copy: SimulatedLog,
    random: Random,
    /// How likely a record is lost.
    lost: f64,
    link: Link,
}

impl Mirror {
    /// Copies one partition for ever.
    async fn copy(self, partition: LogPartition) {
        let (source, copy) = (self.source.connect(), self.copy.connect());
        let one = ReadLimit {
            entries_max: 1,
            bytes_max: 0,
        };
        let mut position = LogOffset(0);
        loop {
            let Ok(entries) = source.read(partition, position, one).await else {
                tokio::time::sleep(WAY_MAX).await;
                continue;
            };
            tokio::time::sleep(self.random.jitter(WAY_MAX)).await;
            while self.link.is_cut() {
                tokio::time::sleep(WAY_MAX).await;
            }
            for entry in entries {
                position = entry.offset.next();
                if !self.random.chance(self.lost) {
                    let appended = copy.append(partition, &entry.document, entry.record);
                    appended.await.expect("nothing goes wrong with a copy");
                }
            }
            if self.random.chance(0.05) {
                let repeated = self.random.below(REPEATED_MAX);
                position = LogOffset(position.0.saturating_sub(repeated));
            }
        }
    }
}

/// A region as another one sees it: some node of it, if any lives and nothing is cut.
struct Door {
    cluster: Cluster,
    link: Link,
}

#[async_trait]
impl Collaboration for Door {
    async fn join(&self, request: JoinRequest) -> Result<Joined, JoinError> {
        let nodes = 0..self.cluster.node_count();
        let life = nodes.filter_map(|node| self.cluster.life(node)).next();
        match life {
            Some(life) if !self.link.is_cut() => life.service.join(request).await,
            _ => Err(JoinError {
                code: ErrorCode::Unavailable,
                message: "the region can't be reached".to_owned(),
            }),
        }
    }
}

/// Two regions with their clients.
struct Regions {
    random: Random,
    trace: Trace,
    history: History,
    clusters: [Cluster; 2],
    clients: Vec<ClientHandle>,
    document: DocumentId,
    link: Link,
    is_forgetful: bool,
}

impl Regions {
    fn new(seed: u64) -> Self {
        let random = Random::from_seed(seed);
        let (trace, history) = (Trace::begin(), History::default());
        let link = Link::default();
        let names = ["eu", "us"];
        let id = |name| RegionId::parse(name).expect("it is an id");
        let copy = || SimulatedLog::new(PARTITIONS, &random, FaultChances::NONE);
        let copies = [copy(), copy()];
        let clusters = [0, 1].map(|here| {
            let there = 1 - here;
            let parts = ClusterParts {
                node_count: NODES,
                partition_count: PARTITIONS,
                random: &random,
                trace: trace.clone(),
                history: history.clone(),
                ports: Ports::default(),
            };
            let copied = vec![(id(names[there]), copies[there].clone())];
            Cluster::in_region(names[here], copied, parts)
        });
        let is_forgetful = random.chance(0.5);
        let lost = if is_forgetful { 0.1 } else { 0.0 };
        for here in [0, 1] {
            let there = 1 - here;
            let mirror = Mirror {
                source: clusters[here].log().clone(),
                copy: copies[here].clone(),
                random: random.fork(),
                lost,
                link: link.clone(),
            };
            for partition in (0..PARTITIONS).map(LogPartition) {
                clusters[here].tasks().spawn(mirror.clone().copy(partition));
            }
            let door = Door {
                cluster: clusters[there].clone(),
                link: link.clone(),
            };
            clusters[here].knows(OtherRegion {
                region: id(names[there]),
                collaboration: Arc::new(door),
            });
        }
        Self {
            random,
            trace,
            history,
            clusters,
            clients: Vec::new(),
            document: DocumentId::parse("doc_1").expect("it is an id"),
            link,
            is_forgetful,
        }
    }

    async fn start(&mut self) {
        for cluster in &self.clusters {
            for node in 0..NODES {
                cluster.start_node(node);
            }
            cluster.start_merger();
        }
        for number in 0..4 {
            let clock = Arc::new(SimulatedClock::starting_at(START_MS));
            let client = Client::start(ClientParts {
                name: format!("client{number}"),
                principal: Principal {
                    user: UserId::parse(&format!("usr_{number}")).expect("it is an id"),
                    device: DeviceId::parse("dev_1").expect("it is an id"),
                },
                document: self.document.clone(),
                node: number % NODES,
                kind: [WireKind::CollabEdit, WireKind::Stock][usize::from(number == 3)],
                random: self.random.fork(),
                ids: IdSource::new(clock, self.random.fork()),
                cluster: self.clusters[number / 2].clone(),
                history: self.history.clone(),
                trace: self.trace.clone(),
            });
            client.tell(Command::GoOnline).await;
            self.clients.push(client);
        }
    }

    fn draw<'a, T>(&self, all: &'a [T]) -> &'a T {
        let place = self.random.below(all.len() as u64);
        &all[usize::try_from(place).expect("it is below a length")]
    }

    #[allow(clippy::cast_possible_truncation)] // Any place will do.
    async fn happen(&self) {
        tokio::time::sleep(self.random.jitter(Duration::from_millis(400))).await;
        let (client, cluster) = (self.draw(&self.clients), self.draw(&self.clusters));
        let place = self.random.next_u64() as u32;
        let node = self.random.below(NODES as u64) as usize;
        match self.random.below(100) {
            0..60 => client.tell(Command::Insert { place, count: 2 }).await,
            60..75 => client.tell(Command::Delete { place, count: 1 }).await,
            75..78 => client.tell(Command::GoOffline).await,
            78..83 => client.tell(Command::GoOnline).await,
            83..85 => self.link.set_cut(true),
            85..88 => self.link.set_cut(false),
            88..90 => _ = cluster.crash_node(node),
            90..94 => cluster.start_node(node),
            94..95 => _ = cluster.crash_merger(0),
            95..97 => cluster.start_merger(),
            97..98 => cluster
                .log()
                .set_chances(FaultChances::swarm(&self.random.fork())),
            98..99 => cluster.set_store_faults(Faults::stormy(0.05)),
            _ => {
                cluster.log().set_chances(FaultChances::NONE);
                cluster.set_store_faults(Faults::NONE);
            }
        }
    }

    /// From here on nothing goes wrong any more, but what is lost is lost.
    async fn heal(&self) {
        note!(self.trace, "plan", "all is well from here on");
        self.link.set_cut(false);
        for cluster in &self.clusters {
            cluster.log().set_chances(FaultChances::NONE);
            cluster.set_store_faults(Faults::NONE);
            for node in 0..NODES {
                cluster.start_node(node);
            }
            if cluster.merger_count() == 0 {
                cluster.start_merger();
            }
        }
        for client in &self.clients {
            client.tell(Command::GoOnline).await;
        }
    }

    /// Waits until both regions have everything; says whether that came to be.
    async fn settle(&self) -> bool {
        let settling = async {
            while !self.is_settled().await {
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        tokio::time::timeout(SETTLE_TIME_MAX, settling)
            .await
            .is_ok()
    }

    async fn is_settled(&self) -> bool {
        let mut versions = Vec::new();
        for client in &self.clients {
            let standing = client.standing().await;
            if !standing.is_settled {
                return false;
            }
            versions.push(standing.version);
        }
        for cluster in &self.clusters {
            let store = cluster.reliable_store().await;
            match store.version_vector(&self.document).await {
                Ok(version) => versions.push(version),
                Err(_) => return false,
            }
        }
        versions.windows(2).all(|two| two[0] == two[1])
    }

    async fn reports(&self) -> Vec<(String, Report)> {
        let mut reports = Vec::new();
        for client in &self.clients {
            reports.push((client.name.clone(), client.report().await));
        }
        for cluster in &self.clusters {
            for (what, store) in [
                ("stored", cluster.reliable_store().await),
                ("rebuilt", cluster.rebuild().await),
            ] {
                let logs = cluster.logs(Arc::new(cluster.log().connect()));
                let history = HistoryNode::new(logs, store);
                let name = format!("what {} has {what}", cluster.region());
                reports.push((name, read(&history, &self.document).await));
            }
        }
        reports
    }

    /// What must never be, and was.
    async fn run(mut self) -> (Vec<String>, String) {
        self.start().await;
        for _ in 0..EVENTS {
            self.happen().await;
        }
        self.heal().await;
        if self.settle().await {
            let reports = self.reports().await;
            for two in reports.windows(2) {
                if two[0].1 != two[1].1 {
                    self.history.violation(format!("{two:?}"));
                }
            }
        } else {
            for client in &self.clients {
                let (name, standing) = (&client.name, client.standing().await);
                self.history
                    .violation(format!("{name} is behind: {standing:?}"));
            }
        }
        for cluster in &self.clusters {
            cluster.stop();
        }
        (self.history.facts().violations.clone(), self.trace.text())
    }
}

/// What came of a run.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    violations: Vec<String>,
    trace: String,
    /// Records that mergers found missing.
    missing: u64,
    /// Operations that a region was offered by the other.
    healed: u64,
}

fn run(seed: u64) -> Outcome {
    panics::watch();
    let counters = Counters::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    let (is_forgetful, (mut violations, trace)) = metrics::with_local_recorder(&counters, || {
        runtime.block_on(async {
            let regions = Regions::new(seed);
            (regions.is_forgetful, regions.run().await)
        })
    });
    violations.extend(panics::take());
    let missing = counters.count(merger::metrics::RECORDS_MISSING);
    if missing > 0 && !is_forgetful {
        violations.push(format!("{missing} records are missing, and none was lost"));
    }
    Outcome {
        violations,
        trace,
        missing,
        healed: counters.count(collaboration::metrics::OPERATIONS_HEALED),
    }
}

#[test]
fn two_regions_come_to_have_the_same() {
    let (mut missing, mut healed) = (0, 0);
    for seed in 1..=SEEDS {
        let outcome = run(seed);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}: {:#?}\n{}",
            outcome.violations,
            outcome.trace
        );
        missing += outcome.missing;
        healed += outcome.healed;
    }
    println!("{missing} records were found missing, {healed} operations were offered");
    assert!(missing > 0 && healed > SEEDS);
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(run(7), run(7));
}
