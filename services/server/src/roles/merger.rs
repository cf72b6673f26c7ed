use std::sync::Arc;

use clock::Offload;
use document_store::DocumentStore;
use merger::{Merger, MergerParts};
use op_log::OpLog;
use service_runtime::{Health, Shutdown, TaskGroup};

use crate::{Components, Settings};

/// Starts merging the log into the store. The merger is ready once what the log holds now is merged.
pub fn start(
    settings: &Settings,
    components: &Components,
    (log, store): (&Arc<dyn OpLog>, &DocumentStore),
    health: &Health,
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) {
    let tasks = tasks.sibling();
    let merger = Arc::new(Merger::start(MergerParts {
        region: settings.region.clone(),
        log: log.clone(),
        store: store.clone(),
        clock: components.clock.clone(),
        ids: components.ids(),
        offload: Offload::Threads,
        tasks: tasks.tracker(),
        stop: tasks.stop_token(),
    }));

    let ready = health.component("merger", "merging what the log holds");
    let (catching_up, tail) = (merger.clone(), log.clone());
    tasks.spawn("merger catch-up", async move {
        catching_up.caught_up(&*tail).await?;
        ready.ready();
        Ok::<_, op_log::ReadError>(())
    });

    let log = log.clone();
    shutdown.register("merger", async move || {
        // What is merged now need not be merged at the next start.
        if let Err(error) = merger.caught_up(&*log).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "stopped merging early"
            );
        }
        tasks.stop().await;
    });
}
