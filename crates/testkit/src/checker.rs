//! The one checker: what clients were told, against what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use document_types::{CounterSpan, DocumentId, NodeId, PeerId, VersionVector};

use crate::history::{HistoryEvent, HistoryLine, LogPlace, Span};
use crate::token::{TextPart, Token, parts};

/// What one holder of a document has at the end of a run.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Who holds it.
    pub name: String,
    /// Which document.
    pub document: DocumentId,
    /// Its text.
    pub text: String,
    /// Its state hash.
    pub state_hash: String,
    /// The operations that it knows.
    pub version: VersionVector,
}

/// A way in which a run broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two replicas of a document differ.
    Diverged {
        /// One.
        one: String,
        /// The other.
        other: String,
        /// In what.
        what: &'static str,
    },
    /// Acknowledged operations are missing from a replica.
    LostOperations {
        /// Which replica.
        replica: String,
        /// Which operations.
        span: CounterSpan,
    },
    /// The text of operations that a replica knows is missing from it.
    LostText {
        /// Which replica.
        replica: String,
        /// Which text.
        text: String,
    },
    /// A text that was written once is there more often.
    Doubled {
        /// In which replica.
        replica: String,
        /// Which text.
        text: String,
        /// How often it is there.
        count: usize,
    },
    /// A text is there that acknowledged operations have deleted.
    Undeleted {
        /// In which replica.
        replica: String,
        /// Which text.
        text: String,
    },
    /// Operations are there that were refused for good.
    RefusedAndPresent {
        /// In which replica.
        replica: String,
        /// Which operations.
        span: CounterSpan,
    },
    /// A text is there that nobody sent, or whose operations the replica does not know.
    InventedText {
        /// In which replica.
        replica: String,
        /// Which text.
        text: String,
    },
    /// Operations are there that nobody sent.
    InventedOperations {
        /// In which replica.
        replica: String,
        /// Which.
        span: CounterSpan,
    },
    /// A client was told something about operations that no client made.
    AnswerToNobody {
        /// Which operations.
        span: CounterSpan,
    },
    /// A client was told that operations are durable, and also that they are refused for good.
    AckedAndRefused {
        /// Which operations.
        span: CounterSpan,
    },
    /// Two clients made operations of one name, or one client made them twice.
    MadeTwice {
        /// Which operations.
        span: CounterSpan,
    },
    /// A node's stamps don't grow with the log.
    StampsOutOfOrder {
        /// Which node's.
        node: NodeId,
        /// What was logged before.
        earlier: LogPlace,
        /// What was logged after it, with a stamp that is not larger.
        later: LogPlace,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Diverged { one, other, what } => {
                write!(f, "{one} and {other} differ in their {what}")
            }
            Self::LostOperations { replica, span } => {
                write!(f, "{replica} lacks {span}, which was acknowledged")
            }
            Self::LostText { replica, text } => write!(f, "{replica} lacks {text}"),
            Self::Doubled {
                replica,
                text,
                count,
            } => {
                write!(f, "{replica} has {text} {count} times")
            }
            Self::Undeleted { replica, text } => {
                write!(f, "{replica} has {text}, which was deleted")
            }
            Self::RefusedAndPresent { replica, span } => {
                write!(f, "{replica} has {span}, which was refused")
            }
            Self::InventedText { replica, text } => {
                write!(f, "{replica} has {text:?}, which nobody sent")
            }
            Self::InventedOperations { replica, span } => {
                write!(f, "{replica} has {span}, which nobody sent")
            }
            Self::AnswerToNobody { span } => write!(f, "{span} was answered and never sent"),
            Self::AckedAndRefused { span } => {
                write!(f, "{span} was acknowledged and refused")
            }
            Self::MadeTwice { span } => write!(f, "{span} was made twice"),
            Self::StampsOutOfOrder {
                node,
                earlier,
                later,
            } => {
                write!(
                    f,
                    "the stamps of node {node} don't grow from {earlier:?} to {later:?}"
                )
            }
        }
    }
}

/// Compares a run's history with the replicas at its end, when nothing is under way any more.
///
/// - Acknowledged operations are in every replica, their text exactly once.
/// - Operations refused for good are in none.
/// - Operations without an answer are in all replicas or in none.
/// - Nothing is there that nobody sent.
/// - All replicas of a document are the same.
/// - A node's stamps strictly grow along the log.
///
/// Texts have to be made of [`Token`]s, each of which is written once and deleted whole. At most
/// one violation of a kind and subject is returned for each replica; none means that all holds.
pub fn check(history: &[HistoryLine], replicas: &[Replica]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let documents: BTreeSet<&DocumentId> = history
        .iter()
        .map(|line| &line.document)
        .chain(replicas.iter().map(|replica| &replica.document))
        .collect();
    for document in documents {
        let lines: Vec<_> = history
            .iter()
            .filter(|line| line.document == *document)
            .collect();
        let told = Told::from_lines(&lines, &mut violations);
        check_stamps(&lines, &mut violations);
        let replicas: Vec<_> = replicas
            .iter()
            .filter(|replica| replica.document == *document)
            .collect();
        for replica in &replicas {
            check_operations(&told, replica, &mut violations);
            check_text(&told, replica, &mut violations);
        }
        check_convergence(&replicas, &mut violations);
    }
    violations
}

/// What the clients of one document made, and what they were told of it.
struct Told {
    made: BTreeMap<PeerId, Vec<Made>>,
    acked: Vec<CounterSpan>,
    refused: Vec<CounterSpan>,
}

/// Operations, and what they do to the text.
struct Made {
    span: CounterSpan,
    inserted: Vec<Token>,
    deleted: Vec<Token>,
}

impl Told {
    fn from_lines(lines: &[&HistoryLine], violations: &mut Vec<Violation>) -> Self {
        let mut told = Self {
            made: BTreeMap::new(),
            acked: Vec::new(),
            refused: Vec::new(),
        };
        let spans = |spans: &[Span]| -> Vec<CounterSpan> {
            spans.iter().map(|span| CounterSpan::from(*span)).collect()
        };
        for line in lines {
            match &line.event {
                HistoryEvent::Invoke {
                    span,
                    inserted,
                    deleted,
                    ..
                } => {
                    let span = CounterSpan::from(*span);
                    let made = Made {
                        span,
                        inserted: tokens(inserted),
                        deleted: tokens(deleted),
                    };
                    told.made.entry(span.peer).or_default().push(made);
                }
                HistoryEvent::Ack { spans: acked, .. } => told.acked.extend(spans(acked)),
                HistoryEvent::Nack { spans: refused, .. } => told.refused.extend(spans(refused)),
                HistoryEvent::Unknown { .. } | HistoryEvent::Fault { .. } => {}
            }
        }
        for made in told.made.values_mut() {
            made.sort_by_key(|made| made.span.start);
            violations.extend(
                made.windows(2)
                    .filter(|pair| pair[0].span.end > pair[1].span.start)
                    .map(|pair| Violation::MadeTwice { span: pair[1].span }),
            );
        }
        let answered = told.acked.iter().chain(&told.refused);
        violations.extend(
            answered
                .filter(|span| !told.was_made(**span))
                .map(|span| Violation::AnswerToNobody { span: *span }),
        );
        violations.extend(
            told.refused
                .iter()
                .filter(|refused| told.acked.iter().any(|acked| overlap(*acked, **refused)))
                .map(|span| Violation::AckedAndRefused { span: *span }),
        );
        told
    }

    /// Whether clients made all of `span`.
    fn was_made(&self, span: CounterSpan) -> bool {
        let mut end = span.start;
        for made in self.made.get(&span.peer).into_iter().flatten() {
            if made.span.start <= end {
                end = end.max(made.span.end);
            }
        }
        end >= span.end
    }
}

fn check_operations(told: &Told, replica: &Replica, violations: &mut Vec<Violation>) {
    let name = || replica.name.clone();
    for span in &told.acked {
        if replica.version.end(span.peer) < span.end {
            violations.push(Violation::LostOperations {
                replica: name(),
                span: *span,
            });
        }
    }
    for span in &told.refused {
        // A peer's operations are known without gaps.
        if replica.version.end(span.peer) > span.start {
            violations.push(Violation::RefusedAndPresent {
                replica: name(),
                span: *span,
            });
        }
    }
    for (peer, end) in replica.version.iter() {
        let span = CounterSpan {
            peer,
            start: 0,
            end,
        };
        if !told.was_made(span) {
            violations.push(Violation::InventedOperations {
                replica: name(),
                span,
            });
        }
    }
}

fn check_text(told: &Told, replica: &Replica, violations: &mut Vec<Violation>) {
    let mut counts: BTreeMap<Token, usize> = BTreeMap::new();
    for part in parts(&replica.text) {
        match part {
            TextPart::Token(token) => *counts.entry(token).or_default() += 1,
            TextPart::Other(text) => violations.push(Violation::InventedText {
                replica: replica.name.clone(),
                text: text.to_owned(),
            }),
        }
    }
    // What the replica knows decides what has to be in its text, whatever its author was told. Of
    // operations that it knows in part, the text may be there or not.
    let made: Vec<(&Made, Known)> = told
        .made
        .values()
        .flatten()
        .map(|made| (made, Known::of(made, replica)))
        .collect();
    let tokens = |known: Known, of: fn(&Made) -> &[Token]| -> BTreeSet<Token> {
        let made = made.iter().filter(|(_, made_known)| *made_known == known);
        made.flat_map(|(made, _)| of(made).iter().copied())
            .collect()
    };
    let written = tokens(Known::Whole, |made| &made.inserted);
    let deleted = tokens(Known::Whole, |made| &made.deleted);
    let maybe_written = tokens(Known::Part, |made| &made.inserted);
    let maybe_deleted = tokens(Known::Part, |made| &made.deleted);
    for token in written.union(&maybe_written) {
        let (replica, text) = (replica.name.clone(), token.to_string());
        let may_lack = !written.contains(token) || maybe_deleted.contains(token);
        match counts.remove(token).unwrap_or(0) {
            0 if may_lack || deleted.contains(token) => {}
            0 => violations.push(Violation::LostText { replica, text }),
            _ if deleted.contains(token) => violations.push(Violation::Undeleted { replica, text }),
            1 => {}
            count => violations.push(Violation::Doubled {
                replica,
                text,
                count,
            }),
        }
    }
    violations.extend(counts.into_keys().map(|token| Violation::InventedText {
        replica: replica.name.clone(),
        text: token.to_string(),
    }));
}

/// How much of some operations a replica knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Whole,
    Part,
    Nothing,
}

impl Known {
    fn of(made: &Made, replica: &Replica) -> Self {
        let end = replica.version.end(made.span.peer);
        if made.span.end <= end {
            Self::Whole
        } else if made.span.start < end {
            Self::Part
        } else {
            Self::Nothing
        }
    }
}

fn check_convergence(replicas: &[&Replica], violations: &mut Vec<Violation>) {
    let Some((first, others)) = replicas.split_first() else {
        return;
    };
    for other in others {
        let differences = [
            ("version", first.version != other.version),
            ("text", first.text != other.text),
            ("state hash", first.state_hash != other.state_hash),
        ];
        let what = differences
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(what, _)| what);
        violations.extend(what.map(|what| Violation::Diverged {
            one: first.name.clone(),
            other: other.name.clone(),
            what,
        }));
    }
}

/// What was sent again may be answered with the place that it has had all along, so each place
/// counts once. A long batch may be in several records, of which the place says the last one's offset; so
/// its first stamp may be earlier than stamps before that, though nobody else's.
fn check_stamps(lines: &[&HistoryLine], violations: &mut Vec<Violation>) {
    let mut places: BTreeSet<(NodeId, LogPlaceOrder)> = BTreeSet::new();
    for line in lines {
        if let HistoryEvent::Ack {
            place: Some(place), ..
        } = &line.event
        {
            places.insert((
                place.node,
                (place.offset.0, place.last, place.first, *place),
            ));
        }
    }
    let places: Vec<LogPlace> = places
        .into_iter()
        .map(|(_, (_, _, _, place))| place)
        .collect();
    for pair in places.windows(2) {
        let [earlier, later] = [pair[0], pair[1]];
        let grows = earlier.last < later.last && later.first != earlier.last;
        if earlier.node == later.node && !grows {
            violations.push(Violation::StampsOutOfOrder {
                node: earlier.node,
                earlier,
                later,
            });
        }
    }
}

/// Along the log, and within a record by stamp.
type LogPlaceOrder = (u64, u64, u64, LogPlace);

fn overlap(one: CounterSpan, other: CounterSpan) -> bool {
    one.peer == other.peer && one.start < other.end && other.start < one.end
}

/// The tokens of texts; what is no token shows up as invented where it is found.
fn tokens(texts: &[String]) -> Vec<Token> {
    texts
        .iter()
        .flat_map(|text| parts(text))
        .filter_map(|part| match part {
            TextPart::Token(token) => Some(token),
            TextPart::Other(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
