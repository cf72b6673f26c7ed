//! The documents that were read lately.

use std::sync::{Arc, Mutex, PoisonError};

use crdt_document::{CrdtDocument, CrdtError};
use document_store::DocumentStore;
use document_types::limits::{REPLICAS_BYTES_MAX, REPLICAS_COUNT_MAX};
use document_types::{DocumentId, PeerId, VersionVector};
use lru::LruCache;
use service_api::CurrentState;
use tokio::time::Instant;

use crate::{ReadError, metrics};

/// The author that a reading replica never writes as.
const NOBODY: PeerId = PeerId(0);

/// A cache of materialised documents, bounded by their estimated bytes and by their count.
pub(crate) struct Replicas {
    store: DocumentStore,
    kept: Mutex<Kept>,
}

struct Kept {
    replicas: LruCache<DocumentId, Arc<Replica>>,
    bytes: u64,
}

/// One document. Its lock makes readers of the same document share one materialisation.
#[derive(Default)]
struct Replica {
    document: tokio::sync::Mutex<Option<CrdtDocument>>,
    bytes: std::sync::atomic::AtomicU64,
}

impl Replicas {
    pub(crate) fn new(store: DocumentStore) -> Self {
        let replicas = LruCache::unbounded();
        Self {
            store,
            kept: Mutex::new(Kept { replicas, bytes: 0 }),
        }
    }

    /// The document as the store has it.
    pub(crate) async fn read(&self, document: &DocumentId) -> Result<CurrentState, ReadError> {
        let started = Instant::now();
        let replica = self.replica(document);
        let mut loaded = replica.document.lock().await;
        let known = match &*loaded {
            Some(kept) => kept.version().unwrap_or_default(),
            None => VersionVector::new(),
        };
        let history = self.store.history_bytes(document, &known).await?;
        let kept = loaded.take();
        let (read, state) = tokio::task::spawn_blocking(move || {
            let current = match (kept, &history.snapshot) {
                (_, Some(snapshot)) => CrdtDocument::from_snapshot(snapshot, NOBODY)?,
                (Some(kept), None) => kept,
                (None, None) => CrdtDocument::new(NOBODY)?,
            };
            current.import_log(&history.updates)?;
            let state = state_of(&current)?;
            Ok::<_, CrdtError>((current, state))
        })
        .await??;
        self.account(document, &replica, read.memory_bytes()?);
        *loaded = Some(read);
        ::metrics::histogram!(metrics::READ_MS).record(started.elapsed().as_secs_f64() * 1_000.0);
        Ok(state)
    }

    fn replica(&self, document: &DocumentId) -> Arc<Replica> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.replicas
            .get_or_insert(document.clone(), Arc::default)
            .clone()
    }

    /// Notes a replica's size, and lets the ones go that were not read for longest.
    fn account(&self, document: &DocumentId, replica: &Replica, bytes: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.replicas.peek(document).is_none() {
            return;
        }
        let before = replica
            .bytes
            .swap(bytes, std::sync::atomic::Ordering::Relaxed);
        kept.bytes = kept.bytes.saturating_sub(before) + bytes;
        while kept.replicas.len() > 1
            && (kept.bytes > REPLICAS_BYTES_MAX || kept.replicas.len() > REPLICAS_COUNT_MAX)
        {
            let Some((_, gone)) = kept.replicas.pop_lru() else {
                break;
            };
            let gone_bytes = gone.bytes.load(std::sync::atomic::Ordering::Relaxed);
            kept.bytes = kept.bytes.saturating_sub(gone_bytes);
        }
        #[allow(clippy::cast_precision_loss)] // Far below 2^52 bytes.
        ::metrics::gauge!(metrics::REPLICA_BYTES).set(kept.bytes as f64);
    }
}

fn state_of(document: &CrdtDocument) -> Result<CurrentState, CrdtError> {
    Ok(CurrentState {
        text: document.text()?,
        version: document.version()?,
        frontiers: document.frontiers()?,
        state_hash: document.state_hash()?,
    })
}
