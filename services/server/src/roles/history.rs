use std::sync::Arc;

use document_store::DocumentStore;
use history::HistoryNode;
use op_log::RegionalLogs;
use service_api::History;

/// Puts the history together. It keeps nothing that has to end.
pub fn start((logs, store): (&RegionalLogs, &DocumentStore)) -> Arc<dyn History> {
    Arc::new(HistoryNode::new(logs.clone(), store.clone()))
}
