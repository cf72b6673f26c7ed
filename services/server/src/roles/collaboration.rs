use std::sync::Arc;

use collaboration::{CollaborationNode, CollaborationParts};
use op_log::OpLog;
use service_api::{Collaboration, EveryoneWrites};
use service_runtime::{Shutdown, TaskGroup};

use super::storage::Storage;
use crate::Components;

/// Starts the rooms, the gate and the log's writer.
pub fn start(
    components: &Components,
    storage: &Storage,
    log: &Arc<dyn OpLog>,
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Arc<dyn Collaboration> {
    let tasks = tasks.sibling();
    let node = CollaborationNode::new(CollaborationParts {
        identity: storage.identity.clone(),
        log: log.clone(),
        store: storage.store.clone(),
        dry_run: components.dry_run.clone(),
        permissions: Arc::new(EveryoneWrites),
        clock: components.clock.clone(),
        stamps: storage.stamps.clone(),
        tasks: tasks.tracker(),
        stop: tasks.stop_token(),
    });
    shutdown.register("collaboration", async move || tasks.stop().await);
    Arc::new(node)
}
