//! The Kafka brokers that `cargo xtask test` starts, topics of their own in them for tests, and the way
//! to kill the broker that leads a partition.
//!
//! Such a test says `#[ignore = "needs Kafka: cargo xtask test --only kafka"]`, and its program's name
//! begins with `kafka`, by which that step finds it.
#![allow(clippy::unwrap_used)] // For tests.
#![allow(clippy::disallowed_methods)] // A topic is named after the time.

mod partition;
mod regions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use test_parts::{parts, variable};

pub use partition::ReplicatedPartition;
pub use regions::{Region, WideArea, new_regions, new_regions_apart};

const PARTITION_COUNT: u32 = 2;
/// Brokers of the cluster, each of which has everything.
const REPLICAS: usize = 3;

/// A topic that nobody else uses.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The brokers' addresses, with commas between.
    pub bootstrap_servers: String,
    /// The topic's name.
    pub name: String,
    /// Its partitions.
    pub partition_count: u32,
}

/// What `cargo xtask parts` calls the three brokers.
const CLUSTER: &str = "kafka-cluster";

/// Makes a topic of two partitions that has these settings besides those that `infra/kafka` describes,
/// in the broker that is alone, hence with one replica.
///
/// # Panics
/// If there is no broker, or it refuses.
pub async fn new_topic(settings: &[(&str, &str)]) -> Topic {
    let bootstrap_servers = variable("COLLABEDIT_TEST_KAFKA");
    let settings = [&[("min.insync.replicas", "1")], settings].concat();
    create_named(&bootstrap_servers, &topic_name(), 1, &settings).await
}

/// Makes a topic of two partitions as `infra/kafka` describes it, in the cluster of three brokers: what
/// a node takes for its log without `log.kafka.development`.
///
/// # Panics
/// If there is no such cluster, or it refuses.
pub async fn new_replicated_topic() -> Topic {
    let bootstrap_servers = variable("COLLABEDIT_TEST_KAFKA_CLUSTER");
    // A test before that failed may have left one of them dead.
    parts(&["up", CLUSTER]).await;
    create_named(&bootstrap_servers, &topic_name(), REPLICAS, &[]).await
}

fn topic_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", now.as_millis())
}

async fn create_named(
    bootstrap_servers: &str,
    topic: &str,
    replicas: usize,
    settings: &[(&str, &str)],
) -> Topic {
    let described = include_str!("../../../infra/kafka/doc_changes.properties");
    let mut new = NewTopic::new(
        topic,
        PARTITION_COUNT.cast_signed(),
        TopicReplication::Fixed(i32::try_from(replicas).unwrap()),
    );
    let lines = described.lines().filter(|line| !line.starts_with('#'));
    for (name, value) in lines.filter_map(|line| line.split_once('=')) {
        new = new.set(name, value);
    }
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .create()
        .unwrap();
    let admin = Arc::new(admin);
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let created = admin.create_topics(&[new], &options).await.unwrap();
    created.into_iter().next().unwrap().unwrap();
    // The broker says that it is created before it leads it.
    let leads = async |partition| {
        let (admin, topic) = (Arc::clone(&admin), topic.to_owned());
        let asked = move || {
            let time_max = Duration::from_secs(10);
            admin.inner().fetch_watermarks(&topic, partition, time_max)
        };
        tokio::task::spawn_blocking(asked).await.unwrap().is_ok()
    };
    while !(leads(0).await && leads(1).await) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Topic {
        bootstrap_servers: bootstrap_servers.to_owned(),
        name: topic.to_owned(),
        partition_count: PARTITION_COUNT,
    }
}
