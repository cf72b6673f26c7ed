use async_trait::async_trait;
use clock::{CeilingError, CeilingStore};
use document_types::{HlcTimestamp, NodeEpoch, NodeId};

use super::{DocumentStore, StoreError, get_message, set_message};
use crate::keyspace::Key;
use crate::ordered_kv::KvError;
use crate::transact::TransactError;
use crate::values::Node;

/// What a node begins its life with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLife {
    /// The epoch that is this node's alone from now on.
    pub epoch: NodeEpoch,
    /// The stamp at or above which its stamps begin.
    pub hlc_ceiling: HlcTimestamp,
}

/// Why a ceiling was not raised.
#[derive(Debug, thiserror::Error)]
pub enum RaiseError {
    /// See [`StoreError`].
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Another process began a later life of the node, so this one is over.
    #[error("the node's epoch is {}, another process has taken it over", newest.0)]
    Superseded {
        /// The later epoch.
        newest: NodeEpoch,
    },
}

impl From<KvError> for RaiseError {
    fn from(error: KvError) -> Self {
        Self::Store(error.into())
    }
}

impl TransactError for RaiseError {
    fn as_kv(&self) -> Option<&KvError> {
        match self {
            Self::Store(error) => error.as_kv(),
            Self::Superseded { .. } => None,
        }
    }
}

impl DocumentStore {
    /// Begins a new life of `node`: takes an epoch larger than any before it, durably. Epochs may be
    /// left out, when an attempt succeeded unnoticed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_node_epoch(&self, node: NodeId) -> Result<NodeLife, StoreError> {
        let life = self
            .transact(|transaction| async move {
                let key = Key::Node(node);
                let mut value = get_message::<Node>(&*transaction, &key)
                    .await?
                    .unwrap_or_default();
                value.epoch += 1;
                set_message(&*transaction, &key, &value);
                transaction.commit().await?;
                Ok::<_, StoreError>(NodeLife {
                    epoch: NodeEpoch(value.epoch),
                    hlc_ceiling: HlcTimestamp::from_u64(value.hlc_ceiling),
                })
            })
            .await?;
        self.sync().await?;
        Ok(life)
    }

    /// Raises the stamp ceiling of a node in `epoch`, durably.
    ///
    /// # Errors
    /// [`RaiseError::Superseded`] if the node has begun a later life.
    pub async fn raise_node_ceiling(
        &self,
        node: NodeId,
        epoch: NodeEpoch,
        ceiling: HlcTimestamp,
    ) -> Result<(), RaiseError> {
        self.transact(|transaction| async move {
            let key = Key::Node(node);
            let mut value = get_message::<Node>(&*transaction, &key)
                .await?
                .unwrap_or_default();
            if value.epoch != epoch.0 {
                return Err(RaiseError::Superseded {
                    newest: NodeEpoch(value.epoch),
                });
            }
            value.hlc_ceiling = value.hlc_ceiling.max(ceiling.as_u64());
            set_message(&*transaction, &key, &value);
            transaction.commit().await?;
            Ok(())
        })
        .await?;
        Ok(self.sync().await?)
    }
}

/// The ceiling of one life of a node, as its clock raises it.
pub struct NodeCeiling {
    store: DocumentStore,
    node: NodeId,
    epoch: NodeEpoch,
}

impl NodeCeiling {
    /// The ceiling of `node` in `epoch`.
    pub fn new(store: DocumentStore, node: NodeId, epoch: NodeEpoch) -> Self {
        Self { store, node, epoch }
    }
}

#[async_trait]
impl CeilingStore for NodeCeiling {
    async fn raise(&self, ceiling: HlcTimestamp) -> Result<(), CeilingError> {
        let raised = self
            .store
            .raise_node_ceiling(self.node, self.epoch, ceiling)
            .await;
        raised.map_err(|error| CeilingError(Box::new(error)))
    }
}
