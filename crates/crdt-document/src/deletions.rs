//! Whether what an imported update took out of texts and lists is what it says that it takes.
//!
//! A deletion names the elements that it is about, and says where they were. The engine takes the place
//! for granted and deletes whatever is there; who reads the history, and an engine that has to find its
//! way through concurrent updates, go by the names. Where the two differ somebody else's text goes
//! without a word of it in the history, and some orders of import end in a panic.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use document_types::record::OperationKind;
use loro::cursor::{Cursor, Side};
use loro::event::{Diff, DiffEvent, ListDiffItem};
use loro::{
    Container, ContainerID, ContainerType, ID, IdSpan, JsonListOp, JsonOp, JsonOpContent,
    JsonTextOp, LoroDoc, TextDelta, VersionVector,
};

use crate::engine::to_engine_span;
use crate::{CrdtDocument, CrdtError, ImportOutcome, InspectedUpdate};

/// How many elements of one container may be looked for by walking all that it holds, before a list of
/// all is made.
const WALKS_MAX: usize = 32;

impl CrdtDocument {
    /// Imports updates into an attached document as [`CrdtDocument::import_batch`] does, and compares
    /// what they took out of texts and lists with what they name. Elements of movable lists and the marks
    /// of styles are not compared. `inspected` are the same updates.
    ///
    /// Also says how much time, on the clock `cpu_time`, went into finding what they name. That follows
    /// from the document's size, and is no fault of theirs.
    ///
    /// # Errors
    /// [`CrdtError::ForeignDeletion`] if something else was taken than what was named; the document is of
    /// no use any more. Else as [`CrdtDocument::import_batch`].
    pub fn import_batch_checked<B: AsRef<[u8]>>(
        &self,
        updates: &[B],
        inspected: &[InspectedUpdate],
        cpu_time: fn() -> Duration,
    ) -> Result<(ImportOutcome, Duration), CrdtError> {
        let deletes = |update: &InspectedUpdate| update.kinds.contains(&OperationKind::Delete);
        if !inspected.iter().any(deletes) {
            return Ok((self.import_batch(updates)?, Duration::ZERO));
        }
        let mut find_time = Duration::ZERO;
        // While it is detached the history has the updates already and the state has not.
        let outcome = self.import_detached(updates, |document| {
            document.call(|doc| {
                let started = cpu_time();
                let claims = claims(doc, inspected);
                find_time = cpu_time().saturating_sub(started);
                let mut seen = attach(doc);
                let differs = claims.into_iter().any(|(container, claim)| {
                    let seen = seen.remove(&container).unwrap_or_default();
                    !is_deleted(doc, &container) && claim != seen
                });
                if differs {
                    return Err(CrdtError::ForeignDeletion);
                }
                Ok(())
            })?
        })?;
        Ok((outcome, find_time))
    }
}

/// What some updates do to one container, as they say it or as it was seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Effect {
    /// Where the elements stood that the container held before and that went.
    places: BTreeSet<usize>,
    /// Elements that came and stayed.
    inserted_count: usize,
}

/// What the updates say, for each container that they delete from and that is there. The state of `doc`
/// is the one before them.
fn claims(doc: &LoroDoc, updates: &[InspectedUpdate]) -> HashMap<ContainerID, Effect> {
    let mut written: HashMap<ContainerID, Written> = HashMap::new();
    for span in updates.iter().flat_map(|update| &update.spans) {
        for change in doc.export_json_in_id_span(to_engine_span(span.span)) {
            for op in &change.ops {
                written
                    .entry(op.container.clone())
                    .or_default()
                    .add(change.id.peer, op);
            }
        }
    }
    let known = doc.state_vv();
    written
        .into_iter()
        .filter(|(container, written)| !written.deletions.is_empty() && !is_deleted(doc, container))
        .filter_map(|(container, written)| {
            let claim = written.claim(Elements::new(doc, &container)?, &known);
            Some((container, claim))
        })
        .collect()
}

/// What was written to one container.
#[derive(Default)]
struct Written {
    insertions: Vec<IdSpan>,
    /// The elements that each deletion names, and where it says the first of them is.
    deletions: Vec<(IdSpan, usize)>,
}

impl Written {
    fn add(&mut self, peer: u64, op: &JsonOp) {
        let inserted = match &op.content {
            JsonOpContent::Text(JsonTextOp::Insert { text, .. }) => text.chars().count(),
            JsonOpContent::List(JsonListOp::Insert { value, .. }) => value.len(),
            JsonOpContent::Text(JsonTextOp::Delete { pos, len, start_id })
            | JsonOpContent::List(JsonListOp::Delete { pos, len, start_id }) => {
                // Deletions of several elements may be written from the last to the first.
                let place = if *len < 0 { *pos + *len + 1 } else { *pos };
                let end = start_id.counter.saturating_add_unsigned(len.unsigned_abs());
                let named = IdSpan::new(start_id.peer, start_id.counter, end);
                self.deletions
                    .push((named, usize::try_from(place).unwrap_or(0)));
                return;
            }
            _ => return,
        };
        let end = op
            .counter
            .saturating_add_unsigned(u32::try_from(inserted).unwrap_or(u32::MAX));
        self.insertions.push(IdSpan::new(peer, op.counter, end));
    }

    /// `known` is what `elements` are the state of.
    fn claim(self, mut elements: Elements<'_>, known: &VersionVector) -> Effect {
        let mut claim = Effect::default();
        let mut named_new = BTreeSet::new();
        for (named, place) in self.deletions {
            let mut next = place;
            for counter in named.counter.start..named.counter.end {
                let id = ID::new(named.peer, counter);
                let is_new = known.get(&id.peer).is_none_or(|end| counter >= *end);
                if is_new {
                    named_new.insert(id);
                } else if let Some(place) = elements.place_of(id, next) {
                    claim.places.insert(place);
                    next = place + 1;
                }
            }
        }
        let inserted = self.insertions.iter().flat_map(|span| {
            let counters = span.counter.start..span.counter.end;
            counters.map(|counter| ID::new(span.peer, counter))
        });
        claim.inserted_count = inserted.filter(|id| !named_new.contains(id)).count();
        claim
    }
}

/// The elements of a text or a list, in their order.
struct Elements<'a> {
    doc: &'a LoroDoc,
    container: Container,
    id: &'a ContainerID,
    walks: usize,
    /// All of them, once it is worth it.
    places: Option<HashMap<ID, usize>>,
}

impl<'a> Elements<'a> {
    fn new(doc: &'a LoroDoc, id: &'a ContainerID) -> Option<Self> {
        let is_sequence = matches!(
            id.container_type(),
            ContainerType::Text | ContainerType::List
        );
        Some(Self {
            doc,
            container: doc.get_container(id.clone()).filter(|_| is_sequence)?,
            id,
            walks: 0,
            places: None,
        })
    }

    /// Where the element stands, if it does; it is looked for at `guess` first.
    fn place_of(&mut self, element: ID, guess: usize) -> Option<usize> {
        if self.at(guess) == Some(element) {
            return Some(guess);
        }
        if self.places.is_none() && self.walks == WALKS_MAX {
            let all = (0..).map_while(|place| Some((self.at(place)?, place)));
            self.places = Some(all.collect());
        }
        if let Some(places) = &self.places {
            return places.get(&element).copied();
        }
        self.walks += 1;
        let cursor = Cursor::new(Some(element), self.id.clone(), Side::Middle, 0);
        let mut state = self.doc.inner().app_state().lock();
        let place = state.get_relative_position(&cursor, true)?;
        drop(state);
        // The marks of styles have ids too, and no place of their own.
        (self.at(place) == Some(element)).then_some(place)
    }

    fn at(&self, place: usize) -> Option<ID> {
        match &self.container {
            Container::Text(text) => text.get_cursor(place, Side::Middle)?.id,
            Container::List(list) => list.get_cursor(place, Side::Middle)?.id,
            _ => None,
        }
    }
}

/// Whether no way leads to the container any more. The engine says nothing of what happens to it then.
fn is_deleted(doc: &LoroDoc, id: &ContainerID) -> bool {
    doc.get_path_to_container(id).is_none()
}

/// Brings the state up to date, and says what that did to texts and lists.
fn attach(doc: &LoroDoc) -> HashMap<ContainerID, Effect> {
    let seen = Arc::new(Mutex::new(HashMap::new()));
    let noted = seen.clone();
    let subscription = doc.subscribe_root(Arc::new(move |event| {
        note(
            event,
            &mut noted.lock().unwrap_or_else(PoisonError::into_inner),
        );
    }));
    doc.checkout_to_latest();
    drop(subscription);
    std::mem::take(&mut seen.lock().unwrap_or_else(PoisonError::into_inner))
}

fn note(event: DiffEvent<'_>, seen: &mut HashMap<ContainerID, Effect>) {
    for diff in event.events {
        let effect = seen.entry(diff.target.clone()).or_default();
        let mut place = 0;
        match diff.diff {
            Diff::Text(delta) => {
                for step in delta {
                    match step {
                        TextDelta::Retain { retain, .. } => place += retain,
                        TextDelta::Insert { insert, .. } => {
                            effect.inserted_count += insert.chars().count();
                        }
                        TextDelta::Delete { delete } => {
                            effect.places.extend(place..place + delete);
                            place += delete;
                        }
                    }
                }
            }
            Diff::List(delta) => {
                for step in delta {
                    match step {
                        ListDiffItem::Retain { retain } => place += retain,
                        ListDiffItem::Insert { insert, .. } => {
                            effect.inserted_count += insert.len();
                        }
                        ListDiffItem::Delete { delete } => {
                            effect.places.extend(place..place + delete);
                            place += delete;
                        }
                    }
                }
            }
            _ => {}
        }
    }
}
