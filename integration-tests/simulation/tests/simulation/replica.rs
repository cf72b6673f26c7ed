//! A client's document, and what it knows of its own operations' way into the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use clock::Random;
use crdt_document::{CONTENT, CrdtDocument, CrdtError};
use document_types::limits::BATCHES_IN_FLIGHT_MAX;
use document_types::{BatchId, Counter, CounterSpan, PeerId};

use crate::history::{Edit, History, LineId, Token};

/// Updates of one batch.
const UPDATES_PER_BATCH: usize = 6;

/// Consecutive operations of the replica's peer, as they are or were offered.
#[derive(Clone, Debug)]
pub struct Own {
    /// The operations.
    pub span: CounterSpan,
    /// The engine's bytes.
    pub bytes: Bytes,
}

/// See the module.
pub struct Replica {
    /// The engine's document.
    pub document: CrdtDocument,
    /// Whom it writes as.
    pub peer: PeerId,
    /// Its facts.
    pub line: LineId,
    history: History,
    /// The end of the own operations that were made.
    end: Counter,
    /// The end of those that were made updates.
    taken: Counter,
    /// Where edits begin and end.
    cuts: BTreeSet<Counter>,
    /// The end of what was ever offered; it is on the disk before it is offered.
    offered: Counter,
    unsent: VecDeque<Own>,
    in_flight: BTreeMap<BatchId, Vec<Own>>,
}

/// A replica as it was at some time.
pub struct Kept {
    snapshot: Bytes,
    /// Whom it wrote as.
    pub peer: PeerId,
    /// The end of its operations.
    pub end: Counter,
    offered: Counter,
    cuts: BTreeSet<Counter>,
    open: Vec<Own>,
}

impl Replica {
    /// An empty replica.
    pub fn new(peer: PeerId, line: LineId, history: History) -> Result<Self, CrdtError> {
        Ok(Self::around(CrdtDocument::new(peer)?, peer, line, history))
    }

    fn around(document: CrdtDocument, peer: PeerId, line: LineId, history: History) -> Self {
        Self {
            document,
            peer,
            line,
            history,
            end: 0,
            taken: 0,
            offered: 0,
            cuts: BTreeSet::from([0]),
            unsent: VecDeque::new(),
            in_flight: BTreeMap::new(),
        }
    }

    /// A copy of everything that the client keeps on its disk.
    pub fn keep(&self) -> Result<Kept, CrdtError> {
        Ok(Kept {
            snapshot: self.document.export_snapshot()?,
            peer: self.peer,
            end: self.end,
            offered: self.offered,
            cuts: self.cuts.clone(),
            open: self.open(),
        })
    }

    /// The replica as it was when it was kept. What it writes from here on stands on `line`.
    pub fn set_back(kept: Kept, line: LineId, history: History) -> Result<Self, CrdtError> {
        let document = CrdtDocument::from_snapshot(&kept.snapshot, kept.peer)?;
        Ok(Self {
            end: kept.end,
            taken: kept.end,
            offered: kept.offered,
            cuts: kept.cuts,
            unsent: kept.open.into(),
            ..Self::around(document, kept.peer, line, history)
        })
    }

    /// What has no answer, in order.
    fn open(&self) -> Vec<Own> {
        let mut open: Vec<_> = self
            .in_flight
            .values()
            .flatten()
            .chain(&self.unsent)
            .cloned()
            .collect();
        open.sort_by_key(|own| (own.span.start, own.span.end));
        open
    }

    /// The end of the operations that were made here.
    pub fn end(&self) -> Counter {
        self.end
    }

    /// The end of the operations that were ever offered, as far as the disk remembers. If the log
    /// knows more of this peer, the disk was set back.
    pub fn offered(&self) -> Counter {
        self.offered
    }

    /// Whether all that was made here is acknowledged.
    pub fn is_settled(&self) -> bool {
        self.taken == self.end && self.unsent.is_empty() && self.in_flight.is_empty()
    }

    /// Batches that wait for an answer.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Inserts a new token between two others, at `place` of the text, written with at least
    /// `digits` digits.
    pub fn insert(&mut self, place: u32, digits: usize) -> Result<Token, CrdtError> {
        let tokens = self.tokens()?;
        let boundary = scale(place, tokens.len() + 1);
        let end = tokens.last().map_or(0, |last| last.end);
        let at = tokens.get(boundary).map_or(end, |found| found.start);
        let token = self.history.token();
        let text = format!("<{:0digits$}>", token.0);
        self.document.insert_text(CONTENT, at, &text)?;
        self.edited(text.len(), Some(token), Vec::new())?;
        Ok(token)
    }

    /// Deletes up to `count` tokens, from `place` of the text on.
    pub fn delete(&mut self, place: u32, count: usize) -> Result<(), CrdtError> {
        let tokens = self.tokens()?;
        let first = scale(place, tokens.len());
        let deleted: Vec<_> = tokens.iter().skip(first).take(count).copied().collect();
        let (Some(first), Some(last)) = (deleted.first(), deleted.last()) else {
            return Ok(());
        };
        let len = last.end - first.start;
        self.document.delete_text(CONTENT, first.start, len)?;
        self.edited(len, None, deleted.iter().map(|found| found.token).collect())
    }

    fn edited(
        &mut self,
        len: usize,
        inserted: Option<Token>,
        deleted: Vec<Token>,
    ) -> Result<(), CrdtError> {
        self.document.commit()?;
        let end = self.document.version()?.end(self.peer);
        debug_assert_eq!(
            end as usize,
            self.end as usize + len,
            "an edit has an operation a char"
        );
        let span = CounterSpan {
            peer: self.peer,
            start: self.end,
            end,
        };
        self.history.edited(
            self.line,
            Edit {
                span,
                inserted,
                deleted,
            },
        );
        self.end = end;
        self.cuts.insert(end);
        Ok(())
    }

    /// Makes what was edited since the last call an update, to be sent.
    pub fn take_edits(&mut self) -> Result<(), CrdtError> {
        if self.taken < self.end {
            let own = self.export(self.taken, self.end)?;
            self.taken = self.end;
            self.unsent.push_back(own);
        }
        Ok(())
    }

    fn export(&self, start: Counter, end: Counter) -> Result<Own, CrdtError> {
        let span = CounterSpan {
            peer: self.peer,
            start,
            end,
        };
        Ok(Own {
            span,
            bytes: self.document.export_spans(&[span])?,
        })
    }

    /// The next batch, if there is something to send and not too much is in flight.
    pub fn next_batch(&mut self, batch: BatchId) -> Option<Vec<Bytes>> {
        if self.unsent.is_empty() || self.in_flight.len() >= BATCHES_IN_FLIGHT_MAX {
            return None;
        }
        let count = self.unsent.len().min(UPDATES_PER_BATCH);
        let updates: Vec<_> = self.unsent.drain(..count).collect();
        for own in &updates {
            self.history.sent(self.line, own.span);
            self.offered = self.offered.max(own.span.end);
        }
        let bytes = updates.iter().map(|own| own.bytes.clone()).collect();
        self.in_flight.insert(batch, updates);
        Some(bytes)
    }

    /// A batch is in the log.
    pub fn acked(&mut self, batch: BatchId) -> bool {
        let Some(updates) = self.in_flight.remove(&batch) else {
            return false;
        };
        for own in updates {
            self.history.acked(self.line, own.span);
        }
        true
    }

    /// A batch was not taken, and is to be offered again.
    pub fn take_back(&mut self, batch: BatchId) {
        if let Some(updates) = self.in_flight.remove(&batch) {
            self.unsent.extend(updates);
            self.sort_unsent();
        }
    }

    /// What a batch offered, which is not asked for again.
    pub fn give_up(&mut self, batch: BatchId) -> Vec<CounterSpan> {
        let updates = self.in_flight.remove(&batch).unwrap_or_default();
        updates.into_iter().map(|own| own.span).collect()
    }

    /// The log knows everything of this peer below `end`; all else that is unanswered has to be
    /// offered again. If `recut` says so, in other updates than before, of which the first may reach
    /// back below `end`.
    pub fn offer_again(&mut self, end: Counter, recut: Option<&Random>) -> Result<(), CrdtError> {
        let mut open = self.open();
        self.in_flight.clear();
        self.unsent.clear();
        for own in open.iter().filter(|own| own.span.start < end) {
            let span = CounterSpan {
                end: own.span.end.min(end),
                ..own.span
            };
            self.history.stands(self.line, span);
        }
        open.retain(|own| own.span.end > end);
        if open.is_empty() {
            return Ok(());
        }
        self.unsent = open.into();
        match recut {
            Some(random) => self.cut_anew(end, random),
            None => Ok(()),
        }
    }

    fn cut_anew(&mut self, known_end: Counter, random: &Random) -> Result<(), CrdtError> {
        let Some(first) = self.unsent.front().map(|own| own.span.start) else {
            return Ok(());
        };
        let Some(last) = self.unsent.back().map(|own| own.span.end) else {
            return Ok(());
        };
        let mut at = first.max(known_end);
        if random.chance(0.5) {
            // Reach back to some earlier cut.
            let earlier: Vec<_> = self.cuts.range(..at).rev().take(4).copied().collect();
            if !earlier.is_empty() {
                at = earlier[scale_random(random, earlier.len())];
            }
        }
        if !self.cuts.contains(&at) {
            at = *self.cuts.range(..at).next_back().unwrap_or(&0);
        }
        self.unsent.clear();
        while at < last {
            let later: Vec<_> = self.cuts.range(at + 1..=last).take(6).copied().collect();
            let Some(last_choice) = later.len().checked_sub(1) else {
                break;
            };
            let end = later[scale_random(random, last_choice + 1)];
            let own = self.export(at, end)?;
            self.unsent.push_back(own);
            at = end;
        }
        self.history.met("resent with other boundaries");
        Ok(())
    }

    fn sort_unsent(&mut self) {
        self.unsent
            .make_contiguous()
            .sort_by_key(|own| (own.span.start, own.span.end));
    }

    /// The tokens of the text with their places, in order.
    fn tokens(&self) -> Result<Vec<Found>, CrdtError> {
        let text = self.document.text_in(CONTENT)?;
        Ok(parse(&text).unwrap_or_default())
    }
}

/// A token in a text.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Which.
    pub token: Token,
    start: usize,
    end: usize,
}

/// The tokens of a text; `None` if the text is anything but tokens.
pub fn parse(text: &str) -> Option<Vec<Found>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let rest = text[start..].strip_prefix('<')?;
        let digits = rest.find('>')?;
        let end = start + digits + 2;
        tokens.push(Found {
            token: Token(rest[..digits].parse().ok()?),
            start,
            end,
        });
        start = end;
    }
    Some(tokens)
}

/// A place among `count`, from one among all numbers.
fn scale(place: u32, count: usize) -> usize {
    usize::try_from((u64::from(place) * count as u64) >> 32).unwrap_or(0)
}

fn scale_random(random: &Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}
