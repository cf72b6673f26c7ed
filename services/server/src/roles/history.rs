use std::sync::Arc;

use history::HistoryNode;
use op_log::OpLog;
use service_api::History;

use super::storage::Storage;

/// Puts the history together. It keeps nothing that has to end.
pub fn start(storage: &Storage, log: &Arc<dyn OpLog>) -> Arc<dyn History> {
    let region = storage.identity.region.clone();
    Arc::new(HistoryNode::new(region, log.clone(), storage.store.clone()))
}
