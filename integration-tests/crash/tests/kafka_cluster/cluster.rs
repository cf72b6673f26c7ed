use async_trait::async_trait;
use crash::{Dependency, ServerCommand};
use document_types::{DocumentId, partition_of};
use kafka_broker::{ReplicatedPartition, Topic, new_replicated_topic};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// There is one cluster: a test has it to itself.
static CLUSTER: Mutex<()> = Mutex::const_new(());

/// The brokers, as one topic in them sees them.
pub struct Cluster {
    pub topic: Topic,
    /// The document's partition, known when the document is.
    partition: OnceCell<ReplicatedPartition>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// A cluster with a new topic, when no other test uses it.
    pub async fn new() -> Self {
        let turn = CLUSTER.lock().await;
        Self {
            topic: new_replicated_topic().await,
            partition: OnceCell::new(),
            _turn: turn,
        }
    }

    /// The real binary, as the node with this number, with its log in the topic.
    pub fn node(&self, number: u32) -> anyhow::Result<ServerCommand> {
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
impl Dependency for Cluster {
    fn name(&self) -> &'static str {
        "a broker"
    }

    async fn kill(&self, document: &DocumentId) -> anyhow::Result<()> {
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
