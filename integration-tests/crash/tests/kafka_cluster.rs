//! Servers whose log is on three Kafka brokers, configured as a deployment's, keep their promises while
//! the broker that leads their document's partition is killed. It is a program of its own, since nothing
//! else may use the brokers meanwhile; `cargo xtask test --only kafka` runs it.

use async_trait::async_trait;
use crash::{
    Brokers, Deployment, Load, ServerCommand, assert_kept, brokers_come_back,
    deployment_and_brokers_come_back,
};
use document_types::{DocumentId, partition_of};
use kafka_broker::{ReplicatedPartition, Topic, new_replicated_topic};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// There is one cluster: a test has it to itself.
static CLUSTER: Mutex<()> = Mutex::const_new(());

/// The brokers, as one topic in them sees them.
struct Cluster {
    topic: Topic,
    /// The document's partition, known when the document is.
    partition: OnceCell<ReplicatedPartition>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// A cluster with a new topic, when no other test uses it.
    async fn new() -> Self {
        let turn = CLUSTER.lock().await;
        Self {
            topic: new_replicated_topic().await,
            partition: OnceCell::new(),
            _turn: turn,
        }
    }

    /// The real binary, as the node with this number, with its log in the topic.
    fn node(&self, number: u32) -> anyhow::Result<ServerCommand> {
        let Topic {
            bootstrap_servers,
            name,
            partition_count,
        } = &self.topic;
        Ok(ServerCommand::real()?
            .with(&format!("node={number}"))
            .with_topic(bootstrap_servers, name, *partition_count))
    }
}

#[async_trait]
impl Brokers for Cluster {
    async fn kill_leader(&self, document: &DocumentId) -> anyhow::Result<()> {
        let number = partition_of(document, self.topic.partition_count).0;
        let partition = async { ReplicatedPartition::new(&self.topic, number) };
        self.partition
            .get_or_init(|| partition)
            .await
            .kill_leader()
            .await;
        Ok(())
    }

    async fn recover(&self) -> anyhow::Result<()> {
        if let Some(partition) = self.partition.get() {
            partition.recover().await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_server_whose_partitions_leader_is_killed_loses_doubles_and_invents_nothing()
-> anyhow::Result<()> {
    // A broker takes some seconds to come back.
    let load = Load::with_kills(3)?;
    let cluster = Cluster::new().await;
    let report = brokers_come_back(&[cluster.node(1)?], &cluster, &load).await?;
    assert_kept(&report, &load);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_deployment_that_is_killed_in_turn_with_its_brokers_loses_and_doubles_nothing()
-> anyhow::Result<()> {
    // Two gateways, two nodes, and a broker.
    let load = Load::with_kills(5)?;
    let cluster = Cluster::new().await;
    let roles = r#"["collaboration", "merger", "history"]"#;
    let deployment = Deployment::new(|number| cluster.node(number), &[roles, roles])?;
    let report = deployment_and_brokers_come_back(&deployment, &cluster, &load).await?;
    assert_kept(&report, &load);
    Ok(())
}
