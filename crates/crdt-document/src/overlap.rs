//! Whether two versions of the same operations say the same.

use document_types::{CounterSpan, Digest, OpId, PeerId, VersionVector};
use loro::{
    JsonChange, JsonListOp as ListOp, JsonMovableListOp as MovableListOp, JsonOpContent,
    JsonTextOp as TextOp,
};

use crate::engine::{from_engine_counter, from_engine_id, to_engine_span};
use crate::inspect::envelope::join;
use crate::slices::operation_len;
use crate::{CrdtDocument, CrdtError};

/// What comparing two versions of the same operations found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// They are the same operations, maybe cut into changes elsewhere: a duplicate.
    Equal,
    /// The same ids stand for other operations: equivocation.
    Different,
}

impl CrdtDocument {
    /// Compares the operations of `overlap` in `update` with those that the document holds, one by
    /// one: content, place and what each was written on top of. Where an export cuts changes and
    /// operations, their timestamps and messages make no difference.
    ///
    /// The update is read in a scratch document that holds what the update was written on top of.
    ///
    /// # Errors
    /// [`CrdtError::MissingDependency`] if the document does not hold all of that;
    /// [`CrdtError::Panicked`] if the update makes the engine panic: the scratch document is lost,
    /// this one is not.
    pub fn compare_overlap(
        &self,
        update: &[u8],
        overlap: CounterSpan,
    ) -> Result<Overlap, CrdtError> {
        let inspected = crate::inspect::read(update)?;
        let Some(offered) = inspected
            .spans
            .iter()
            .find(|span| span.span.peer == overlap.peer)
        else {
            return Ok(Overlap::Different);
        };
        if offered.span.start > overlap.start || offered.span.end < overlap.end {
            return Ok(Overlap::Different);
        }
        let mut below: Vec<OpId> = inspected
            .spans
            .iter()
            .flat_map(|span| span.dependencies.iter().copied())
            .collect();
        below.extend(inspected.spans.iter().filter_map(|span| {
            let counter = span.span.start.checked_sub(1)?;
            Some(OpId {
                peer: span.span.peer,
                counter,
            })
        }));
        if let Some(missing) = inspected.missing(&self.version()?) {
            return Err(CrdtError::MissingDependency { missing });
        }
        let Some(mut base) = self.version_at(&below)? else {
            return Ok(Overlap::Different);
        };
        // What the document holds from there on is what is being compared with.
        base.set_end(overlap.peer, offered.span.start);
        let spans: Vec<_> = base.beyond(&VersionVector::new()).collect();
        let base = self.export_spans(&spans)?;
        let scratch = Self::detached()?;
        scratch.import(&join(&[&base, update]))?;
        if scratch.version()?.end(overlap.peer) < overlap.end {
            // It claims to be written on top of something that was written on top of it.
            return Ok(Overlap::Different);
        }
        Ok(
            if scratch.span_digest(overlap)? == self.span_digest(overlap)? {
                Overlap::Equal
            } else {
                Overlap::Different
            },
        )
    }

    /// Imports `update`, none of which may stay pending.
    pub(crate) fn import_whole(&self, update: &[u8]) -> Result<(), CrdtError> {
        match self.import(update)?.pending.first() {
            None => Ok(()),
            Some(span) => Err(CrdtError::MissingDependency {
                missing: OpId {
                    peer: span.peer,
                    counter: span.start,
                },
            }),
        }
    }

    /// The digest of the operations of `span`, whatever the changes are that they stand in.
    pub(crate) fn span_digest(&self, span: CounterSpan) -> Result<Digest, CrdtError> {
        self.call(|doc| {
            let mut atoms = Atoms(blake3::Hasher::new());
            for change in doc.export_json_in_id_span(to_engine_span(span)) {
                atoms.change(&change);
            }
            Digest(*atoms.0.finalize().as_bytes())
        })
    }
}

/// Writes operations atom by atom, so that it does not matter how they were joined.
struct Atoms(blake3::Hasher);

impl Atoms {
    fn change(&mut self, change: &JsonChange) {
        self.dependencies(change);
        for op in &change.ops {
            let container = op.container.to_string();
            let counter = from_engine_counter(op.counter);
            match &op.content {
                JsonOpContent::Text(TextOp::Insert { pos, text }) => {
                    for (offset, character) in (0..).zip(text.chars()) {
                        self.atom(counter + offset, &container, "insert", pos + offset);
                        self.text(character.encode_utf8(&mut [0; 4]));
                    }
                }
                JsonOpContent::List(ListOp::Insert { pos, value })
                | JsonOpContent::MovableList(MovableListOp::Insert { pos, value }) => {
                    for (offset, value) in (0..).zip(value) {
                        self.atom(counter + offset, &container, "insert", pos + offset);
                        self.json(value);
                    }
                }
                JsonOpContent::Text(TextOp::Delete { pos, len, start_id })
                | JsonOpContent::List(ListOp::Delete { pos, len, start_id })
                | JsonOpContent::MovableList(MovableListOp::Delete { pos, len, start_id }) => {
                    self.deletion(counter, &container, *pos, *len, *start_id);
                }
                single => {
                    self.atom(counter, &container, "other", operation_len(single));
                    self.json(single);
                }
            }
        }
    }

    /// What a change was written on top of. One that follows its own peer's last operation and
    /// nothing else goes on where that stopped, so a cut there says nothing.
    fn dependencies(&mut self, change: &JsonChange) {
        let mut dependencies: Vec<OpId> = change.deps.iter().copied().map(from_engine_id).collect();
        dependencies.sort_unstable();
        let peer = PeerId(change.id.peer);
        let counter = from_engine_counter(change.id.counter);
        let goes_on = match counter.checked_sub(1) {
            Some(previous) => {
                dependencies
                    == [OpId {
                        peer,
                        counter: previous,
                    }]
            }
            None => dependencies.is_empty(),
        };
        if !goes_on {
            self.text("depends");
            self.text(&format!("{counter} {dependencies:?}"));
        }
    }

    /// A deletion of a negative length goes backwards, as a held backspace does: its first atom
    /// deletes the last of its ids.
    fn deletion(&mut self, counter: u32, container: &str, pos: i32, len: i32, start: loro::ID) {
        let count = len.unsigned_abs();
        for offset in 0..count {
            let (position, id_offset) = if len > 0 {
                (i64::from(pos), offset)
            } else {
                (i64::from(pos) - i64::from(offset), count - 1 - offset)
            };
            self.atom(counter + offset, container, "delete", position);
            self.text(&format!(
                "{}@{}",
                i64::from(start.counter) + i64::from(id_offset),
                start.peer
            ));
        }
    }

    fn atom(&mut self, counter: u32, container: &str, kind: &str, place: impl ToString) {
        self.text(&counter.to_string());
        self.text(container);
        self.text(kind);
        self.text(&place.to_string());
    }

    /// `serde_json`'s values compare and print with their keys sorted or in the order of insertion,
    /// whichever the build says, so maps are sorted here.
    fn json(&mut self, value: &impl serde::Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        self.sorted(&value);
    }

    fn sorted(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::Array(values) => {
                self.text("[");
                values.iter().for_each(|value| self.sorted(value));
                self.text("]");
            }
            serde_json::Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(key, _)| *key);
                self.text("{");
                for (key, value) in members {
                    self.text(key);
                    self.sorted(value);
                }
                self.text("}");
            }
            scalar => self.text(&scalar.to_string()),
        }
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }
}
