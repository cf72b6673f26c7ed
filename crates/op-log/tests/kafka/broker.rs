use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use op_log::KafkaLogOptions;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// A variable that `cargo xtask test` sets.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set, so there is no broker to test against: run \
             `cargo xtask test --only kafka`, or see `cargo xtask parts --help`"
        )
    })
}

/// The broker's address.
pub fn address() -> String {
    variable("COLLABEDIT_TEST_KAFKA")
}

/// What opens a new topic of two partitions that has these settings besides those that
/// `infra/kafka` describes. There is one broker, hence one replica.
pub async fn new_topic(settings: &[(&str, &str)]) -> KafkaLogOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let topic = format!("test-{}-{number}", now.as_millis());

    let described = include_str!("../../../../infra/kafka/doc_changes.properties");
    let mut new = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    let lines = described.lines().filter(|line| !line.starts_with('#'));
    for (name, value) in lines.filter_map(|line| line.split_once('=')) {
        new = new.set(name, value);
    }
    new = new.set("min.insync.replicas", "1");
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address())
        .create()
        .unwrap();
    let admin = Arc::new(admin);
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let created = admin.create_topics(&[new], &options).await.unwrap();
    created.into_iter().next().unwrap().unwrap();
    // The broker says that it is created before it leads it.
    let leads = async |partition| {
        let (admin, topic) = (Arc::clone(&admin), topic.clone());
        let asked = move || {
            let time_max = Duration::from_secs(10);
            admin.inner().fetch_watermarks(&topic, partition, time_max)
        };
        tokio::task::spawn_blocking(asked).await.unwrap().is_ok()
    };
    while !(leads(0).await && leads(1).await) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    KafkaLogOptions {
        bootstrap_servers: address(),
        topic,
        partition_count: 2,
        development: true,
    }
}
