//! Servers whose log is a Kafka topic keep their promises, one alone and two that share it, when they
//! are killed at any moment. `cargo xtask test --only kafka` runs it.

use crash::{
    Deployment, Load, ServerCommand, assert_kept, clients_die, deployment_comes_back,
    nodes_come_back,
};
use kafka_broker::{Topic, new_topic};
use server_process::{ServerProcess, real_binary};

/// The real binary, as the node with this number, on a log in `topic`.
fn node(number: u32, topic: &Topic) -> anyhow::Result<ServerCommand> {
    Ok(ServerCommand::real()?
        .with(&format!("node={number}"))
        .with_topic_on_one_broker(&topic.bootstrap_servers, &topic.name, topic.partition_count))
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
    let roles = r#"["collaboration", "merger", "history"]"#;
    let deployment = Deployment::new(|number| node(number, &topic), &[roles, roles])?;
    assert_kept(
        &deployment_comes_back(&deployment, &[], &load).await?,
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
