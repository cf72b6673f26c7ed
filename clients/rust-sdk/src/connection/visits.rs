use std::collections::BTreeSet;
use std::sync::Arc;

use document_types::DocumentId;
use document_types::limits::PULSE_LATE_MAX;
use sync_protocol::{ClientText, Message};
use tokio::time::Instant;

use crate::registry::{Registry, Shared};

/// Takes to the server what replicas say.
pub(super) trait Outgoing {
    /// A text about traces.
    fn text(&mut self, text: &ClientText);
    /// A message of a document.
    fn message(&mut self, document: &DocumentId, message: Message);
}

/// The documents that know of a connection.
#[derive(Default)]
pub(super) struct Visits {
    connected: BTreeSet<DocumentId>,
}

impl Visits {
    /// Lets each replica do what is due, if `all_read` or if it is much too late, and takes its
    /// messages, which are bounded by what it may have in flight. Returns when the next has
    /// something due.
    pub(super) fn visit_all(
        &mut self,
        registry: &Registry,
        outgoing: &mut impl Outgoing,
        now: Instant,
        all_read: bool,
    ) -> Option<Instant> {
        let replicas = registry.all();
        let open: BTreeSet<_> = replicas
            .iter()
            .map(|(document, _)| document.clone())
            .collect();
        let left: Vec<_> = self.connected.difference(&open).cloned().collect();
        for document in left {
            self.connected.remove(&document);
            outgoing.message(&document, Message::Leave);
        }
        let mut next = None;
        for (document, shared) in replicas {
            let mut replica = shared.replica();
            if self.connected.insert(document.clone()) {
                replica.connected(now);
            }
            let too_late = |due: Instant| due + PULSE_LATE_MAX <= now;
            if all_read || replica.deadline().is_some_and(too_late) {
                replica.tick(now);
            }
            while let Some(text) = replica.next_text(&document) {
                outgoing.text(&text);
            }
            while let Some(message) = replica.next_message() {
                outgoing.message(&document, message);
            }
            next = next.into_iter().chain(replica.deadline()).min();
        }
        next
    }

    /// The replica of a document that knows of the connection.
    pub(super) fn replica(
        &self,
        registry: &Registry,
        document: &DocumentId,
    ) -> Option<Arc<Shared>> {
        self.connected
            .contains(document)
            .then(|| registry.get(document))
            .flatten()
    }
}
