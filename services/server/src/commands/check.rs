//! Trying what a node would need, without changing anything.

use anyhow::{Context, bail};
use blob_store::BlobStore;
use disk::RealDisk;
use document_store::DocumentStore;
use document_types::{LogPartition, RegionId};
use op_log::{KafkaLogOptions, KafkaOpLog, OpLog};
use presence_store::RedisPresenceStore;
use service_api::grpc::{check_collaboration, check_history};
use tokio::net::TcpListener;

use crate::data_directory;
use crate::plan::{BlobPlace, Plan, Role};
use crate::roles::log::kafka_options;
use crate::{RegionSettings, Settings, SharedStores, components};

/// What a check found: what is there, or what is wrong.
type Found = anyhow::Result<String>;

/// Tries everything, prints a line for each, and fails if one did.
///
/// # Errors
/// If something is wrong.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let failed_count = SharedStores::run(|stores| runtime.block_on(check(settings, stores)))?;
    if failed_count > 0 {
        bail!("{failed_count} of the checks failed; the node would not start, or not be ready");
    }
    Ok(())
}

async fn check(settings: &Settings, stores: &SharedStores<'_>) -> usize {
    let mut report = Report::default();
    let plan = match Plan::of(settings) {
        Ok(plan) => plan,
        Err(error) => {
            report.add("roles", Err(error.into()));
            return report.failed_count;
        }
    };
    let has = |role: &Role| plan.has(*role);
    let roles: Vec<_> = Role::ALL.iter().filter(|role| has(role)).collect();
    report.add("roles", Ok(format!("{roles:?}").to_lowercase()));
    report.add("address for clients", listener(settings.listen).await);
    if let Some(address) = settings.services.listen {
        report.add("address for services", listener(address).await);
    }
    if plan.is_stateful() {
        report.add("log", log(settings).await);
        for RegionSettings { name, .. } in &settings.regions {
            let found = copy(settings, name).await;
            report.add(&format!("copy of the log of {name}"), found);
        }
        report.add("store", store(settings, stores).await);
    }
    if plan.has(Role::Collaboration) {
        report.add("dry run", dry_run(settings).await);
    }
    if plan.has(Role::Gateway) {
        report.add("blobs", blobs(&plan.blobs).await);
        report.add("presence", presence(settings, &plan).await);
    }
    if let Some(token) = &plan.token {
        let elsewhere = plan.regions.values().flatten();
        for address in plan.collaboration.iter().chain(elsewhere) {
            let answer = check_collaboration(address, token).await;
            let found = answer.map(|()| address.to_string());
            report.add(
                "collaboration node",
                found.with_context(|| address.to_string()),
            );
        }
        for address in &plan.history {
            let answer = check_history(address, token).await;
            let found = answer.map(|()| address.to_string());
            report.add("history node", found.with_context(|| address.to_string()));
        }
    }
    report.failed_count
}

/// Prints as it goes, so that what hangs is seen.
#[derive(Default)]
struct Report {
    failed_count: usize,
}

impl Report {
    fn add(&mut self, what: &str, found: Found) {
        match found {
            Ok(found) => println!("ok      {what}: {found}"),
            Err(error) => {
                self.failed_count += 1;
                println!("FAILED  {what}: {error:#}");
            }
        }
    }
}

async fn listener(address: std::net::SocketAddr) -> Found {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}; is a node running there?"))?;
    Ok(address.to_string())
}

async fn log(settings: &Settings) -> Found {
    let Some(options) = kafka_options(&settings.log) else {
        return Ok("embedded in the data directory".into());
    };
    topic(&options).await
}

async fn copy(settings: &Settings, region: &RegionId) -> Found {
    let options = kafka_options(&settings.log).context("there is no Kafka for it to be in")?;
    topic(&options.copy_of(region)).await
}

async fn topic(options: &KafkaLogOptions) -> Found {
    let log = KafkaOpLog::open(options).await?;
    let first = log.tail(LogPartition(0)).await;
    log.close().await;
    first?;
    Ok(format!(
        "the topic {} of {} partitions at {}",
        options.topic, options.partition_count, options.bootstrap_servers
    ))
}

async fn store(settings: &Settings, stores: &SharedStores<'_>) -> Found {
    if let Some(kv) = stores.open(&settings.store.foundationdb)? {
        DocumentStore::open(kv, clock::Random::from_entropy()).await?;
        return Ok("in the FoundationDB cluster".into());
    }
    let shown = settings.data.display();
    if !settings.data.is_dir() {
        return Ok(format!("{shown}, which will be made"));
    }
    let disk = RealDisk::open(&settings.data)?;
    match data_directory::check_or_empty(&disk) {
        Ok(()) => Ok(format!("in the data directory {shown}")),
        Err(error) => Err(error).with_context(|| shown.to_string()),
    }
}

async fn blobs(place: &BlobPlace) -> Found {
    match place {
        BlobPlace::Embedded => Ok("in the data directory".into()),
        BlobPlace::Nowhere => {
            Ok("nowhere: nothing can be attached unless `blobs.address` is set".into())
        }
        BlobPlace::At(settings) => Ok(format!("{:?}", BlobStore::open(settings).await?)),
    }
}

async fn presence(settings: &Settings, plan: &Plan) -> Found {
    let Some(address) = &plan.presence else {
        return Ok("in this process, for those who come in at this gateway".into());
    };
    let store = RedisPresenceStore::new(address, &settings.presence.redis.prefix)?;
    store.ping().await.with_context(|| address.to_string())?;
    Ok(format!("in the Redis at {address}"))
}

async fn dry_run(settings: &Settings) -> Found {
    components::workers(settings).await?;
    Ok(format!(
        "{} worker processes",
        settings.dry_run.worker_count
    ))
}
