use std::convert::Infallible;
use std::sync::Arc;

use presence::PresenceService;
use presence_store::EmbeddedPresenceStore;
use service_api::Presence;
use service_runtime::{Shutdown, TaskGroup};

/// Starts presence, kept in this process's memory.
pub fn start(tasks: &TaskGroup, shutdown: &mut Shutdown) -> Arc<dyn Presence> {
    let tasks = tasks.sibling();
    let service = Arc::new(PresenceService::new(Arc::new(EmbeddedPresenceStore::new())));
    presence::describe_metrics();
    let (running, stop) = (service.clone(), tasks.stop_token());
    tasks.spawn("presence", async move {
        running.run(stop).await;
        Ok::<_, Infallible>(())
    });
    shutdown.register("presence", async move || tasks.stop().await);
    service
}
