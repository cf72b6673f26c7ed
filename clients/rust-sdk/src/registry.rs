use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use document_types::DocumentId;
use document_types::limits::DOCUMENTS_PER_SOCKET_MAX;
use tokio::sync::Notify;

use crate::error::OpenError;
use crate::replica::Replica;

/// What the application's handles and the connection's task share: the replicas, each behind a lock
/// that is held for one short call and never over an await, and a bell.
#[derive(Default)]
pub(crate) struct Registry {
    replicas: Mutex<BTreeMap<DocumentId, Arc<Shared>>>,
    /// Rung when the application did something that the task has to look at.
    pub(crate) bell: Notify,
    closed: AtomicBool,
}

/// One replica.
pub(crate) struct Shared(Mutex<Replica>);

impl Shared {
    pub(crate) fn replica(&self) -> MutexGuard<'_, Replica> {
        // Each call leaves the replica whole, also one that panics in the application's own code.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn replicas(&self) -> MutexGuard<'_, BTreeMap<DocumentId, Arc<Shared>>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(
        &self,
        document: &DocumentId,
        replica: Replica,
    ) -> Result<Arc<Shared>, OpenError> {
        let mut replicas = self.replicas();
        if self.closed.load(Ordering::SeqCst) {
            return Err(OpenError::Closed);
        }
        if replicas.contains_key(document) {
            return Err(OpenError::AlreadyOpen);
        }
        if replicas.len() == DOCUMENTS_PER_SOCKET_MAX {
            return Err(OpenError::TooMany {
                count_max: DOCUMENTS_PER_SOCKET_MAX,
            });
        }
        let shared = Arc::new(Shared(Mutex::new(replica)));
        replicas.insert(document.clone(), Arc::clone(&shared));
        drop(replicas);
        self.bell.notify_one();
        Ok(shared)
    }

    pub(crate) fn remove(&self, document: &DocumentId) {
        self.replicas().remove(document);
        self.bell.notify_one();
    }

    pub(crate) fn get(&self, document: &DocumentId) -> Option<Arc<Shared>> {
        self.replicas().get(document).cloned()
    }

    pub(crate) fn all(&self) -> Vec<(DocumentId, Arc<Shared>)> {
        self.replicas()
            .iter()
            .map(|(id, shared)| (id.clone(), Arc::clone(shared)))
            .collect()
    }

    /// The last handle is gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.bell.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}
