//! Two regions whose logs MirrorMaker copies to each other over a way that takes its time and is cut:
//! each goes on by itself, and both come to have the same. `cargo xtask test --only kafka` runs it.

use std::net::TcpListener;
use std::time::Duration;

use async_trait::async_trait;
use collabedit_sdk::{Client, DocumentId, Options};
use crash::{Load, ServerCommand, Way, assert_kept, nodes_come_back, regions_come_together};
use document_types::limits::ANTI_ENTROPY_INTERVAL;
use kafka_broker::{Region, WideArea, new_regions, new_regions_apart};
use server_process::{ServerProcess, real_binary};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// From Frankfurt to the east of the United States it takes about half as long.
const DELAY: Duration = Duration::from_millis(80);

/// There is one way: a test has it to itself.
static WAY: Mutex<()> = Mutex::const_new(());

struct Ocean {
    way: WideArea,
    _turn: MutexGuard<'static, ()>,
}

impl Ocean {
    /// A way of [`DELAY`] when no other test uses it.
    async fn new() -> Self {
        let turn = WAY.lock().await;
        Self {
            way: WideArea::new(DELAY).await,
            _turn: turn,
        }
    }
}

#[async_trait]
impl Way for Ocean {
    async fn cut(&self) {
        self.way.cut().await;
    }

    async fn heal(&self) {
        self.way.heal().await;
    }
}

/// The real binary as the only node of a region, which knows of the other one.
fn node(region: &Region) -> anyhow::Result<ServerCommand> {
    let Region {
        number,
        name,
        other,
        topic,
    } = region;
    Ok(ServerCommand::real()?
        .with_topic_on_one_broker(&topic.bootstrap_servers, &topic.name, topic.partition_count)
        .in_region(*number, name, other))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn regions_that_were_cut_off_come_to_have_the_same() -> anyhow::Result<()> {
    let load = Load::with_kills(2)?;
    let way = Ocean::new().await;
    let [eu, us] = new_regions().await;
    let report = regions_come_together(&[node(&eu)?, node(&us)?], &way, &load).await?;
    assert_kept(&report, &load);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn regions_whose_nodes_are_killed_lose_double_and_invent_nothing() -> anyhow::Result<()> {
    let load = Load::with_kills(4)?;
    let _way = Ocean::new().await;
    let [eu, us] = new_regions().await;
    let report = nodes_come_back(&[node(&eu)?, node(&us)?], &load).await?;
    assert_kept(&report, &load);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka: cargo xtask test --only kafka"]
async fn what_the_copying_loses_is_offered_to_the_other_region() -> anyhow::Result<()> {
    let regions = new_regions_apart().await;
    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), "the-secret-of-one-test")?;
    let addresses = [free_address()?, free_address()?];
    let mut servers = Vec::new();
    let mut documents = Vec::new();
    for (here, there) in [(0, 1), (1, 0)] {
        let (region, elsewhere) = (&regions[here], addresses[there].as_str());
        let (own, other) = (addresses[here].as_str(), region.other);
        let command = node(region)?
            .with(&format!("services.listen={own}"))
            .with(&format!("services.token_file={}", token.path().display()))
            .with(&format!(
                "regions=[{{ name = {other:?}, collaboration = [\"http://{elsewhere}\"] }}]"
            ));
        let folder = tempfile::tempdir()?;
        let arguments = command.arguments(0);
        let server = ServerProcess::start(&real_binary()?, folder.path(), &arguments).await?;
        let client = Client::connect(Options::new(server.url()))?;
        documents.push(client.open(&DocumentId::parse("notes")?)?);
        servers.push((server, folder, client));
    }
    for (document, text) in documents.iter().zip(["written in eu. ", "written in us. "]) {
        document.wait_caught_up().await?;
        document.insert(0, text)?;
        document.wait_acknowledged().await?;
    }
    // At the first comparison it is there, and at the second it still lacks elsewhere.
    let everything = async {
        for document in &documents {
            let mut events = document.subscribe();
            while document.len() < documents[0].len().max(documents[1].len()).max(30) {
                events.recv().await?;
            }
        }
        anyhow::Ok(())
    };
    timeout(4 * ANTI_ENTROPY_INTERVAL, everything).await??;
    assert_eq!(documents[0].text()?, documents[1].text()?);
    assert_eq!(documents[0].state_hash()?, documents[1].state_hash()?);
    Ok(())
}

/// An address that nobody listens on now, and hardly anybody will before the server does.
fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .to_string())
}
