use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use test_parts::parts;
use tokio::time::{Instant, sleep};

use crate::{CLUSTER, REPLICAS, Topic};

/// How long the brokers may take for anything before the test has failed.
const WAIT_MAX: Duration = Duration::from_secs(120);
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long one question may take. It may go to the broker that is dead, and is asked again then.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(2);

/// One partition of a topic that all brokers of the cluster have, and the broker that leads it, which
/// can be killed.
pub struct ReplicatedPartition {
    client: Arc<BaseConsumer>,
    topic: String,
    number: i32,
    killed: Mutex<Option<i32>>,
}

/// What a broker says of a partition.
#[derive(Clone, Debug)]
struct Standing {
    leader: i32,
    in_sync: Vec<i32>,
}

impl ReplicatedPartition {
    /// The partition of `topic` with this number.
    ///
    /// # Panics
    /// If the client can't be made.
    pub fn new(topic: &Topic, number: u32) -> Self {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &topic.bootstrap_servers)
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .unwrap();
        Self {
            client: Arc::new(client),
            topic: topic.name.clone(),
            number: number.cast_signed(),
            killed: Mutex::new(None),
        }
    }

    /// Kills the broker that leads the partition, as `kill -9` does, and says which it was. All brokers
    /// have to be in sync, so that two are left that have everything: it waits for that.
    ///
    /// # Panics
    /// If the brokers are not in sync in time, or there is no `cargo xtask parts` to kill one with.
    pub async fn kill_leader(&self) -> i32 {
        let all_in_sync = |standing: &Standing| standing.in_sync.len() == REPLICAS;
        let leader = self
            .until("all brokers are in sync", all_in_sync)
            .await
            .leader;
        *self.killed.lock().unwrap() = Some(leader);
        parts(&["kill", CLUSTER, &leader.to_string()]).await;
        leader
    }

    /// Waits until another broker leads the partition, starts the one that was killed again, and waits
    /// until it is in sync. Nothing is to be done if none was killed.
    ///
    /// # Panics
    /// If any of that does not happen in time.
    pub async fn recover(&self) {
        let Some(killed) = self.killed.lock().unwrap().take() else {
            return;
        };
        // Otherwise what the brokers say next could be what was so before the kill.
        let is_replaced =
            |standing: &Standing| standing.leader >= 0 && !standing.in_sync.contains(&killed);
        self.until("another broker leads", is_replaced).await;
        parts(&["up", CLUSTER]).await;
        let is_back = |standing: &Standing| standing.in_sync.len() == REPLICAS;
        self.until("the killed broker is in sync", is_back).await;
    }

    /// Waits until what the brokers say of the partition is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Standing) -> bool) -> Standing {
        let deadline = Instant::now() + WAIT_MAX;
        let mut last = None;
        loop {
            if let Some(standing) = self.standing().await {
                if is_so(&standing) {
                    return standing;
                }
                last = Some(standing);
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}: partition {} of {} is at {last:?}; see target/parts",
                self.number,
                self.topic
            );
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// What a broker says of the partition, if one answers.
    async fn standing(&self) -> Option<Standing> {
        let (client, topic) = (Arc::clone(&self.client), self.topic.clone());
        let number = self.number;
        let asked = move || {
            let metadata = client
                .fetch_metadata(Some(&topic), QUESTION_TIME_MAX)
                .ok()?;
            let mut partitions = metadata.topics().first()?.partitions().iter();
            let partition = partitions.find(|partition| partition.id() == number)?;
            Some(Standing {
                leader: partition.leader(),
                in_sync: partition.isr().to_vec(),
            })
        };
        tokio::task::spawn_blocking(asked).await.unwrap()
    }
}
