//! The presence service: cursors and typing state, on a way of their own. It never touches the log
//! or the document store, and no edit ever waits for it.
//!
//! [`PresenceService`] takes what this node's sessions show, at most 20 times a second each, keeps
//! it renewed in the store while they are open, and tells every session what the others show, at
//! most 20 times a second each. Between two tellings the newest of each key wins, so a slow session
//! gets less and never late news, and holds nobody up.

mod document_presence;
mod metric_names;
mod service;

pub use metric_names::describe_metrics;
pub use service::PresenceService;
