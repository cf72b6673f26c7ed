//! What must hold when all is well again and everybody is up to date.

use std::collections::{BTreeMap, BTreeSet};

use document_types::record::{Body, OpRecord};
use document_types::{
    CounterSpan, DocumentId, HlcTimestamp, LogOffset, LogPartition, NodeEpoch, NodeId,
};

use crate::client::Report;
use crate::history::{Facts, History, Honesty, Line, Token};
use crate::replica::parse;

/// What there is in the end.
pub struct Evidence {
    /// Every replica of each document: clients', the store's, and that of a store that was made anew
    /// from the log.
    pub replicas: BTreeMap<DocumentId, Vec<(String, Report)>>,
    /// Every record of the log.
    pub records: Vec<(LogPartition, LogOffset, OpRecord)>,
    /// The nodes' lives that ended before everything was well.
    pub ended: BTreeSet<(NodeId, NodeEpoch)>,
}

/// Checks everything, and notes what does not hold.
pub fn everything(evidence: &Evidence, history: &History) {
    let mut violations = Vec::new();
    {
        let facts = history.facts();
        for (document, replicas) in &evidence.replicas {
            converged(document, replicas, &mut violations);
            if let Some((_, report)) = replicas.first() {
                let Some(state) = State::of(document, &facts, report) else {
                    // A client whose disk was set back deletes by names that its old disk has given.
                    if !facts
                        .lines
                        .iter()
                        .any(|line| line.honesty == Honesty::SetBack)
                    {
                        violations.push(format!("{document}: the text is torn: {}", report.text));
                    }
                    continue;
                };
                state.nothing_unsent(&mut violations);
                state.acked_is_there(&mut violations);
                state.refused_is_not(&evidence.records, &mut violations);
                state.honest_is_whole(&mut violations);
            }
        }
    }
    sequences(evidence, &mut violations);
    flights(evidence, &mut violations);
    stamps(evidence, &mut violations);
    history.facts().violations.extend(violations);
}

/// All replicas of a document are equal.
fn converged(document: &DocumentId, replicas: &[(String, Report)], violations: &mut Vec<String>) {
    let Some(((first, expected), others)) = replicas.split_first() else {
        return;
    };
    for (name, report) in others {
        if report != expected {
            violations.push(format!(
                "{document}: {first} and {name} differ:\n  {expected:?}\n  {report:?}"
            ));
        }
    }
}

/// A document in the end, and what was written to it.
struct State<'f> {
    document: &'f DocumentId,
    lines: Vec<&'f Line>,
    report: &'f Report,
    present: BTreeMap<Token, usize>,
    /// Deleted by operations that are in the state for sure.
    deleted: BTreeSet<Token>,
    /// Deleted by operations of which another version may be in the state.
    maybe_deleted: BTreeSet<Token>,
}

impl<'f> State<'f> {
    fn of(document: &'f DocumentId, facts: &'f Facts, report: &'f Report) -> Option<Self> {
        let lines: Vec<_> = facts
            .lines
            .iter()
            .filter(|line| line.document == *document)
            .collect();
        let mut present: BTreeMap<Token, usize> = BTreeMap::new();
        for found in parse(&report.text)? {
            *present.entry(found.token).or_default() += 1;
        }
        let mut state = Self {
            document,
            lines,
            report,
            present,
            deleted: BTreeSet::new(),
            maybe_deleted: BTreeSet::new(),
        };
        let deletions = |surely: bool| -> BTreeSet<Token> {
            state
                .lines
                .iter()
                .filter(|line| state.is_single(line) == surely)
                .flat_map(|line| &line.edits)
                .filter(|edit| state.includes(edit.span))
                .flat_map(|edit| edit.deleted.iter().copied())
                .collect()
        };
        let (deleted, maybe_deleted) = (deletions(true), deletions(false));
        state.deleted = deleted;
        state.maybe_deleted = maybe_deleted;
        Some(state)
    }

    /// Whether nobody else wrote under the line's peer id.
    fn is_single(&self, line: &Line) -> bool {
        self.lines
            .iter()
            .filter(|other| other.peer == line.peer)
            .count()
            == 1
    }

    fn includes(&self, span: CounterSpan) -> bool {
        span.end <= self.report.version.end(span.peer)
    }

    fn is_present(&self, token: Token) -> bool {
        self.present.contains_key(&token)
    }

    /// What is there was offered by somebody, and is there once.
    fn nothing_unsent(&self, violations: &mut Vec<String>) {
        let sent: BTreeSet<_> = self
            .lines
            .iter()
            .flat_map(|line| line.edits.iter().map(move |edit| (line, edit)))
            .filter(|(line, edit)| {
                line.sent
                    .iter()
                    .any(|span| span.start <= edit.span.start && edit.span.end <= span.end)
            })
            .filter_map(|(_, edit)| edit.inserted)
            .collect();
        for (token, count) in &self.present {
            if *count != 1 {
                violations.push(format!("{}: {token} is there {count} times", self.document));
            }
            if !sent.contains(token) {
                violations.push(format!("{}: nobody sent {token}", self.document));
            }
        }
    }

    /// What was acknowledged is there, unless it was deleted.
    fn acked_is_there(&self, violations: &mut Vec<String>) {
        for line in &self.lines {
            for (start, end) in line.acked.iter().copied() {
                let acked = CounterSpan {
                    peer: line.peer,
                    start,
                    end,
                };
                let lost = |edit: &&crate::history::Edit| {
                    start <= edit.span.start
                        && edit.span.end <= end
                        && edit.inserted.is_some_and(|token| {
                            !self.is_present(token)
                                && !self.deleted.contains(&token)
                                && !self.maybe_deleted.contains(&token)
                        })
                };
                let lost: Vec<_> = line.edits.iter().filter(lost).collect();
                if !self.includes(acked) || !lost.is_empty() {
                    let end = self.report.version.end(line.peer);
                    violations.push(format!(
                        "{}: {acked} of {} was acknowledged, the state has it up to {end}, and lost \
                         are {lost:?}",
                        self.document, line.author
                    ));
                }
            }
        }
    }

    /// What was refused for good, and offered just that once, is not there; unless its batch was sound
    /// when it was written to the log, and another node's record had come first.
    fn refused_is_not(
        &self,
        records: &[(LogPartition, LogOffset, OpRecord)],
        violations: &mut Vec<String>,
    ) {
        for line in &self.lines {
            for (refused, code) in &line.refused {
                for edit in &line.edits {
                    let was_refused =
                        refused.start <= edit.span.start && edit.span.end <= refused.end;
                    let token = edit.inserted.filter(|token| self.is_present(*token));
                    if let Some(token) = token
                        && was_refused
                        && self.offered_count(line, edit.span) == 1
                        && !records
                            .iter()
                            .any(|(.., record)| self.holds_refused_too(record, edit.span))
                    {
                        violations.push(format!(
                            "{}: {token} of {} was refused with {code} and is there",
                            self.document, line.author
                        ));
                    }
                }
            }
        }
    }

    /// Whether the record holds these operations, and others of the same batch that were refused.
    fn holds_refused_too(&self, record: &OpRecord, span: CounterSpan) -> bool {
        let Body::Updates(batch) = &record.body else {
            return false;
        };
        let within = |inner: CounterSpan, outer: CounterSpan| {
            inner.peer == outer.peer && outer.start <= inner.start && inner.end <= outer.end
        };
        let mut updates = batch.content.iter();
        updates
            .find(|update| within(span, update.span))
            .is_some_and(|found| {
                let same_batch = batch.content.iter().filter(|update| {
                    update.stamp.correlation_id == found.stamp.correlation_id
                        && update.span != found.span
                });
                let refused = || self.lines.iter().flat_map(|line| &line.refused);
                same_batch
                    .clone()
                    .any(|update| refused().any(|(span, _)| within(update.span, *span)))
            })
    }

    /// How often operations were offered, on this line or on one that it was copied to.
    fn offered_count(&self, line: &Line, span: CounterSpan) -> usize {
        let same_peer = self.lines.iter().filter(|other| other.peer == line.peer);
        same_peer
            .flat_map(|line| &line.sent)
            .filter(|sent| sent.start < span.end && span.start < sent.end)
            .count()
    }

    /// Of a correct client, everything up to its peer's end is there, and nothing behind it.
    fn honest_is_whole(&self, violations: &mut Vec<String>) {
        for line in self.lines.iter().filter(|line| self.is_single(line)) {
            for edit in &line.edits {
                let Some(token) = edit.inserted else { continue };
                let expected = self.includes(edit.span) && !self.deleted.contains(&token);
                if self.is_present(token) != expected && !self.maybe_deleted.contains(&token) {
                    violations.push(format!(
                        "{}: {token} of {} at {} should {}be there",
                        self.document,
                        line.author,
                        edit.span,
                        if expected { "" } else { "not " }
                    ));
                }
            }
        }
    }
}

/// A node's numbers, by where it gave them: the first record with each number.
type Numbered<'e> = BTreeMap<(NodeId, NodeEpoch, LogPartition), BTreeMap<u64, &'e OpRecord>>;

fn numbered(evidence: &Evidence) -> Numbered<'_> {
    let mut numbered: Numbered<'_> = BTreeMap::new();
    for (partition, _, record) in &evidence.records {
        let position = &record.position;
        let key = (position.node, position.epoch, *partition);
        numbered
            .entry(key)
            .or_default()
            .entry(position.sequence)
            .or_insert(record);
    }
    numbered
}

/// The numbers of each node's life have no gaps; those of a life that ended may end early.
fn sequences(evidence: &Evidence, violations: &mut Vec<String>) {
    for ((node, epoch, partition), records) in numbered(evidence) {
        if evidence.ended.contains(&(node, epoch)) {
            continue;
        }
        let found: Vec<_> = records.keys().copied().collect();
        let expected: Vec<_> = (1..=found.len() as u64).collect();
        if found != expected {
            let missing: Vec<_> = (1..found.last().copied().unwrap_or(0))
                .filter(|n| !records.contains_key(n))
                .collect();
            violations.push(format!(
                "node {node}, epoch {}, partition {partition}: the numbers {missing:?} are missing",
                epoch.0
            ));
        }
    }
    let mut contents: BTreeMap<_, (&OpRecord, LogOffset)> = BTreeMap::new();
    for (partition, offset, record) in &evidence.records {
        let position = &record.position;
        let key = (position.node, position.epoch, *partition, position.sequence);
        let (first, at) = *contents.entry(key).or_insert((record, *offset));
        let is_filler = |record: &OpRecord| matches!(record.body, Body::Heartbeat(_));
        if first != record && !is_filler(first) && !is_filler(record) {
            violations.push(format!(
                "partition {partition}: the records at {at} and {offset} differ and have one number"
            ));
        }
    }
}

/// A node has one record of a document in flight, so the records of a document stand in the log in
/// the order of their numbers. Repetitions may come later.
fn flights(evidence: &Evidence, violations: &mut Vec<String>) {
    let mut last: BTreeMap<_, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (partition, offset, record) in &evidence.records {
        let (position, Body::Updates(batch)) = (&record.position, &record.body) else {
            continue;
        };
        let life = (position.node, position.epoch, *partition);
        if !seen.insert((life, position.sequence)) {
            continue;
        }
        let before = last.insert((life, &batch.id), position.sequence);
        if before.is_some_and(|before| before > position.sequence) {
            violations.push(format!(
                "node {}, epoch {}, partition {partition}: number {} of {} comes at {offset}, after a \
                 later one",
                position.node, position.epoch.0, position.sequence, batch.id
            ));
        }
    }
}

/// A node's stamps strictly grow: within a document in the order of its numbers, and over its lives.
fn stamps(evidence: &Evidence, violations: &mut Vec<String>) {
    let mut lives: BTreeMap<NodeId, BTreeMap<NodeEpoch, BTreeSet<HlcTimestamp>>> = BTreeMap::new();
    for ((node, epoch, partition), records) in numbered(evidence) {
        let given = lives.entry(node).or_default().entry(epoch).or_default();
        let mut last: BTreeMap<&DocumentId, HlcTimestamp> = BTreeMap::new();
        for (number, record) in records {
            let Body::Updates(batch) = &record.body else {
                continue;
            };
            for update in &batch.content {
                let stamp = update.stamp.hlc;
                if last
                    .insert(&batch.id, stamp)
                    .is_some_and(|last| last >= stamp)
                {
                    violations.push(format!(
                        "node {node}, epoch {}, partition {partition}: the stamps of number {number} \
                         don't grow",
                        epoch.0
                    ));
                }
                if !given.insert(stamp) {
                    violations.push(format!("node {node} gave {stamp:?} twice"));
                }
            }
        }
    }
    for (node, lives) in lives {
        for ((_, earlier), (epoch, later)) in lives.iter().zip(lives.iter().skip(1)) {
            if earlier.last() >= later.first() && !earlier.is_empty() && !later.is_empty() {
                violations.push(format!(
                    "node {node}: the stamps of epoch {} begin before those of the life before end",
                    epoch.0
                ));
            }
        }
    }
}
