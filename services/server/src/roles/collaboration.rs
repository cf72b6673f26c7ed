use std::sync::Arc;

use clock::Offload;
use collaboration::{CollaborationNode, CollaborationParts, OtherRegion};
use document_store::DocumentStore;
use op_log::RegionalLogs;
use service_api::{Collaboration, EveryoneWrites};
use service_runtime::{Shutdown, TaskGroup};
use traces::Traces;

use super::gateway::connect;
use super::life::Life;
use crate::plan::Plan;
use crate::{Components, ComponentsError, Settings};

/// Starts the rooms, the gate, the log's writer, and the comparison with other regions.
///
/// # Errors
/// [`ComponentsError`] if there is nowhere to try updates.
pub fn start(
    (settings, plan): (&Settings, &Plan),
    components: &Components,
    traces: &Traces,
    life: Life,
    (logs, store): (&RegionalLogs, &DocumentStore),
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Result<Arc<dyn Collaboration>, ComponentsError> {
    let tasks = tasks.sibling();
    let other_regions = match &plan.token {
        Some(token) => plan
            .regions
            .iter()
            .map(|(region, nodes)| OtherRegion {
                region: region.clone(),
                collaboration: Arc::new(connect((settings, nodes, token), components, &tasks)),
            })
            .collect(),
        None => Vec::new(),
    };
    let node = CollaborationNode::new(CollaborationParts {
        identity: life.identity,
        logs: logs.clone(),
        store: store.clone(),
        dry_run: components.dry_run()?.clone(),
        permissions: Arc::new(EveryoneWrites),
        other_regions,
        ids: components.ids(),
        offload: Offload::Threads,
        clock: components.clock.clone(),
        stamps: life.stamps,
        traces: traces.clone(),
        tasks: tasks.tracker(),
        stop: tasks.stop_token(),
    });
    shutdown.register("collaboration", async move || tasks.stop().await);
    Ok(Arc::new(node))
}
