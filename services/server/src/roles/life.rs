use std::sync::Arc;

use clock::HybridLogicalClock;
use collaboration::NodeIdentity;
use document_store::{DocumentStore, NodeCeiling, StoreError};

use crate::{Components, Settings};

/// What a life of a node that stamps has to begin with: an epoch of its own, and a clock that goes on
/// above every stamp the node ever gave.
pub struct Life {
    pub identity: NodeIdentity,
    pub stamps: Arc<HybridLogicalClock>,
}

/// Begins a new life of the node.
///
/// # Errors
/// [`StoreError`] if the store refuses its work.
pub async fn begin(
    settings: &Settings,
    components: &Components,
    store: &DocumentStore,
) -> Result<Life, StoreError> {
    let node = settings.node_id();
    let life = store.take_node_epoch(node).await?;
    tracing::info!(
        node = node.0,
        epoch = life.epoch.0,
        "began a life of this node"
    );
    let ceilings = Arc::new(NodeCeiling::new(store.clone(), node, life.epoch));
    let stamps = HybridLogicalClock::new(components.clock.clone(), ceilings, life.hlc_ceiling);
    let identity = NodeIdentity {
        region: settings.region.clone(),
        node,
        epoch: life.epoch,
    };
    Ok(Life {
        identity,
        stamps: Arc::new(stamps),
    })
}
