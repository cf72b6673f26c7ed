//! Servers whose log is on three Kafka brokers, configured as a deployment's, keep their promises while
//! the broker that leads their document's partition is killed. It is a program of its own, since nothing
//! else may use the brokers meanwhile; `cargo xtask test --only kafka` runs it.

#[path = "kafka_cluster/cluster.rs"]
mod cluster;

use cluster::Cluster;
use crash::{Deployment, Load, assert_kept, brokers_come_back, deployment_comes_back};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_server_whose_partitions_leader_is_killed_loses_doubles_and_invents_nothing()
-> anyhow::Result<()> {
    // A broker takes some seconds to come back.
    let load = Load::with_kills(3)?;
    let cluster = Cluster::new().await;
    let report = brokers_come_back(&[cluster.node(1)?], &cluster, &load).await?;
    assert_kept(&report, &load);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn a_deployment_that_is_killed_in_turn_with_its_brokers_loses_and_doubles_nothing()
-> anyhow::Result<()> {
    // Two gateways, two nodes, and a broker.
    let load = Load::with_kills(5)?;
    let cluster = Cluster::new().await;
    let roles = r#"["collaboration", "merger", "history"]"#;
    let deployment = Deployment::new(|number| cluster.node(number), &[roles, roles])?;
    let report = deployment_comes_back(&deployment, &[&cluster], &load).await?;
    assert_kept(&report, &load);
    Ok(())
}
