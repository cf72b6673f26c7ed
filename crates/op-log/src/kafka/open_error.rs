use std::fmt;

use rdkafka::error::KafkaError;

/// Why a log in Kafka does not open.
#[derive(Debug, thiserror::Error)]
pub enum KafkaOpenError {
    /// No broker answered.
    #[error(
        "no Kafka broker answers; check that the brokers run and that their addresses, also those \
         that they advertise, are reachable from here"
    )]
    Unreachable(#[source] KafkaError),
    /// The brokers don't say which cluster they are.
    #[error("Kafka does not tell its cluster's id; brokers of version 0.10.1 and later do")]
    NoClusterId,
    /// The topic is not there.
    #[error("Kafka has no topic {topic:?}; create it as infra/kafka describes")]
    NoSuchTopic {
        /// The name asked for.
        topic: String,
    },
    /// The brokers don't tell the topic's settings.
    #[error(
        "Kafka does not tell the settings of topic {topic:?}; this node needs the permission \
         DescribeConfigs on it"
    )]
    NotDescribed {
        /// The topic.
        topic: String,
        /// What the brokers say.
        source: KafkaError,
    },
    /// The partition count is 0 or more than a log may have.
    #[error("a log can't have {configured} partitions; 1 to {partitions_max} are possible")]
    InvalidPartitionCount {
        /// The count asked for.
        configured: u32,
        /// The most there may be.
        partitions_max: u32,
    },
    /// The topic can't do what the log promises.
    #[error(
        "topic {topic:?} can't keep the log's promises:{}",
        .shortcomings.iter().map(|each| format!("\n  - {each}")).collect::<String>()
    )]
    Unfit {
        /// The topic.
        topic: String,
        /// All that has to change.
        shortcomings: Vec<Shortcoming>,
    },
    /// The client does not start.
    #[error("Kafka's client can't be started")]
    Client(#[from] KafkaError),
    /// The thread that follows the tails does not start.
    #[error("the thread that follows the log's tails can't be started")]
    Thread(#[source] std::io::Error),
}

/// Something about a topic that has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcoming {
    /// Kafka's name for it.
    pub setting: &'static str,
    /// What it is.
    pub found: String,
    /// What to do, and why.
    pub remedy: String,
    /// Whether the log works with it nonetheless and only may lose what was acknowledged.
    pub only_for_development: bool,
}

impl fmt::Display for Shortcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}; {}", self.setting, self.found, self.remedy)
    }
}
