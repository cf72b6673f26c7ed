use crdt_document::{CrdtDocument, CrdtError};
use document_types::record::{Payload, StampedUpdate};

/// Says what text an update inserts, from a replica that is fed all updates in log order.
pub struct Texts {
    replica: CrdtDocument,
}

impl Texts {
    /// Before the first update.
    pub fn new() -> Result<Self, CrdtError> {
        Ok(Self {
            replica: CrdtDocument::detached()?,
        })
    }

    /// The text that `update` inserts; `None` if it inserts none, or if that can't be said: its bytes
    /// are elsewhere or encrypted, or it builds on what was trimmed from the log.
    pub fn of(&mut self, update: &StampedUpdate) -> Option<String> {
        let Payload::Inline(bytes) = &update.payload else {
            return None;
        };
        let imported = self.replica.import(bytes);
        if matches!(
            imported,
            Err(CrdtError::Panicked { .. } | CrdtError::Poisoned)
        ) {
            // What follows is then shown without its text, rather than not at all.
            self.replica = CrdtDocument::detached().ok()?;
        }
        let text = self.replica.inserted_text(update.span).ok()?;
        (!text.is_empty()).then_some(text)
    }
}
