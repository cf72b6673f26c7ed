//! A deployment to look at, and for browsers: two gateways and two nodes over the Kafka broker that
//! `cargo xtask parts up kafka s3` has started, says where they are, and ends them at Ctrl-C. With a cluster
//! file of FoundationDB as its argument, and a server that was built for it, two mergers are processes of
//! their own.
//!
//! ```sh
//! cargo xtask parts up kafka s3
//! set -a; . target/parts/environment; set +a
//! cargo run -p crash --example deployment
//! COLLABEDIT_URL=http://FIRST,http://SECOND npm run test:browser      # people come in at them in turn
//! ```

use clock::Random;
use crash::{Deployment, ServerCommand};
use kafka_broker::new_topic;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cluster_file = std::env::args().nth(1);
    let topic = new_topic(&[]).await;
    let prefix = format!("d{:06x}", Random::from_entropy().below(1 << 24));
    let folder = tempfile::tempdir()?;
    let blobs = blobs(&prefix);
    let node = |number| {
        let mut node = ServerCommand::real()?
            .with(&format!("node={number}"))
            .with_topic_on_one_broker(&topic.bootstrap_servers, &topic.name, topic.partition_count);
        if let Some(blobs) = &blobs {
            node = node.with(blobs);
        }
        Ok(match &cluster_file {
            None => node,
            Some(file) => node.with_store(file, &prefix),
        })
    };
    let (all, rooms) = (
        r#"["collaboration", "merger", "history"]"#,
        r#"["collaboration", "history"]"#,
    );
    let merger = r#"["merger"]"#;
    let deployment = match cluster_file {
        None => Deployment::new(node, &[all, all])?,
        Some(_) => Deployment::new(node, &[rooms, rooms, merger, merger])?,
    };
    let processes = deployment.start(folder.path()).await?;
    for gateway in processes.iter().rev().take(2) {
        println!("{}", gateway.url());
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Where the gateways keep attachments: in the S3 server, if it is up. A directory is one process's.
#[allow(clippy::disallowed_methods)] // Where it is comes from the environment.
fn blobs(prefix: &str) -> Option<String> {
    let endpoint = std::env::var("COLLABEDIT_TEST_S3").ok()?;
    let bucket = std::env::var("COLLABEDIT_TEST_S3_BUCKET").ok()?;
    Some(format!(
        "blobs.address=s3://{bucket}/{prefix}?endpoint={endpoint}&allow_http=true"
    ))
}
