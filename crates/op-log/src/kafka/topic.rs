//! Whether a topic can keep what the log promises.

use std::collections::BTreeMap;

use document_types::limits::{
    KAFKA_ANSWER_TIME_MAX, KAFKA_IN_SYNC_REPLICAS_MIN, KAFKA_MESSAGE_BYTES_MAX, KAFKA_REPLICAS_MIN,
    KAFKA_RETENTION_MIN,
};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::error::KafkaError;

use super::KafkaLogOptions;
use super::client::Reports;
use super::open_error::{KafkaOpenError, Shortcoming};

/// How a topic is laid out.
pub(super) struct Layout {
    pub(super) partition_count: usize,
    /// Replicas of the partition with the fewest.
    pub(super) replica_count: usize,
}

/// Asks the brokers how the topic is laid out. Blocks.
pub(super) fn describe(
    admin: &AdminClient<Reports>,
    topic: &str,
) -> Result<Layout, KafkaOpenError> {
    let metadata = admin
        .inner()
        .fetch_metadata(Some(topic), KAFKA_ANSWER_TIME_MAX)
        .map_err(KafkaOpenError::Unreachable)?;
    let partitions = metadata
        .topics()
        .first()
        .map_or(&[][..], |found| found.partitions());
    let replica_count = partitions
        .iter()
        .map(|partition| partition.replicas().len())
        .min()
        .ok_or_else(|| KafkaOpenError::NoSuchTopic {
            topic: topic.to_owned(),
        })?;
    Ok(Layout {
        partition_count: partitions.len(),
        replica_count,
    })
}

/// The name that the cluster gave itself when it was made. Blocks.
pub(super) fn cluster_id(admin: &AdminClient<Reports>) -> Result<String, KafkaOpenError> {
    let id = admin.inner().fetch_cluster_id(KAFKA_ANSWER_TIME_MAX);
    id.ok_or(KafkaOpenError::NoClusterId)
}

/// Refuses a topic that can't keep the log's promises; one that only may lose what was acknowledged
/// will do for development.
pub(super) async fn check(
    admin: &AdminClient<Reports>,
    options: &KafkaLogOptions,
    layout: &Layout,
) -> Result<(), KafkaOpenError> {
    let topic = options.topic.as_str();
    let asked = AdminOptions::new().request_timeout(Some(KAFKA_ANSWER_TIME_MAX));
    let not_described = |source| KafkaOpenError::NotDescribed {
        topic: topic.to_owned(),
        source,
    };
    let answers = admin
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &asked)
        .await
        .map_err(not_described)?;
    let mut settings = BTreeMap::new();
    for answer in answers {
        let answer = answer.map_err(|code| not_described(KafkaError::AdminOp(code)))?;
        settings.extend(
            answer
                .entries
                .into_iter()
                .filter_map(|entry| Some((entry.name, entry.value?))),
        );
    }
    let mut shortcomings = shortcomings(options.partition_count, layout, &settings);
    if options.development {
        shortcomings.retain(|shortcoming| !shortcoming.only_for_development);
    }
    if shortcomings.is_empty() {
        return Ok(());
    }
    Err(KafkaOpenError::Unfit {
        topic: topic.to_owned(),
        shortcomings,
    })
}

/// All that is wrong with a topic.
pub(super) fn shortcomings(
    partition_count: u32,
    layout: &Layout,
    settings: &BTreeMap<String, String>,
) -> Vec<Shortcoming> {
    let mut found = Vec::new();
    let mut expect = |setting, value: &str, is_right: bool, only_for_development, remedy: &str| {
        if !is_right {
            found.push(Shortcoming {
                setting,
                found: value.to_owned(),
                remedy: remedy.to_owned(),
                only_for_development,
            });
        }
    };
    let value = |setting: &str| settings.get(setting).map_or("unknown", String::as_str);
    let number = |setting: &str| value(setting).parse::<i64>().ok();
    let is_at_least = |setting: &str, least: u128| {
        number(setting).is_some_and(|number| u128::try_from(number).is_ok_and(|it| it >= least))
    };

    let setting = "partition count";
    expect(
        setting,
        &layout.partition_count.to_string(),
        layout.partition_count == partition_count as usize,
        false,
        &format!(
            "{partition_count} is configured, and a document's partition follows from it: configure \
             the topic's, or use a new topic"
        ),
    );
    let setting = "max.message.bytes";
    expect(
        setting,
        value(setting),
        is_at_least(setting, KAFKA_MESSAGE_BYTES_MAX as u128),
        false,
        &format!("set it to {KAFKA_MESSAGE_BYTES_MAX} or more, so that the largest record fits"),
    );
    let setting = "replication factor";
    expect(
        setting,
        &layout.replica_count.to_string(),
        layout.replica_count >= KAFKA_REPLICAS_MIN,
        true,
        &format!(
            "assign {KAFKA_REPLICAS_MIN} replicas or more, so that writing goes on without one of them"
        ),
    );
    let setting = "min.insync.replicas";
    expect(
        setting,
        value(setting),
        is_at_least(setting, u128::from(KAFKA_IN_SYNC_REPLICAS_MIN)),
        true,
        &format!(
            "set it to {KAFKA_IN_SYNC_REPLICAS_MIN}, so that what is acknowledged is on more than one \
             broker"
        ),
    );
    let setting = "unclean.leader.election.enable";
    expect(
        setting,
        value(setting),
        value(setting) == "false",
        true,
        "set it to false, so that no broker becomes the leader that misses acknowledged records",
    );
    let setting = "cleanup.policy";
    expect(
        setting,
        value(setting),
        value(setting) == "delete",
        true,
        "set it to delete: compaction keeps a document's last record only",
    );
    let setting = "retention.ms";
    expect(
        setting,
        value(setting),
        number(setting) == Some(-1) || is_at_least(setting, KAFKA_RETENTION_MIN.as_millis()),
        true,
        &format!(
            "set it to {} or more, so that the archiver has the records before they go",
            KAFKA_RETENTION_MIN.as_millis()
        ),
    );
    let setting = "retention.bytes";
    expect(
        setting,
        value(setting),
        number(setting) == Some(-1),
        true,
        "set it to -1: records may leave by their age only",
    );
    let setting = "message.timestamp.type";
    expect(
        setting,
        value(setting),
        value(setting) == "LogAppendTime",
        true,
        "set it to LogAppendTime, so that no node's clock decides when records are deleted",
    );
    found
}
