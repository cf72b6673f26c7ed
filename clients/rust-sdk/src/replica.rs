//! One document's replica and how it stands with the server. No I/O: messages come in as calls and
//! go out of a queue, and whoever owns the replica says what time it is.
//!
//! Three texts matter. The engine's text is what the replica's operations make. Edits of the
//! application wait before it, as one [`TextChange`], until the next commit; the text with them is
//! what the application sees. When updates of others are imported, the waiting edits are moved over
//! them, and the application is told how its text changes.

mod answers;
mod committing;
mod importing;
mod joining;
mod traced;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use clock::{IdSource, Random};
use crdt_document::CrdtError;
use document_types::limits::{
    ANSWER_WAIT_MAX, CLIENT_EVENTS_WAITING_MAX, KEYSTROKE_GROUP_MAX, MARKS_COUNT_MAX,
    PULSE_LATE_MAX, PULSE_MISSED_BEATS_MAX, RECONNECT_PAUSE_MAX, RESEND_PAUSE_FIRST,
    TRANSACTIONS_WAITING_MAX, UNSENT_UPDATES_COUNT_MAX,
};
use document_types::{DeviceId, DocumentId, Frontiers, PeerId, VersionVector};
use loro::LoroDoc;
use sync_protocol::{ClientText, Message};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::content::Content;
use crate::error::{EditError, ReadError};
use crate::event::{DocumentEvent, Standing, Status};
use crate::outbox::Outbox;
use crate::text_change::TextChange;
pub(crate) use joining::ServerAdditions;
use traced::Traced;

/// What the replica says of its user when it joins.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    pub(crate) device: DeviceId,
    pub(crate) name: String,
    pub(crate) token: Option<String>,
}

/// Where the replica is on its way into the server's room.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// There is no connection.
    Offline,
    /// It joins at this time.
    Pausing { until: Instant },
    /// It has asked to join.
    Joining { since: Instant },
    /// What it lacks is arriving.
    CatchingUp,
    /// It follows the room.
    Live,
    /// It no longer takes part.
    Closed { reason: String },
}

/// A transaction of the application, which waits for the next commit.
type Transaction = Box<dyn FnOnce(&LoroDoc) + Send>;

/// Edits of the application that are not yet operations.
struct Pending {
    /// From the engine's text to the application's.
    change: TextChange,
    /// They run on the engine's document after the change.
    transactions: VecDeque<Transaction>,
    /// When the first of them was made.
    since: Option<Instant>,
}

/// What has arrived and waits until everything that has arrived is read. Updates that are imported
/// together cost much less than one by one, which is how a replica that fell behind comes back.
#[derive(Default)]
struct Inbox {
    updates: Vec<Bytes>,
    bytes: usize,
    /// The room's beat has come.
    beat_heard: bool,
    /// When the first of it came.
    since: Option<Instant>,
}

pub(crate) struct Replica {
    introduction: Introduction,
    ids: IdSource,
    content: Content,
    pending: Pending,
    outbox: Outbox,
    /// Unsent updates from which on they are cut anew.
    compact_at: usize,
    marks: BTreeMap<u64, usize>,
    next_mark: u64,
    stage: Stage,
    read_only: bool,
    /// What the server's log held at the join: all of it has to come.
    promised: VersionVector,
    /// Whether the server sends acks with stamps, and typed refusals.
    stamps: bool,
    /// The room's beat, while it has one.
    beat: Option<Duration>,
    inbox: Inbox,
    /// How often the document had to be joined anew, or a batch to be sent anew, in a row.
    attempts: Backoff,
    /// Nothing is sent before this time.
    send_after: Option<Instant>,
    /// While the replica is being loaded again: where it was when the engine failed, which is the
    /// text that the waiting edits belong to.
    restoring: Option<Frontiers>,
    /// Where the replica is, kept beside the engine, which may not be able to say.
    place: Frontiers,
    reloads: u32,
    out: VecDeque<Message>,
    traced: Traced,
    events: broadcast::Sender<DocumentEvent>,
    standing: watch::Sender<Standing>,
}

impl Replica {
    pub(crate) fn new(
        introduction: Introduction,
        ids: IdSource,
        random: Random,
    ) -> Result<Self, CrdtError> {
        let standing = Standing {
            status: Status::Offline,
            unacknowledged_operations: 0,
        };
        Ok(Self {
            introduction,
            content: Content::new(ids.peer())?,
            ids,
            pending: Pending {
                change: TextChange::none(0),
                transactions: VecDeque::new(),
                since: None,
            },
            outbox: Outbox::default(),
            compact_at: UNSENT_UPDATES_COUNT_MAX,
            marks: BTreeMap::new(),
            next_mark: 0,
            stage: Stage::Offline,
            read_only: false,
            promised: VersionVector::new(),
            stamps: false,
            beat: None,
            inbox: Inbox::default(),
            traced: Traced::new(random.clone()),
            attempts: Backoff::new(random, RESEND_PAUSE_FIRST, RECONNECT_PAUSE_MAX),
            send_after: None,
            restoring: None,
            place: Frontiers::new(),
            reloads: 0,
            out: VecDeque::new(),
            events: broadcast::Sender::new(CLIENT_EVENTS_WAITING_MAX),
            standing: watch::Sender::new(standing),
        })
    }

    // --- What the application reads ---

    pub(crate) fn events(&self) -> broadcast::Receiver<DocumentEvent> {
        self.events.subscribe()
    }

    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.content.peer()
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.change.len_after()
    }

    pub(crate) fn text(&self) -> Result<String, ReadError> {
        let text = self.readable()?.text()?;
        Ok(self.pending.change.apply(&text).unwrap_or(text))
    }

    /// The engine's document, unless it is being loaded.
    pub(crate) fn readable(&self) -> Result<&Content, ReadError> {
        if self.restoring.is_some() {
            Err(ReadError::Reloading)
        } else {
            Ok(&self.content)
        }
    }

    pub(crate) fn version(&self) -> Result<VersionVector, ReadError> {
        Ok(self.readable()?.crdt().version()?)
    }

    // --- What the application does ---

    /// Makes an edit of the text, which the next commit turns into operations.
    pub(crate) fn splice(
        &mut self,
        position: usize,
        deleted: usize,
        inserted: &str,
        now: Instant,
    ) -> Result<(), EditError> {
        self.check_writable()?;
        let len = self.len();
        let out_of_range = || EditError::OutOfRange {
            len,
            position: position.saturating_add(deleted),
        };
        let edit = TextChange::splice(len, position, deleted, inserted).ok_or_else(out_of_range)?;
        if edit.is_none() {
            return Ok(());
        }
        self.pending.change = self
            .pending
            .change
            .then(&edit)
            .map_err(|_| out_of_range())?;
        self.pending.since.get_or_insert(now);
        self.move_marks(&edit);
        Ok(())
    }

    /// Has `transaction` run on the engine's document at the next commit.
    pub(crate) fn transact(
        &mut self,
        transaction: Transaction,
        now: Instant,
    ) -> Result<(), EditError> {
        self.check_writable()?;
        if self.pending.transactions.len() == TRANSACTIONS_WAITING_MAX {
            return Err(EditError::TooManyWaiting);
        }
        self.pending.transactions.push_back(transaction);
        self.pending.since.get_or_insert(now);
        Ok(())
    }

    fn check_writable(&self) -> Result<(), EditError> {
        if let Stage::Closed { .. } = self.stage {
            Err(EditError::Closed)
        } else if self.restoring.is_some() {
            Err(EditError::Reloading)
        } else if self.read_only {
            Err(EditError::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Keeps a position up to date from here on, and names it.
    pub(crate) fn add_mark(&mut self, position: usize) -> Result<u64, EditError> {
        let len = self.len();
        if position > len {
            return Err(EditError::OutOfRange { len, position });
        }
        if self.marks.len() == MARKS_COUNT_MAX {
            return Err(EditError::TooManyMarks);
        }
        let mark = self.next_mark;
        self.next_mark += 1;
        self.marks.insert(mark, position);
        Ok(mark)
    }

    pub(crate) fn mark(&self, mark: u64) -> Option<usize> {
        self.marks.get(&mark).copied()
    }

    pub(crate) fn remove_mark(&mut self, mark: u64) {
        self.marks.remove(&mark);
    }

    fn move_marks(&mut self, change: &TextChange) {
        for position in self.marks.values_mut() {
            *position = change.position_after(*position);
        }
    }

    // --- What time does ---

    /// Does what is due when everything that has arrived is read: imports, joins, commits, sends.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.read_inbox(now);
        match self.stage {
            Stage::Pausing { until } if until <= now => self.join(now),
            Stage::Joining { since } if since + ANSWER_WAIT_MAX <= now => self.rejoin(now),
            _ if self.ack_wait_ends().is_some_and(|end| end <= now) => self.rejoin(now),
            _ => {}
        }
        if self.commit_at().is_some_and(|at| at <= now) {
            self.commit(now);
        }
        self.send(now);
        self.publish();
    }

    /// When [`Replica::tick`] has something to do next, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Pausing { until } => Some(until),
            Stage::Joining { since } => Some(since + ANSWER_WAIT_MAX),
            _ => None,
        };
        [
            stage,
            self.inbox.since,
            self.ack_wait_ends(),
            self.commit_at(),
            self.send_after,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn ack_wait_ends(&self) -> Option<Instant> {
        self.outbox
            .oldest_sent_at()
            .map(|sent_at| sent_at + ANSWER_WAIT_MAX)
    }

    /// When what waits is to be committed, if nothing else happens.
    ///
    /// On the pulse the beat's frame says when, and this is for when it does not come. Without a
    /// pulse an edit goes at once, and while the one before it is under way, edits wait for company.
    fn commit_at(&self) -> Option<Instant> {
        let since = self.pending.since?;
        if self.restoring.is_some() || self.is_closed() {
            return None;
        }
        let in_flight = self.outbox.is_in_flight();
        Some(match (&self.stage, self.beat) {
            (Stage::Live, Some(beat)) if in_flight => {
                since + PULSE_LATE_MAX.max(beat * PULSE_MISSED_BEATS_MAX)
            }
            (Stage::Live, Some(beat)) => since + beat * PULSE_MISSED_BEATS_MAX,
            (Stage::Live, None) if !in_flight => since,
            // On top of what is about to arrive, edits cost everybody less.
            (Stage::Joining { .. } | Stage::CatchingUp, _) => since + PULSE_LATE_MAX,
            _ => since + KEYSTROKE_GROUP_MAX,
        })
    }

    /// The next text to the server about traces, all of which come before the next message.
    pub(crate) fn next_text(&mut self, document: &DocumentId) -> Option<ClientText> {
        self.traced.next_text(document)
    }

    /// The next message to the server.
    pub(crate) fn next_message(&mut self) -> Option<Message> {
        self.out.pop_front()
    }

    // --- For the parts ---

    fn emit(&self, event: DocumentEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Goes to another stage, and says so if the application sees a difference.
    fn enter(&mut self, stage: Stage) {
        let before = self.status();
        self.stage = stage;
        let status = self.status();
        if status != before {
            self.emit(DocumentEvent::Status(status));
        }
        self.publish();
    }

    fn status(&self) -> Status {
        match &self.stage {
            Stage::Offline => Status::Offline,
            Stage::Pausing { .. } | Stage::Joining { .. } | Stage::CatchingUp => Status::CatchingUp,
            Stage::Live => Status::Live,
            Stage::Closed { reason } => Status::Closed {
                reason: reason.clone(),
            },
        }
    }

    /// Tells those who wait for it how the document stands.
    pub(crate) fn publish(&self) {
        let standing = Standing {
            status: self.status(),
            unacknowledged_operations: self.unacknowledged_operations(),
        };
        self.standing.send_if_modified(|published| {
            let modified = *published != standing;
            *published = standing;
            modified
        });
    }

    /// A waiting transaction counts as one operation.
    fn unacknowledged_operations(&self) -> u64 {
        self.outbox.operations()
            + self.pending.change.operations()
            + self.pending.transactions.len() as u64
    }

    /// Moves what the application sees by `change`, which begins at the engine's text.
    fn rebase(&mut self, change: &TextChange) {
        match self.pending.change.transform(change) {
            Ok((pending, shown)) => {
                self.pending.change = pending;
                self.show(shown);
            }
            Err(error) => {
                // The engine said something that does not fit its own text.
                tracing::error!(%error, "edits that waited for their commit are lost");
                self.pending.change = TextChange::none(self.content.len());
                self.marks.values_mut().for_each(|mark| *mark = 0);
            }
        }
    }

    fn show(&mut self, shown: TextChange) {
        if !shown.is_none() {
            self.move_marks(&shown);
            self.emit(DocumentEvent::Changed(shown));
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed { .. })
    }

    /// Takes no further part, for good.
    pub(crate) fn close_because(&mut self, reason: String) {
        tracing::warn!(reason, "a document takes no further part");
        self.out.push_back(Message::Leave);
        self.enter(Stage::Closed { reason });
    }
}

/// Updates in groups of which each is one import's work.
///
/// The server's frames already are; this holds for whatever a stock server sends. Text is not
/// compressed in an update, so its bytes bound the text that it inserts.
fn import_steps(updates: &[Bytes]) -> impl Iterator<Item = &[Bytes]> {
    let mut rest = updates;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|update| {
                bytes += update.len();
                bytes <= document_types::limits::INSERTED_TEXT_PER_IMPORT_BYTES_MAX
            })
            .count();
        let (step, later) = rest.split_at(count.max(1).min(rest.len()));
        rest = later;
        (!step.is_empty()).then_some(step)
    })
}

#[cfg(test)]
mod tests;
