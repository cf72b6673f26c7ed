use std::sync::Arc;

use document_store::DocumentStore;
use history::HistoryNode;
use op_log::OpLog;
use service_api::History;

use crate::Settings;

/// Puts the history together. It keeps nothing that has to end.
pub fn start(
    settings: &Settings,
    (log, store): (&Arc<dyn OpLog>, &DocumentStore),
) -> Arc<dyn History> {
    let region = settings.region.clone();
    Arc::new(HistoryNode::new(region, log.clone(), store.clone()))
}
