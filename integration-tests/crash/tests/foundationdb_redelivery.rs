//! Mergers that are given records again, hang, go on, leave and join bring a store where one merger brings
//! it that reads the log once. `cargo xtask test --foundationdb` runs it, with a server that was built for
//! FoundationDB.

#[path = "foundationdb_redelivery/redelivering_log.rs"]
mod redelivering_log;
#[allow(dead_code)] // The other test kills it as well.
#[path = "foundationdb/store.rs"]
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use clock::{Clock, IdSource, Offload, Random, SystemClock};
use crash::{Deployment, Load, ServerCommand, assert_kept, mergers_come_and_go};
use document_store::values::Operation;
use document_store::{
    DocumentStore, Faults, FoundationDbKv, FoundationDbNetwork, FoundationDbOptions, OrderedKv,
    SimulatedStore,
};
use document_types::{DocumentId, LogOffset, LogSource, RegionId, VersionVector};
use kafka_broker::{Topic, new_topic};
use merger::{Merger, MergerParts};
use op_log::{KafkaLogOptions, KafkaOpLog, OpLog, PartitionShare, RegionalLogs};
use redelivering_log::RedeliveringLog;
use store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use traces::Traces;

/// How often a merger leaves or joins, once a second.
const MEETINGS: u32 = 60;
/// The region that servers are in if nobody says otherwise.
const REGION: &str = "local";

/// What admission has made of a document, in a form that tells it if anything was let in twice, in another
/// order, or not at all.
#[derive(Debug, PartialEq)]
struct State {
    update_count: u64,
    operation_count: u64,
    update_bytes: u64,
    pending_count: u64,
    last_hlc: u64,
    set_hash: Bytes,
    frontiers: Vec<Operation>,
    version: VersionVector,
    applied: BTreeMap<LogSource, LogOffset>,
}

impl State {
    async fn of(store: &DocumentStore) -> anyhow::Result<Self> {
        let loaded = store.load_admission(&DocumentId::parse("crash")?).await?;
        let head = loaded.head;
        Ok(Self {
            update_count: head.update_count,
            operation_count: head.operation_count,
            update_bytes: head.update_bytes,
            pending_count: head.pending_count,
            last_hlc: head.last_hlc,
            set_hash: head.set_hash,
            frontiers: head.frontiers,
            version: loaded.admission.version().clone(),
            applied: loaded.applied,
        })
    }
}

/// A merger of all partitions in this process.
fn merge(log: Arc<dyn OpLog>, store: &DocumentStore, stop: &CancellationToken) -> Merger {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let region = RegionId::parse(REGION).expect("a short word");
    Merger::start(MergerParts {
        share: PartitionShare::all(log.partition_count()),
        logs: RegionalLogs::alone(region, log),
        store: store.clone(),
        ids: IdSource::new(clock.clone(), Random::from_entropy()),
        clock,
        offload: Offload::Threads,
        traces: Traces::off(),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    })
}

async fn open(kv: impl OrderedKv) -> anyhow::Result<DocumentStore> {
    Ok(DocumentStore::open(Arc::new(kv), Random::from_entropy()).await?)
}

/// The store that a deployment has in the cluster, or a new one.
async fn in_cluster(network: &FoundationDbNetwork, store: &Store) -> anyhow::Result<DocumentStore> {
    let options = FoundationDbOptions {
        cluster_file: Store::cluster_file().into(),
        prefix: store.prefix.clone().into(),
    };
    open(FoundationDbKv::open(network, &options)?).await
}

/// Lets a deployment fill `topic` while its mergers are disturbed, and says whether it kept its promises.
async fn deploy(topic: &Topic, store: &Store) -> anyhow::Result<()> {
    let load = Load::with_kills(1)?;
    let node = |number| {
        let node = ServerCommand::real()?
            .with(&format!("node={number}"))
            .with_topic_on_one_broker(&topic.bootstrap_servers, &topic.name, topic.partition_count);
        Ok(store.of(node))
    };
    let rooms = r#"["collaboration", "history"]"#;
    let merger = r#"["merger"]"#;
    let deployment = Deployment::new(node, &[rooms, rooms, merger, merger, merger])?;
    let report = mergers_come_and_go(&deployment, MEETINGS, &load).await?;
    assert_kept(&report, &load);
    Ok(())
}

async fn disturbed_mergers_merge_once(network: &FoundationDbNetwork) -> anyhow::Result<()> {
    let topic = new_topic(&[]).await;
    let disturbed = Store::new();
    deploy(&topic, &disturbed).await?;

    let options = KafkaLogOptions {
        bootstrap_servers: topic.bootstrap_servers,
        topic: topic.name,
        partition_count: topic.partition_count,
        development: true,
    };
    let log = Arc::new(KafkaOpLog::open(&options).await?);
    let stop = CancellationToken::new();

    let once = open(SimulatedStore::new().handle(Random::from_entropy(), Faults::NONE)).await?;
    merge(log.clone(), &once, &stop).caught_up().await?;
    let expected = State::of(&once).await?;

    // Two mergers that both take all of it, so that each also meets what the other has done.
    let again = in_cluster(network, &Store::new()).await?;
    let logs = [1, 2].map(|seed| Arc::new(RedeliveringLog::new(log.clone(), seed)));
    let mergers = logs.each_ref().map(|log| merge(log.clone(), &again, &stop));
    for merger in &mergers {
        merger.caught_up().await?;
    }
    stop.cancel();

    let mut records_count = 0;
    for partition in (0..topic.partition_count).map(document_types::LogPartition) {
        records_count += log.tail(partition).await?.0;
    }
    let delivered = logs.each_ref().map(|log| log.delivered_count());
    println!("{records_count} records, delivered {delivered:?} times: {expected:?}");
    assert!(delivered.iter().sum::<u64>() > 2 * records_count);
    assert!(expected.update_count > 0);
    assert_eq!(State::of(&again).await?, expected, "delivered again");
    // What was still on its way when the processes were ended.
    let disturbed = in_cluster(network, &disturbed).await?;
    let rest = CancellationToken::new();
    merge(log.clone(), &disturbed, &rest).caught_up().await?;
    rest.cancel();
    assert_eq!(State::of(&disturbed).await?, expected, "disturbed");
    log.close().await;
    Ok(())
}

#[test]
fn what_is_delivered_again_to_mergers_that_hang_leave_and_join_is_merged_once() -> anyhow::Result<()>
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    FoundationDbNetwork::run(|network| runtime.block_on(disturbed_mergers_merge_once(network)))?
}
