//! Two regions to look at and to measure in: starts a node in each, over the parts that
//! `cargo xtask parts up kafka-regions wide-area mirror-maker` has started, says where they are, and
//! ends them at Ctrl-C. The first argument is the delay between the regions in milliseconds, 80 if there
//! is none.
//!
//! ```sh
//! cargo xtask parts up kafka-regions wide-area mirror-maker
//! set -a; . target/parts/environment; set +a
//! COLLABEDIT_XTASK=target/debug/xtask cargo run -p crash --example two-regions
//! ```

use std::time::Duration;

use anyhow::Context;
use crash::ServerCommand;
use kafka_broker::{WideArea, new_regions};
use server_process::{ServerProcess, real_binary};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let delay_ms = match std::env::args().nth(1) {
        Some(given) => given.parse().context("the delay is no number")?,
        None => 80,
    };
    let _way = WideArea::new(Duration::from_millis(delay_ms)).await;
    let mut nodes = Vec::new();
    for region in new_regions().await {
        let folder = tempfile::tempdir()?;
        let topic = &region.topic;
        let command = ServerCommand::real()?
            .with_topic_on_one_broker(&topic.bootstrap_servers, &topic.name, topic.partition_count)
            .in_region(region.number, region.name, region.other);
        let arguments = command.arguments(0);
        let server = ServerProcess::start(&real_binary()?, folder.path(), &arguments).await?;
        println!("{}: {}", region.name, server.url());
        nodes.push((server, folder));
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
