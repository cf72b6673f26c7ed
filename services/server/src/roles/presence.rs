use std::convert::Infallible;
use std::sync::Arc;

use presence::PresenceService;
use presence_store::{
    EmbeddedPresenceStore, PresenceStore, PresenceStoreError, RedisPresenceStore,
};
use service_api::Presence;
use service_runtime::{Shutdown, TaskGroup};

use crate::Settings;
use crate::plan::Plan;

/// Starts presence: in the Redis that the settings name, or in this process's memory. A Redis that can't
/// be reached keeps nobody from typing, so nothing waits for it here.
///
/// # Errors
/// If the address can't be used at all.
pub fn start(
    settings: &Settings,
    plan: &Plan,
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Result<Arc<dyn Presence>, PresenceStoreError> {
    let tasks = tasks.sibling();
    let service = Arc::new(PresenceService::new(store(settings, plan)?));
    presence::describe_metrics();
    let (running, stop) = (service.clone(), tasks.stop_token());
    tasks.spawn("presence", async move {
        running.run(stop).await;
        Ok::<_, Infallible>(())
    });
    shutdown.register("presence", async move || tasks.stop().await);
    Ok(service)
}

fn store(settings: &Settings, plan: &Plan) -> Result<Arc<dyn PresenceStore>, PresenceStoreError> {
    Ok(match &plan.presence {
        Some(address) => Arc::new(RedisPresenceStore::new(
            address,
            &settings.presence.redis.prefix,
        )?),
        None => Arc::new(EmbeddedPresenceStore::new()),
    })
}
