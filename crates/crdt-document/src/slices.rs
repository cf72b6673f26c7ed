//! Cutting history into updates that are cheap to import one by one.
//!
//! Importing an insertion costs time in the square of its length, whoever imports it, so whatever is
//! handed on is cut into slices of at most
//! [`INSERTED_TEXT_PER_IMPORT_BYTES_MAX`] of inserted text, also within one insertion.

use bytes::Bytes;
use document_types::limits::{CATCH_UP_OPERATIONS_MAX, INSERTED_TEXT_PER_IMPORT_BYTES_MAX};
use document_types::{Counter, CounterSpan, PeerId, VersionVector};
use loro::{JsonChange, JsonOpContent, JsonTextOp as TextOp};
use serde::{Deserialize, Serialize};

use crate::engine::{from_engine_counter, to_engine_span};
use crate::{CrdtDocument, CrdtError};

/// An update within the bounds of one import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The update.
    pub bytes: Bytes,
    /// What it holds: operations of one peer.
    pub span: CounterSpan,
    /// Bytes of text that it inserts.
    pub inserted_text_bytes: u32,
}

impl CrdtDocument {
    /// Everything that the document holds and `known` does not, as updates of one peer each that
    /// whoever knows `known` can import one after the other: none depends on a later one. Each inserts at most
    /// [`INSERTED_TEXT_PER_IMPORT_BYTES_MAX`] of text, and holds at most [`CATCH_UP_OPERATIONS_MAX`]
    /// operations that insert none, or a single longer deletion.
    ///
    /// # Errors
    /// [`CrdtError::HistoryTrimmed`] if `known` is older than the document's history.
    pub fn export_since_in_slices(&self, known: &VersionVector) -> Result<Vec<Slice>, CrdtError> {
        if !known.includes(&self.history_start()?) {
            return Err(CrdtError::HistoryTrimmed);
        }
        let version = self.version()?;
        self.export_in_slices(version.beyond(known))
    }

    /// Cuts `span` out of `update`, which the document does not hold yet, as slices. Other spans of
    /// the update are left out; operations of the span that the document holds already are, too.
    ///
    /// The cut is made in a scratch document, which costs a snapshot of this one.
    ///
    /// # Errors
    /// [`CrdtError::MissingDependency`] if the update does not follow what the document holds;
    /// [`CrdtError::Panicked`] if the update makes the engine panic: the scratch document is lost,
    /// this one is not.
    pub fn slice_update(&self, update: &[u8], span: CounterSpan) -> Result<Vec<Slice>, CrdtError> {
        let scratch = Self::detached_from_snapshot(&self.export_snapshot()?)?;
        let known_end = scratch.version()?.end(span.peer);
        scratch.import_whole(update)?;
        let start = span.start.max(known_end);
        scratch.export_in_slices((start < span.end).then_some(CounterSpan { start, ..span }))
    }

    fn export_in_slices(
        &self,
        spans: impl IntoIterator<Item = CounterSpan>,
    ) -> Result<Vec<Slice>, CrdtError> {
        let mut changes = Vec::new();
        for span in spans {
            changes.extend(self.call(|doc| doc.export_json_in_id_span(to_engine_span(span)))?);
        }
        // A change's lamport time is above that of all changes that it depends on.
        changes.sort_unstable_by_key(|change| (change.lamport, change.id.peer));
        let mut plan = Plan::default();
        for change in &changes {
            plan.add(change);
        }
        plan.finish()
            .into_iter()
            .map(|part| {
                let bytes = self.export_spans(&[part.span])?;
                Ok(Slice {
                    bytes,
                    span: part.span,
                    inserted_text_bytes: part.text_bytes,
                })
            })
            .collect()
    }
}

/// Which operations go into which slice.
#[derive(Default)]
struct Plan {
    done: Vec<Part>,
    open: Option<Part>,
}

struct Part {
    span: CounterSpan,
    text_bytes: u32,
    operations: usize,
}

impl Plan {
    fn add(&mut self, change: &JsonChange) {
        let peer = PeerId(change.id.peer);
        for op in &change.ops {
            let start = from_engine_counter(op.counter);
            if let JsonOpContent::Text(TextOp::Insert { text, .. }) = &op.content {
                for (counter, character) in (start..).zip(text.chars()) {
                    self.push(peer, counter, 1, character.len_utf8(), false);
                }
            } else {
                let len = u32::try_from(operation_len(&op.content)).unwrap_or(u32::MAX);
                let ends_style = matches!(op.content, JsonOpContent::Text(TextOp::MarkEnd));
                self.push(peer, start, len, 0, ends_style);
            }
        }
    }

    /// Adds `len` operations that insert `text_bytes` in all, in a slice of their own if the open one is
    /// another peer's or has no room for them, unless they have to stay with the one before: the engine
    /// looks for a style's begin right before its end.
    fn push(&mut self, peer: PeerId, start: Counter, len: u32, text_bytes: usize, stays: bool) {
        // Text is bounded by its bytes.
        let operations = if text_bytes > 0 { 0 } else { len as usize };
        let end = start.saturating_add(len);
        // It stays far below 32 bits: a slice is closed at its limit.
        let bytes = u32::try_from(text_bytes).unwrap_or(0);
        if let Some(open) = &mut self.open {
            let follows = (open.span.peer, open.span.end) == (peer, start);
            let full = open.text_bytes as usize + text_bytes > INSERTED_TEXT_PER_IMPORT_BYTES_MAX
                || open.operations + operations > CATCH_UP_OPERATIONS_MAX;
            if follows && (stays || !full) {
                open.span.end = end;
                open.text_bytes += bytes;
                open.operations += operations;
                return;
            }
        }
        self.done.extend(self.open.replace(Part {
            span: CounterSpan { peer, start, end },
            text_bytes: bytes,
            operations,
        }));
    }

    fn finish(mut self) -> Vec<Part> {
        self.done.extend(self.open);
        self.done
    }
}

/// How many operations one entry of a change stands for.
pub(crate) fn operation_len(content: &JsonOpContent) -> usize {
    content.op_len()
}
