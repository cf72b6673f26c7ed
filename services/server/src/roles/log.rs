use std::sync::Arc;

use op_log::{
    EmbeddedLogOptions, EmbeddedOpLog, KafkaLogOptions, KafkaOpLog, KafkaOpenError, OpLog,
    OpenError,
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
}

/// Opens the log: a Kafka topic, if the settings name brokers, or the embedded one, which reads and
/// checks all of it.
///
/// # Errors
/// [`LogError`] says what to do.
pub async fn open(
    settings: &Settings,
    components: &Components,
    shutdown: &mut Shutdown,
) -> Result<Arc<dyn OpLog>, LogError> {
    if let Some(options) = kafka_options(&settings.log) {
        let log = Arc::new(KafkaOpLog::open(&options).await?);
        let closed = log.clone();
        // It waits for the brokers' last answers.
        shutdown.register("log", async move || closed.close().await);
        return Ok(log);
    }
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
