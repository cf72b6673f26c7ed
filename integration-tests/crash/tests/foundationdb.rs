//! A deployment whose state is in a FoundationDB cluster and whose log is in Kafka keeps its promises when
//! its processes are killed. `cargo xtask test --foundationdb` runs it, with a server that was built for
//! FoundationDB.
#![allow(clippy::disallowed_methods)] // Where the cluster is comes from the environment.

use anyhow::Context;
use crash::{Load, ServerCommand, assert_kept, deployment_comes_back};
use kafka_broker::{Topic, new_topic};

/// A part of the deployment: the node with this number and these roles.
fn part(
    number: u32,
    roles: &str,
    (topic, token, prefix): (&Topic, &std::path::Path, &str),
) -> anyhow::Result<ServerCommand> {
    let cluster_file = std::env::var("FDB_CLUSTER_FILE").context(
        "FDB_CLUSTER_FILE is not set: start a FoundationDB 7.3 server and name its cluster file",
    )?;
    Ok(ServerCommand::real()?
        .with_roles(roles)
        .with(&format!("node={number}"))
        .with(&format!("services.token_file={}", token.display()))
        .with(&format!("log.partition_count={}", topic.partition_count))
        .with(&format!(
            "log.kafka.bootstrap_servers={}",
            topic.bootstrap_servers
        ))
        .with(&format!("log.kafka.topic={}", topic.name))
        .with("log.kafka.development=true")
        .with(&format!("store.foundationdb.cluster_file={cluster_file}"))
        .with(&format!("store.foundationdb.prefix={prefix}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_over_foundationdb_whose_processes_are_killed_in_turn_keeps_everything()
-> anyhow::Result<()> {
    let load = Load::from_environment()?;
    let topic = new_topic(&[]).await;
    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), "the-secret-of-one-test")?;
    // Topics have names of their own, and so have their stores: the last digits, which differ.
    let (_, time) = topic.name.split_at(topic.name.len().saturating_sub(7));
    let prefix = format!("t{time}");
    let shared = (&topic, token.path(), prefix.as_str());

    let gateways = [
        part(1, r#"["gateway"]"#, shared)?,
        part(2, r#"["gateway"]"#, shared)?,
    ];
    let rooms = |number| {
        let node = part(number, r#"["collaboration", "history"]"#, shared)?;
        anyhow::Ok(node.with("services.listen=127.0.0.1:0"))
    };
    let nodes = [
        rooms(1)?,
        rooms(2)?,
        part(3, r#"["merger"]"#, shared)?,
        part(4, r#"["merger"]"#, shared)?,
    ];
    assert_kept(
        &deployment_comes_back(&gateways, &nodes, &load).await?,
        &load,
    );
    Ok(())
}
