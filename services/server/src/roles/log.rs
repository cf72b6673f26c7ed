use std::sync::Arc;

use op_log::{
    CopyError, EmbeddedLogOptions, EmbeddedOpLog, KafkaLogOptions, KafkaOpLog, KafkaOpenError,
    OpLog, OpenError, RegionalLogs,
};
use service_runtime::Shutdown;

use crate::{Components, ComponentsError, LogSettings, Settings};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// See [`OpenError`].
    #[error("the log in the data directory can't be opened")]
    Embedded(#[from] OpenError),
    /// There is no directory for it.
    #[error("the node has no log")]
    Missing(#[from] ComponentsError),
    /// See [`KafkaOpenError`].
    #[error("the log in Kafka can't be opened")]
    Kafka(#[from] KafkaOpenError),
    /// See [`CopyError`].
    #[error("the regions' logs don't fit together")]
    Copy(#[from] CopyError),
}

/// Opens the region's log, and the copies of the other regions'.
///
/// # Errors
/// [`LogError`] says what to do.
pub async fn open(
    settings: &Settings,
    components: &Components,
    shutdown: &mut Shutdown,
) -> Result<RegionalLogs, LogError> {
    let region = settings.region.clone();
    let Some(options) = kafka_options(&settings.log) else {
        let log = open_embedded(settings, components, shutdown).await?;
        return Ok(RegionalLogs::alone(region, log));
    };
    let mut logs = RegionalLogs::alone(region, open_kafka(&options, shutdown).await?);
    for other in &settings.regions {
        let copy = open_kafka(&options.copy_of(&other.name), shutdown).await?;
        logs = logs.with_copy(other.name.clone(), copy)?;
    }
    Ok(logs)
}

async fn open_kafka(
    options: &KafkaLogOptions,
    shutdown: &mut Shutdown,
) -> Result<Arc<dyn OpLog>, KafkaOpenError> {
    let log = Arc::new(KafkaOpLog::open(options).await?);
    let closed = log.clone();
    // It waits for the brokers' last answers.
    shutdown.register("log", async move || closed.close().await);
    Ok(log)
}

/// Opens the log in the data directory, which reads and checks all of it.
async fn open_embedded(
    settings: &Settings,
    components: &Components,
    shutdown: &mut Shutdown,
) -> Result<Arc<dyn OpLog>, LogError> {
    let options = EmbeddedLogOptions::new(settings.log.partition_count);
    let (disk, random) = (components.disks()?.log.clone(), components.random.fork());
    let log = blocking(move || EmbeddedOpLog::open(disk, &options, &random)).await?;
    let log = Arc::new(log);
    let closed = log.clone();
    // It waits for the log's own thread.
    shutdown.register("log", async move || blocking(move || closed.close()).await);
    Ok(log)
}

/// How the log in Kafka is opened, if there is one.
pub fn kafka_options(settings: &LogSettings) -> Option<KafkaLogOptions> {
    let kafka = &settings.kafka;
    Some(KafkaLogOptions {
        bootstrap_servers: kafka.bootstrap_servers.clone()?,
        topic: kafka.topic.clone(),
        partition_count: settings.partition_count,
        development: kafka.development,
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("opening and closing a log does not panic")
}
