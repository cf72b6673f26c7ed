use op_log::KafkaLogOptions;

/// What opens a log in a new topic of two partitions that has these settings besides those that
/// `infra/kafka` describes.
pub async fn new_topic(settings: &[(&str, &str)]) -> KafkaLogOptions {
    let topic = kafka_broker::new_topic(settings).await;
    KafkaLogOptions {
        bootstrap_servers: topic.bootstrap_servers,
        topic: topic.name,
        partition_count: topic.partition_count,
        development: true,
    }
}
