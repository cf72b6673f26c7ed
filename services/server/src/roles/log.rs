use std::sync::Arc;

use op_log::{EmbeddedLogOptions, EmbeddedOpLog, OpLog, OpenError};
use service_runtime::Shutdown;

use crate::{Components, Settings};

/// Opens the embedded log, which reads and checks all of it.
///
/// # Errors
/// [`OpenError`] says what to do.
pub async fn open(
    settings: &Settings,
    components: &Components,
    shutdown: &mut Shutdown,
) -> Result<Arc<dyn OpLog>, OpenError> {
    let options = EmbeddedLogOptions::new(settings.log.partition_count);
    let (disk, random) = (components.log_disk.clone(), components.random.fork());
    let open = move || EmbeddedOpLog::open(disk, &options, &random);
    let log = tokio::task::spawn_blocking(open)
        .await
        .expect("opening files does not panic")?;
    let log = Arc::new(log);
    let closed = log.clone();
    shutdown.register("log", async move || {
        // It waits for the log's own thread.
        let _ = tokio::task::spawn_blocking(move || closed.close()).await;
    });
    Ok(log)
}
