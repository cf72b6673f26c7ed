use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crdt_document::{CONTENT, CrdtDocument, CrdtError, ImportOutcome};
use document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX;
use document_types::{CounterSpan, Frontiers, PeerId, VersionVector};
use loro::event::{Diff, DiffBatch};
use loro::{ContainerID, ContainerType, ExportMode, LoroDoc, Subscription, TextDelta};

use crate::{TextChange, TextStep};

/// The engine's document, and how its text changes.
pub(crate) struct Content {
    crdt: CrdtDocument,
    peer: PeerId,
    /// Characters of the text.
    len: usize,
    /// What the engine said of changes to the text since it was last asked.
    deltas: Arc<Mutex<Vec<Vec<TextDelta>>>>,
    /// There is none while the document is empty: telling of a whole document's text costs the engine
    /// a hundred times what loading it does.
    subscription: Option<Subscription>,
}

impl Content {
    pub(crate) fn new(peer: PeerId) -> Result<Self, CrdtError> {
        Ok(Self::unwatched(CrdtDocument::new(peer)?, peer))
    }

    fn unwatched(crdt: CrdtDocument, peer: PeerId) -> Self {
        let len = crdt.engine().get_text(CONTENT).len_unicode();
        Self {
            crdt,
            peer,
            len,
            deltas: Arc::default(),
            subscription: None,
        }
    }

    /// Listens to the engine from here on, if it does not yet.
    fn watch(&mut self) {
        let heard = Arc::clone(&self.deltas);
        let crdt = &self.crdt;
        self.subscription.get_or_insert_with(|| {
            crdt.engine().subscribe(
                &text_id(),
                Arc::new(move |event| {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    for part in event.events {
                        if let Diff::Text(delta) = part.diff {
                            heard.push(delta);
                        }
                    }
                }),
            )
        });
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    /// Writes as `peer` from here on.
    pub(crate) fn set_peer(&mut self, peer: PeerId) -> Result<(), CrdtError> {
        self.crdt.engine().set_peer_id(peer.0)?;
        self.peer = peer;
        Ok(())
    }

    pub(crate) fn crdt(&self) -> &CrdtDocument {
        &self.crdt
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn text(&self) -> Result<String, CrdtError> {
        self.crdt.text_in(CONTENT)
    }

    /// Imports updates as one step, or a snapshot. The change is to the text before edits that wait
    /// for their commit; there is one also if the engine refused the last of several updates.
    pub(crate) fn import(
        &mut self,
        step: &[Bytes],
    ) -> (Result<ImportOutcome, CrdtError>, TextChange) {
        let is_first = self.subscription.is_none() && self.len == 0;
        if !is_first {
            self.listen();
        }
        let outcome = self.crdt.import_batch(step);
        let change = if self.crdt.is_poisoned() {
            TextChange::none(self.len)
        } else if is_first {
            self.take_all()
        } else {
            self.take_change()
        };
        (outcome, change)
    }

    /// Listens, and forgets what was heard before.
    fn listen(&mut self) {
        self.watch();
        self.deltas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The whole text, which came into an empty document that nobody listened to.
    fn take_all(&mut self) -> TextChange {
        let text = self.crdt.engine().get_text(CONTENT);
        self.len = text.len_unicode();
        TextChange::splice(0, 0, 0, &text.to_string()).unwrap_or_default()
    }

    /// Makes `change` in the text, as one change of the engine's.
    pub(crate) fn apply(&mut self, change: &TextChange) -> Result<(), CrdtError> {
        let mut position = 0;
        for step in change.steps() {
            match step {
                TextStep::Retain(count) => position += count,
                TextStep::Insert(text) => {
                    self.crdt.insert_text(CONTENT, position, text)?;
                    position += text.chars().count();
                }
                TextStep::Delete(count) => self.crdt.delete_text(CONTENT, position, count)?,
            }
        }
        self.crdt.commit()?;
        self.len = change.len_after();
        Ok(())
    }

    /// Runs an application's own transaction and commits it.
    pub(crate) fn run(
        &mut self,
        transaction: impl FnOnce(&LoroDoc),
    ) -> Result<TextChange, CrdtError> {
        self.listen();
        let doc = self.crdt.engine();
        panic::catch_unwind(AssertUnwindSafe(|| {
            transaction(doc);
            doc.commit();
        }))
        .map_err(|_| CrdtError::Poisoned)?;
        Ok(self.take_change())
    }

    /// What the engine said of the text since the list was cleared, as one change.
    fn take_change(&mut self) -> TextChange {
        let deltas =
            std::mem::take(&mut *self.deltas.lock().unwrap_or_else(PoisonError::into_inner));
        let change = deltas
            .iter()
            .fold(TextChange::none(self.len), |change, delta| {
                let next = TextChange::from_engine(delta, change.len_after());
                change.then(&next).unwrap_or(change)
            });
        self.len = self.crdt.engine().get_text(CONTENT).len_unicode();
        debug_assert_eq!(
            change.len_after(),
            self.len,
            "the engine's deltas add up to its text"
        );
        change
    }

    /// How the text changes from one version to a later one; `len` are its characters at the first.
    pub(crate) fn change_between(
        &self,
        from: &loro::Frontiers,
        to: &loro::Frontiers,
        len: usize,
    ) -> Result<TextChange, CrdtError> {
        let content = text_id();
        let batch = self.crdt.engine().diff(from, to)?;
        let delta = batch.iter().find(|(container, _)| **container == content);
        Ok(match delta {
            Some((_, Diff::Text(delta))) => TextChange::from_engine(delta, len),
            _ => TextChange::none(len),
        })
    }

    /// What changes outside of the text from one version to a later one.
    pub(crate) fn other_changes_between(
        &self,
        from: &loro::Frontiers,
        to: &loro::Frontiers,
    ) -> Result<DiffBatch, CrdtError> {
        let content = text_id();
        let mut others = DiffBatch::default();
        for (container, diff) in self.crdt.engine().diff(from, to)?.iter() {
            if *container != content {
                // It can't be in the new batch already: each container comes once.
                let _ = others.push(container.clone(), diff.clone());
            }
        }
        Ok(others)
    }

    /// The document as it was at `version`, to be written on by `peer`.
    pub(crate) fn at(&self, version: &VersionVector, peer: PeerId) -> Result<Self, CrdtError> {
        if version.is_empty() {
            return Self::new(peer);
        }
        let frontiers = self.frontiers_of(version);
        let snapshot = self
            .crdt
            .engine()
            .export(ExportMode::snapshot_at(&frontiers))?;
        Ok(Self::unwatched(
            CrdtDocument::from_snapshot(&snapshot, peer)?,
            peer,
        ))
    }

    /// The engine's name for a version.
    pub(crate) fn frontiers_of(&self, version: &VersionVector) -> loro::Frontiers {
        let version = version
            .iter()
            .map(|(peer, end)| (peer.0, i32::try_from(end).unwrap_or(i32::MAX)))
            .collect();
        self.crdt.engine().vv_to_frontiers(&version)
    }

    /// Own operations as updates that cost their readers little, `inserted_bytes` of text in all if
    /// that is known.
    pub(crate) fn export_own(
        &self,
        span: CounterSpan,
        inserted_bytes: Option<usize>,
    ) -> Result<Vec<(CounterSpan, Bytes)>, CrdtError> {
        if inserted_bytes.is_some_and(|bytes| bytes <= INSERTED_TEXT_PER_IMPORT_BYTES_MAX) {
            return Ok(vec![(span, self.crdt.export_spans(&[span])?)]);
        }
        let mut before = self.crdt.version()?;
        before.set_end(span.peer, span.start);
        let slices = self.crdt.export_since_in_slices(&before)?;
        Ok(slices
            .into_iter()
            .map(|slice| (slice.span, slice.bytes))
            .collect())
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if self.crdt.is_poisoned() {
            // Ending it takes locks that the engine's panic may have left poisoned.
            std::mem::forget(self.subscription.take());
        }
    }
}

/// The engine's name for frontiers.
pub(crate) fn engine_frontiers(frontiers: &Frontiers) -> loro::Frontiers {
    frontiers
        .iter()
        .map(|id| loro::ID::new(id.peer.0, i32::try_from(id.counter).unwrap_or(i32::MAX)))
        .collect()
}

fn text_id() -> ContainerID {
    ContainerID::new_root(CONTENT, ContainerType::Text)
}
