//! Servers whose log is a Kafka topic keep their promises, one alone and two that share it, when they
//! are killed at any moment. `cargo xtask test --only kafka` runs it.

use crash::{
    Load, ServerCommand, assert_kept, clients_die, deployment_comes_back, nodes_come_back,
};
use kafka_broker::{Topic, new_topic};
use server_process::{ServerProcess, real_binary};

/// The real binary, as the node with this number, on a log in `topic`.
fn node(number: u32, topic: &Topic) -> anyhow::Result<ServerCommand> {
    Ok(ServerCommand::real()?
        .with(&format!("node={number}"))
        .with(&format!("log.partition_count={}", topic.partition_count))
        .with(&format!(
            "log.kafka.bootstrap_servers={}",
            topic.bootstrap_servers
        ))
        .with(&format!("log.kafka.topic={}", topic.name))
        .with("log.kafka.development=true"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_killed_server_has_what_it_acknowledged_though_no_client_is_left() -> anyhow::Result<()> {
    let load = Load::from_environment()?;
    let topic = new_topic(&[]).await;
    assert_kept(&clients_die(&node(1, &topic)?, &load).await?, &load);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn two_nodes_that_are_killed_in_turn_lose_double_and_invent_nothing() -> anyhow::Result<()> {
    let load = Load::from_environment()?;
    let topic = new_topic(&[]).await;
    let nodes = [node(1, &topic)?, node(2, &topic)?];
    assert_kept(&nodes_come_back(&nodes, &load).await?, &load);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_deployment_whose_processes_are_killed_in_turn_loses_and_doubles_nothing()
-> anyhow::Result<()> {
    let load = Load::from_environment()?;
    let topic = new_topic(&[]).await;
    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), "the-secret-of-one-test")?;
    let part = |number, roles: &str| {
        let token = format!("services.token_file={}", token.path().display());
        anyhow::Ok(node(number, &topic)?.with_roles(roles).with(&token))
    };
    let gateways = [part(1, r#"["gateway"]"#)?, part(2, r#"["gateway"]"#)?];
    let stateful = |number| {
        let node = part(number, r#"["collaboration", "merger", "history"]"#)?;
        anyhow::Ok(node.with("services.listen=127.0.0.1:0"))
    };
    let nodes = [stateful(1)?, stateful(2)?];
    assert_kept(
        &deployment_comes_back(&gateways, &nodes, &load).await?,
        &load,
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_node_does_not_start_on_another_topic_than_its_own() -> anyhow::Result<()> {
    let (own, other) = (new_topic(&[]).await, new_topic(&[]).await);
    let folder = tempfile::tempdir()?;
    let settings = |topic| anyhow::Ok(node(1, topic)?.arguments(0));
    let mut server = ServerProcess::start(&real_binary()?, folder.path(), &settings(&own)?).await?;
    server.kill().await?;
    let refused = server.restart(&settings(&other)?).await;
    assert!(refused.is_err());
    let log = std::fs::read_to_string(folder.path().join("server.log"))?;
    assert!(log.contains("give it the log that it had"), "{log}");
    server.restart(&settings(&own)?).await
}
