//! Which documents are due for a fold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use clock::Clock;
use document_store::Head;
use document_types::limits::{FOLD_AGE_MAX, FOLD_QUEUE_COUNT_MAX};
use document_types::{DocumentId, HlcTimestamp};
use tokio::sync::Notify;

/// Documents in the order in which they became due, each once. A full queue lets a document go: its
/// next update offers it again.
pub(crate) struct FoldQueue {
    clock: Arc<dyn Clock>,
    due: Mutex<Due>,
    arrived: Notify,
}

#[derive(Default)]
struct Due {
    order: VecDeque<DocumentId>,
    contained: BTreeSet<DocumentId>,
    /// Documents that are not due yet, and since when they have a tail, in milliseconds.
    ageing: BTreeMap<DocumentId, u64>,
}

impl FoldQueue {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            due: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Takes a document whose head has moved: at once if its tail has grown enough, otherwise when
    /// its changes have stood long enough.
    pub(crate) fn offer(&self, document: &DocumentId, head: &Head) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if head.fold_is_due(self.clock.now_ms()) {
            due.ageing.remove(document);
            due.push(document);
            self.arrived.notify_one();
        } else if due.ageing.len() < FOLD_QUEUE_COUNT_MAX {
            let since_ms = HlcTimestamp::from_u64(head.tail_since_hlc).millis();
            due.ageing.insert(document.clone(), since_ms);
        }
    }

    /// Takes the documents whose changes have stood long enough at `now_ms`.
    pub(crate) fn offer_aged(&self, now_ms: u64) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let aged: Vec<_> = due
            .ageing
            .iter()
            .filter(|(_, since_ms)| {
                u128::from(now_ms.saturating_sub(**since_ms)) >= FOLD_AGE_MAX.as_millis()
            })
            .map(|(document, _)| document.clone())
            .collect();
        for document in aged {
            due.ageing.remove(&document);
            due.push(&document);
            self.arrived.notify_one();
        }
    }

    /// The next document that is due.
    pub(crate) async fn next(&self) -> DocumentId {
        loop {
            let arrived = self.arrived.notified();
            if let Some(document) = self.pop() {
                return document;
            }
            arrived.await;
        }
    }

    fn pop(&self) -> Option<DocumentId> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let document = due.order.pop_front()?;
        due.contained.remove(&document);
        Some(document)
    }
}

impl Due {
    fn push(&mut self, document: &DocumentId) {
        if self.order.len() < FOLD_QUEUE_COUNT_MAX && self.contained.insert(document.clone()) {
            self.order.push_back(document.clone());
        }
    }
}
