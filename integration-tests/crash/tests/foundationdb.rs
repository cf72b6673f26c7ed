//! A deployment whose state is in a FoundationDB cluster and whose log is in Kafka keeps its promises when
//! its processes are killed. `cargo xtask test --foundationdb` runs it, with a server that was built for
//! FoundationDB.
#![allow(clippy::disallowed_methods)] // Where the cluster is comes from the environment.

use anyhow::Context;
use crash::{Deployment, Load, ServerCommand, assert_kept, deployment_comes_back};
use kafka_broker::{Topic, new_topic};

/// The node with this number.
fn node(number: u32, topic: &Topic, prefix: &str) -> anyhow::Result<ServerCommand> {
    let cluster_file = std::env::var("FDB_CLUSTER_FILE").context(
        "FDB_CLUSTER_FILE is not set: start a FoundationDB 7.3 server and name its cluster file",
    )?;
    Ok(ServerCommand::real()?
        .with(&format!("node={number}"))
        .with_topic(&topic.bootstrap_servers, &topic.name, topic.partition_count)
        .with("log.kafka.development=true")
        .with(&format!("store.foundationdb.cluster_file={cluster_file}"))
        .with(&format!("store.foundationdb.prefix={prefix}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_over_foundationdb_whose_processes_are_killed_in_turn_keeps_everything()
-> anyhow::Result<()> {
    let load = Load::from_environment()?;
    let topic = new_topic(&[]).await;
    // Topics have names of their own, and so have their stores: the last digits, which differ.
    let (_, time) = topic.name.split_at(topic.name.len().saturating_sub(7));
    let prefix = format!("t{time}");
    let rooms = r#"["collaboration", "history"]"#;
    let merger = r#"["merger"]"#;
    let deployment = Deployment::new(
        |number| node(number, &topic, &prefix),
        &[rooms, rooms, merger, merger],
    )?;
    assert_kept(&deployment_comes_back(&deployment, &load).await?, &load);
    Ok(())
}
