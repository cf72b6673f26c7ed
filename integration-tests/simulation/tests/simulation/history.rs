//! What was written and what was said about it: the facts that the final state is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use document_types::{Counter, CounterSpan, DocumentId, ErrorCode, PeerId};

/// A text that is inserted once and never again, so that it can be found in a final text.
///
/// Edits insert whole tokens between others and delete whole ones. So a final text is a row of
/// tokens, whatever was merged with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}>", self.0)
    }
}

/// A line of writing: one author's replica under one peer id. Whoever equivocates writes two lines
/// under the same peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId(pub usize);

/// Who keeps a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honesty {
    /// A correct client. Its operations are in the final state as far as its peer's go.
    Honest,
    /// A correct client whose disk was set back to an earlier state, so that it may write under
    /// counters that it used before.
    SetBack,
    /// Somebody who means harm.
    Hostile,
}

/// One line's facts.
#[derive(Debug)]
pub struct Line {
    /// The document.
    pub document: DocumentId,
    /// Whose it is.
    pub author: String,
    /// The peer id that it is written under.
    pub peer: PeerId,
    /// Who keeps it.
    pub honesty: Honesty,
    /// Its edits, in their order.
    pub edits: Vec<Edit>,
    /// Operations that the log was said to hold.
    pub acked: BTreeSet<CounterOrd>,
    /// Operations that were refused for good, and why.
    pub refused: Vec<(CounterSpan, ErrorCode)>,
    /// Operations that were offered at least once.
    pub sent: Vec<CounterSpan>,
}

/// A span that sorts by where it starts.
pub type CounterOrd = (u32, u32);

/// One edit: an insertion of a token, or a deletion of tokens.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Its operations.
    pub span: CounterSpan,
    /// What it inserts.
    pub inserted: Option<Token>,
    /// What it deletes.
    pub deleted: Vec<Token>,
}

/// The state of a fold that set a new snapshot.
pub const FOLDED: &str = "a slow fold beside the mergers";

/// The facts of a run.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Facts>>);

/// See [`History`].
#[derive(Debug, Default)]
pub struct Facts {
    /// All lines, by their id.
    pub lines: Vec<Line>,
    /// What was seen that must never be.
    pub violations: Vec<String>,
    /// How often each rare state was met.
    pub met: BTreeMap<&'static str, u64>,
    next_token: u64,
}

impl History {
    /// The facts, locked.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new line.
    pub fn line(
        &self,
        document: &DocumentId,
        author: &str,
        peer: PeerId,
        honesty: Honesty,
    ) -> LineId {
        let mut facts = self.facts();
        facts.lines.push(Line {
            document: document.clone(),
            author: author.to_owned(),
            peer,
            honesty,
            edits: Vec::new(),
            acked: BTreeSet::new(),
            refused: Vec::new(),
            sent: Vec::new(),
        });
        LineId(facts.lines.len() - 1)
    }

    /// A line that has the first operations of another one, up to `end`, and goes on by itself under
    /// the same peer id.
    pub fn branch(&self, from: LineId, end: Counter) -> LineId {
        let mut facts = self.facts();
        let from = &mut facts.lines[from.0];
        from.honesty = Honesty::SetBack;
        let within = |span: &CounterSpan| span.end <= end;
        let branch = Line {
            document: from.document.clone(),
            author: from.author.clone(),
            peer: from.peer,
            honesty: Honesty::SetBack,
            edits: from
                .edits
                .iter()
                .filter(|edit| within(&edit.span))
                .cloned()
                .collect(),
            acked: BTreeSet::new(),
            refused: Vec::new(),
            sent: from.sent.iter().copied().filter(within).collect(),
        };
        facts.lines.push(branch);
        LineId(facts.lines.len() - 1)
    }

    /// A token that nobody has used.
    pub fn token(&self) -> Token {
        let mut facts = self.facts();
        facts.next_token += 1;
        Token(facts.next_token)
    }

    /// An edit was made.
    pub fn edited(&self, line: LineId, edit: Edit) {
        self.facts().lines[line.0].edits.push(edit);
    }

    /// Operations were offered.
    pub fn sent(&self, line: LineId, span: CounterSpan) {
        self.facts().lines[line.0].sent.push(span);
    }

    /// The log was said to hold operations.
    pub fn acked(&self, line: LineId, span: CounterSpan) {
        self.facts().lines[line.0]
            .acked
            .insert((span.start, span.end));
    }

    /// The log was said to know the peer's operations, which is an acknowledgement. Only somebody whose disk
    /// was set back can't tell whether they are these or those that were written under the same counters
    /// before.
    pub fn stands(&self, line: LineId, span: CounterSpan) {
        if self.facts().lines[line.0].honesty != Honesty::SetBack {
            self.acked(line, span);
        }
    }

    /// Operations were refused for good.
    pub fn refused(&self, line: LineId, span: CounterSpan, code: ErrorCode) {
        self.facts().lines[line.0].refused.push((span, code));
    }

    /// Something was seen that must never be.
    pub fn violation(&self, what: String) {
        self.facts().violations.push(what);
    }

    /// How often a rare state was met.
    pub fn count(&self, state: &'static str) -> u64 {
        self.facts().met.get(state).copied().unwrap_or(0)
    }

    /// A rare state was met.
    pub fn met(&self, state: &'static str) {
        *self.facts().met.entry(state).or_default() += 1;
    }
}
