//! A deployment whose state is in a FoundationDB cluster and whose log is on three Kafka brokers keeps its
//! promises when its processes are killed, all its mergers at once, its brokers, and the cluster.
//! `cargo xtask test --foundationdb` runs it, with a server that was built for FoundationDB.

#[path = "foundationdb/store.rs"]
mod store;

#[path = "kafka_cluster/cluster.rs"]
mod cluster;

use cluster::Cluster;
use crash::{Dependency, Deployment, Load, assert_kept, deployment_comes_back};
use store::Store;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_over_foundationdb_that_is_killed_in_turn_with_all_below_it_keeps_everything()
-> anyhow::Result<()> {
    // Four nodes, two gateways, all mergers at once, a broker, and the store.
    let load = Load::with_kills(9)?;
    let (cluster, store) = (Cluster::new().await, Store::new());
    let rooms = r#"["collaboration", "history"]"#;
    let merger = r#"["merger"]"#;
    let deployment = Deployment::new(
        |number| Ok(store.of(cluster.node(number)?)),
        &[rooms, rooms, merger, merger],
    )?;
    let mut dependencies: Vec<&dyn Dependency> = vec![&cluster];
    if Store::is_ours() {
        dependencies.push(&store);
    } else {
        println!("the cluster is somebody's, and is not killed");
    }
    let report = deployment_comes_back(&deployment, &dependencies, &load).await?;
    assert_kept(&report, &load);
    Ok(())
}
