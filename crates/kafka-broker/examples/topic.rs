//! Makes a topic in the broker that `cargo xtask parts up` has started, and prints the flags with which a
//! node has it as its log: `collabedit dev $(cargo run -p kafka-broker --example topic)`.

#[tokio::main]
async fn main() {
    let topic = kafka_broker::new_topic(&[]).await;
    println!(
        "--set log.partition_count={} --set log.kafka.bootstrap_servers={} --set log.kafka.topic={} \
         --set log.kafka.development=true",
        topic.partition_count, topic.bootstrap_servers, topic.name
    );
}
