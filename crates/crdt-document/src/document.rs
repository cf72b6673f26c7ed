use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use document_types::{CounterSpan, Frontiers, OpId, PeerId, VersionVector};
use loro::{ExportMode, LoroDoc};

use crate::engine::{
    EngineError, from_engine_counter, from_engine_frontiers, from_engine_range, from_engine_vector,
    to_engine_frontiers, to_engine_span, to_engine_vector,
};
use crate::guard::guarded;
use crate::inspect::InspectError;

/// Why a call on a document failed.
#[derive(Debug, thiserror::Error)]
pub enum CrdtError {
    /// The engine panicked in this call. The document is poisoned from here on: drop it and load it
    /// again.
    #[error("the engine panicked at {place}")]
    Panicked {
        /// Where in its source, if [`crate::quiet_guarded_panics`] is installed. What it said quotes
        /// the document, so it is dropped.
        place: String,
    },
    /// The engine panicked in an earlier call.
    #[error("the document is poisoned by an earlier panic and has to be loaded again")]
    Poisoned,
    /// The engine refused the call and the document is as before.
    #[error("the engine refused the call")]
    Refused(#[from] EngineError),
    /// The bytes break one of our own bounds and were not shown to the engine.
    #[error("the update is malformed or over a limit")]
    Inspect(#[from] InspectError),
    /// Containers or values nest deeper than may be read.
    #[error("the document nests deeper than {depth_max} levels")]
    TooDeep {
        /// The most levels there may be.
        depth_max: usize,
    },
    /// What was asked for reaches back before the document's oldest operation: it was loaded from a
    /// shallow snapshot. Whoever asks needs a full snapshot instead.
    #[error("the document does not hold the history that was asked for")]
    HistoryTrimmed,
    /// The update was written on top of operations that the document does not hold.
    #[error("the update depends on {missing}, which the document does not hold")]
    MissingDependency {
        /// One of the missing operations.
        missing: OpId,
    },
    /// An operation names a tree node or an element of a movable list that was never in its container
    /// when the operation was written.
    #[error("operation {operation} names what its container did not hold")]
    ForeignTarget {
        /// The naming operation.
        operation: OpId,
    },
    /// Deletions took other elements than those that they name.
    #[error("a deletion takes something else than what it names")]
    ForeignDeletion,
}

impl From<loro::LoroError> for CrdtError {
    fn from(error: loro::LoroError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<loro::LoroEncodeError> for CrdtError {
    fn from(error: loro::LoroEncodeError) -> Self {
        Self::Refused(error.into())
    }
}

/// What an import did. `Ok` alone is no success: the engine answers it for operations that wait for
/// others, for known ones, and for known ones with other content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// Operations that are in the document now and were not before, at most one span a peer, sorted.
    pub applied: Vec<CounterSpan>,
    /// Operations that wait, in memory only, for operations that the document does not hold. A
    /// snapshot would lose them.
    pub pending: Vec<CounterSpan>,
}

/// A document, guarded.
///
/// It is **attached**, with its state kept up to date by each import, or **detached**, which holds
/// the history alone, imports in a few microseconds whatever the concurrency, and has its state
/// brought up to date by [`CrdtDocument::materialise`].
///
/// Every call into the engine catches panics. After one the document is poisoned: each further call
/// returns [`CrdtError::Poisoned`], and its memory is leaked when it is dropped, since the engine's
/// destructor would abort the process. Stack overflow and failed allocation can't be caught: bytes
/// from outside pass [`crate::inspect`] first, and a process that serves others leaves their first
/// import to a worker process.
///
/// Calls block and take the engine's locks. Keep a document with one owner, off the async threads.
pub struct CrdtDocument {
    /// `None` only while being dropped.
    doc: Option<LoroDoc>,
    poisoned: AtomicBool,
    /// The end of the own peer's operations that [`CrdtDocument::take_local_update`] has given out.
    pub(crate) taken_end: AtomicU32,
}

impl CrdtDocument {
    /// An empty attached document that writes as `peer`.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] for the peer id `u64::MAX`, which the engine reserves.
    pub fn new(peer: PeerId) -> Result<Self, CrdtError> {
        let document = Self::wrap(LoroDoc::new());
        document.call(|doc| doc.set_peer_id(peer.0))??;
        Ok(document)
    }

    /// An empty detached document: history only, for those who do not write.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn detached() -> Result<Self, CrdtError> {
        let document = Self::new(PeerId(0))?;
        document.detach()?;
        Ok(document)
    }

    /// The attached document that `snapshot` holds, writing as `peer`. Snapshots come from ourselves
    /// alone: theirs is a larger surface than updates', and [`crate::inspect`] refuses them.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] if the bytes are not a snapshot.
    pub fn from_snapshot(snapshot: &[u8], peer: PeerId) -> Result<Self, CrdtError> {
        let document = Self::new(peer)?;
        document.import(snapshot)?;
        let own_end = document.version()?.end(peer);
        document.taken_end.store(own_end, Ordering::Relaxed);
        Ok(document)
    }

    /// The detached document that `snapshot` holds; its state is the snapshot's.
    ///
    /// # Errors
    /// As [`CrdtDocument::from_snapshot`].
    pub fn detached_from_snapshot(snapshot: &[u8]) -> Result<Self, CrdtError> {
        let document = Self::from_snapshot(snapshot, PeerId(0))?;
        document.detach()?;
        Ok(document)
    }

    fn wrap(doc: LoroDoc) -> Self {
        Self {
            doc: Some(doc),
            poisoned: AtomicBool::new(false),
            taken_end: AtomicU32::new(0),
        }
    }

    /// Runs `call` on the engine's document, guarded.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&LoroDoc) -> T) -> Result<T, CrdtError> {
        if self.is_poisoned() {
            return Err(CrdtError::Poisoned);
        }
        let doc = self.engine();
        guarded(|| call(doc)).map_err(|place| {
            self.poisoned.store(true, Ordering::Relaxed);
            tracing::warn!(place, "the engine panicked; the document is poisoned");
            CrdtError::Panicked { place }
        })
    }

    /// The engine's own document, for editors and SDKs that bind to it. Calls made on it are not
    /// guarded.
    pub fn engine(&self) -> &LoroDoc {
        self.doc
            .as_ref()
            .expect("it is taken only while the document is dropped")
    }

    /// Whether an earlier call panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// The peer that the document writes as.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn peer(&self) -> Result<PeerId, CrdtError> {
        self.call(|doc| PeerId(doc.peer_id()))
    }

    /// Whether the document holds history only.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn is_detached(&self) -> Result<bool, CrdtError> {
        self.call(LoroDoc::is_detached)
    }

    /// Makes the document history-only; its state stays where it is.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn detach(&self) -> Result<(), CrdtError> {
        self.call(LoroDoc::detach)
    }

    /// Brings the state up to date with the history and keeps it so.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn attach(&self) -> Result<(), CrdtError> {
        self.call(LoroDoc::checkout_to_latest)
    }

    /// Brings the state up to date with the history; a detached document stays detached. It costs
    /// time in the square of the text that was inserted since the last time, so do it in steps of
    /// [`document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX`], or load a snapshot.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn materialise(&self) -> Result<(), CrdtError> {
        self.call(|doc| {
            let detached = doc.is_detached();
            doc.checkout_to_latest();
            if detached {
                doc.detach();
            }
        })
    }

    /// Imports an update or a snapshot.
    ///
    /// # Errors
    /// [`CrdtError::Refused`] leaves the document as it was; [`CrdtError::Panicked`] poisons it.
    pub fn import(&self, bytes: &[u8]) -> Result<ImportOutcome, CrdtError> {
        Ok(outcome(&self.call(|doc| doc.import(bytes))??))
    }

    /// Imports several updates as one, which for concurrent updates is much cheaper than one by one.
    /// Keep the text that they insert within
    /// [`document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX`] in all.
    ///
    /// The engine's own batch import decodes each update in a document of its own first, which a
    /// panic would turn into an abort, so this is that import without that step.
    ///
    /// # Errors
    /// The first update that the engine refuses ends the batch; those before it are in the document,
    /// and [`CrdtDocument::version`] says which. [`CrdtError::Panicked`] poisons it.
    pub fn import_batch<B: AsRef<[u8]>>(&self, updates: &[B]) -> Result<ImportOutcome, CrdtError> {
        if let [update] = updates {
            return self.import(update.as_ref());
        }
        self.import_detached(updates, Self::attach)
    }

    /// Imports updates into the history, and then brings the state up to date by `attach` unless the
    /// document was detached before.
    pub(crate) fn import_detached<B: AsRef<[u8]>>(
        &self,
        updates: &[B],
        attach: impl FnOnce(&Self) -> Result<(), CrdtError>,
    ) -> Result<ImportOutcome, CrdtError> {
        let before = self.version()?;
        let detached = self.is_detached()?;
        self.detach()?;
        let mut pending = Vec::new();
        let mut refused = None;
        for update in updates {
            match self.import(update.as_ref()) {
                Ok(outcome) => pending.extend(outcome.pending),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if self.is_poisoned() {
            return Err(refused.unwrap_or(CrdtError::Poisoned));
        }
        if !detached {
            attach(self)?;
        }
        if let Some(error) = refused {
            return Err(error);
        }
        let after = self.version()?;
        pending.retain(|span: &CounterSpan| span.end > after.end(span.peer));
        Ok(ImportOutcome {
            applied: after.beyond(&before).collect(),
            pending,
        })
    }

    /// What the document's history holds.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn version(&self) -> Result<VersionVector, CrdtError> {
        self.call(|doc| from_engine_vector(&doc.oplog_vv()))
    }

    /// The operations that nothing in the document's history follows, sorted.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn frontiers(&self) -> Result<Frontiers, CrdtError> {
        self.call(|doc| from_engine_frontiers(&doc.oplog_frontiers()))
    }

    /// All that `frontiers` include: they and what they were written on top of. `None` if the
    /// document does not hold one of them.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn version_at(&self, frontiers: &[OpId]) -> Result<Option<VersionVector>, CrdtError> {
        let frontiers = to_engine_frontiers(frontiers);
        self.call(|doc| {
            doc.frontiers_to_vv(&frontiers)
                .as_ref()
                .map(from_engine_vector)
        })
    }

    /// Where the document's history begins: empty unless it was loaded from a shallow snapshot.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn history_start(&self) -> Result<VersionVector, CrdtError> {
        self.call(|doc| {
            doc.shallow_since_vv()
                .iter()
                .map(|(peer, end)| (PeerId(*peer), from_engine_counter(*end)))
                .collect()
        })
    }

    /// History and state in one blob, for stores and for clients that start from nothing. Operations
    /// that are pending are not in it.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn export_snapshot(&self) -> Result<Bytes, CrdtError> {
        Ok(self.call(|doc| doc.export(ExportMode::Snapshot))??.into())
    }

    /// Everything that the document holds and `known` does not, as one update. For clients that
    /// import it attached, [`CrdtDocument::export_since_in_slices`] keeps the cost bounded.
    ///
    /// # Errors
    /// [`CrdtError::HistoryTrimmed`] if `known` is older than the document's history: the engine
    /// would export an update that nobody could apply.
    pub fn export_since(&self, known: &VersionVector) -> Result<Bytes, CrdtError> {
        if !known.includes(&self.history_start()?) {
            return Err(CrdtError::HistoryTrimmed);
        }
        let known = to_engine_vector(known);
        Ok(self
            .call(|doc| doc.export(ExportMode::updates(&known)))??
            .into())
    }

    /// The operations of `spans`, as one update. Spans of one peer must be adjacent and in order.
    ///
    /// # Errors
    /// [`CrdtError::HistoryTrimmed`] if one starts before the document's history.
    pub fn export_spans(&self, spans: &[CounterSpan]) -> Result<Bytes, CrdtError> {
        let start = self.history_start()?;
        if spans.iter().any(|span| span.start < start.end(span.peer)) {
            return Err(CrdtError::HistoryTrimmed);
        }
        let spans: Vec<_> = spans.iter().map(|span| to_engine_span(*span)).collect();
        Ok(self
            .call(|doc| doc.export(ExportMode::updates_in_range(spans)))??
            .into())
    }
}

pub(crate) fn outcome(status: &loro::ImportStatus) -> ImportOutcome {
    ImportOutcome {
        applied: from_engine_range(&status.success),
        pending: status
            .pending
            .as_ref()
            .map(from_engine_range)
            .unwrap_or_default(),
    }
}

impl Drop for CrdtDocument {
    fn drop(&mut self) {
        let doc = self.doc.take();
        if *self.poisoned.get_mut() {
            // The engine's destructor commits, panics on the lock that the first panic poisoned, and
            // aborts the process if that happens while unwinding. The memory is lost instead.
            mem::forget(doc);
        } else if let Err(place) = guarded(|| drop(doc)) {
            tracing::warn!(place, "the engine panicked while a document was dropped");
        }
    }
}

impl std::fmt::Debug for CrdtDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrdtDocument")
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}
