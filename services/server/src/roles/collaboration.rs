use std::sync::Arc;

use collaboration::{CollaborationNode, CollaborationParts};
use document_store::DocumentStore;
use op_log::OpLog;
use service_api::{Collaboration, EveryoneWrites};
use service_runtime::{Shutdown, TaskGroup};

use super::life::Life;
use crate::{Components, ComponentsError};

/// Starts the rooms, the gate and the log's writer.
///
/// # Errors
/// [`ComponentsError`] if there is nowhere to try updates.
pub fn start(
    components: &Components,
    life: Life,
    (log, store): (&Arc<dyn OpLog>, &DocumentStore),
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Result<Arc<dyn Collaboration>, ComponentsError> {
    let tasks = tasks.sibling();
    let node = CollaborationNode::new(CollaborationParts {
        identity: life.identity,
        log: log.clone(),
        store: store.clone(),
        dry_run: components.dry_run()?.clone(),
        permissions: Arc::new(EveryoneWrites),
        clock: components.clock.clone(),
        stamps: life.stamps,
        tasks: tasks.tracker(),
        stop: tasks.stop_token(),
    });
    shutdown.register("collaboration", async move || tasks.stop().await);
    Ok(Arc::new(node))
}
