//! Reading an update's bytes before the engine sees them.
//!
//! The engine trusts its input: a forged count makes it allocate gigabytes, lengths that do not add
//! up make it panic calls later. So the bytes are read here first, by code that checks every read,
//! expands nothing, and allocates a small multiple of its input at most. What it accepts is bounded
//! and consistent in itself. It can't know whether positions lie within the document; that takes the
//! document, in a dry run.
//!
//! The format is the engine's own, version 1.13.6: an envelope, then blocks of one peer's consecutive
//! changes, whose operations stand in columns.

mod causality;
mod columns;
pub(crate) mod envelope;
mod header;
mod increments;
mod operations;
pub(crate) mod reader;
mod tables;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use document_types::limits::{
    CHANGE_TIMESTAMP_AHEAD_MAX, CHANGES_PER_UPDATE_MAX, COUNTER_INCREMENT_MAX,
    DEPENDENCIES_PER_UPDATE_MAX, OPERATIONS_PER_UPDATE_MAX, PEERS_PER_UPDATE_MAX,
};
use document_types::record::OperationKind;
use document_types::{CounterSpan, OpId, PeerId, VersionVector};

use causality::Changes;
use header::{Block, Header};
use operations::Findings;
use reader::{Malformed, Reader};

/// Why an update's bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The bytes are no update that the engine exported, or of a version it no longer reads.
    #[error("the bytes are not an update")]
    NotAnUpdate,
    /// The bytes are a snapshot. Clients send updates only.
    #[error("the bytes are a snapshot, and only updates are taken")]
    Snapshot,
    /// The checksum is not the bytes'. It finds accidents, not intent.
    #[error("the update's checksum does not match")]
    Checksum,
    /// The bytes break the format.
    #[error("the update is malformed: {reason}")]
    Malformed {
        /// The rule that is broken.
        reason: &'static str,
    },
    /// More of something than an update may have.
    #[error("the update has {count} {what}, and {count_max} is the most it may have")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are, or how many were announced.
        count: u64,
        /// How many there may be.
        count_max: u64,
    },
    /// Containers or values nest deeper than a document may.
    #[error("the update nests deeper than {depth_max} levels")]
    TooDeep {
        /// The most levels there may be.
        depth_max: usize,
    },
    /// A change says that it was made in the future. Later changes would inherit the time.
    #[error("a change is stamped {timestamp_s} s since 1970, which is too far ahead")]
    TimestampAhead {
        /// The change's own stamp.
        timestamp_s: i64,
    },
    /// A counter is incremented by a number that would make its value depend on the order in which a
    /// replica gets the increments. The engine offers it to everybody, so it says nothing against whoever
    /// wrote it.
    #[error(
        "a counter is incremented by {increment}, and replicas would not agree on the sum: \
         increment it by whole numbers of at most {COUNTER_INCREMENT_MAX} either way, count what has \
         fractions in its smallest unit, and split what is larger"
    )]
    InexactIncrement {
        /// The number, as text, since one that is not a number does not equal itself.
        increment: String,
    },
}

impl From<Malformed> for InspectError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed {
            reason: malformed.0,
        }
    }
}

/// What an update says of itself, checked as far as it can be without the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedUpdate {
    /// What it holds, one span a peer, sorted by peer.
    pub spans: Vec<InspectedSpan>,
    /// What its operations do.
    pub kinds: BTreeSet<OperationKind>,
    /// Bytes of text that it inserts into texts.
    pub inserted_text_bytes: u32,
    /// How many operations it holds; each inserted character is one.
    pub operation_count: u32,
    /// The operations of others that its operations name: that they delete, move, or write in the
    /// container of. Whoever imports it must know them all, or the engine may panic.
    pub references: VersionVector,
    /// Whether its operations name tree nodes or elements of movable lists, of which only the document
    /// knows where they belong: see [`crate::CrdtDocument::check_targets`].
    pub names_targets: bool,
    /// Containers that it creates: by which operation, and of which kind.
    pub(crate) created: Vec<(OpId, u8)>,
}

impl InspectedUpdate {
    /// An operation that the update was written on top of, or names, and that `known` lacks; `None` if
    /// it follows. One that does not would wait in the engine, in memory only, or make it panic.
    pub fn missing(&self, known: &VersionVector) -> Option<OpId> {
        let own = |span: &InspectedSpan| {
            let counter = span.span.start.checked_sub(1)?;
            Some(OpId {
                peer: span.span.peer,
                counter,
            })
        };
        let named = self.references.iter().map(|(peer, end)| OpId {
            peer,
            counter: end - 1,
        });
        self.spans
            .iter()
            .flat_map(|span| span.dependencies.iter().copied().chain(own(span)))
            .chain(named)
            .find(|id| !known.contains(*id))
    }
}

/// One peer's consecutive operations in an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedSpan {
    /// Which operations.
    pub span: CounterSpan,
    /// What it was written on top of beyond the peer's own operations before it: of each other peer
    /// the last operation that the update does not itself hold, sorted.
    pub dependencies: Vec<OpId>,
    /// The lamport time of its first operation, as the sender has it.
    pub lamport: u32,
}

/// Reads a foreign update at `now_ms` (milliseconds since 1970). Takes time in proportion to its
/// operations, which are bounded, and never panics.
///
/// # Errors
/// [`InspectError`] says which rule or limit it breaks.
pub fn inspect(update: &[u8], now_ms: u64) -> Result<InspectedUpdate, InspectError> {
    let (inspected, claims) = read_with_claims(update)?;
    let timestamp_s = claims.timestamp_s;
    let latest_s = now_ms / 1_000 + CHANGE_TIMESTAMP_AHEAD_MAX.as_secs();
    if u64::try_from(timestamp_s).is_ok_and(|timestamp_s| timestamp_s > latest_s) {
        return Err(InspectError::TimestampAhead { timestamp_s });
    }
    if let Some(increment) = claims.inexact_increment {
        return Err(InspectError::InexactIncrement { increment });
    }
    Ok(inspected)
}

/// As [`inspect`], for an update whose time and increments were checked when it came. What is logged
/// stands, also if it was logged before there was such a check.
///
/// # Errors
/// As [`inspect`].
pub fn read(update: &[u8]) -> Result<InspectedUpdate, InspectError> {
    read_with_claims(update).map(|(inspected, _)| inspected)
}

/// What only whoever lets an update in has to judge: the engine itself can live with any of it.
struct Claims {
    /// The latest time at which a change says that it was made.
    timestamp_s: i64,
    /// The first increment of a counter that replicas could add up differently.
    inexact_increment: Option<String>,
}

fn read_with_claims(update: &[u8]) -> Result<(InspectedUpdate, Claims), InspectError> {
    let mut body = envelope::open(update)?;
    let mut changes = Changes::new();
    let mut findings = Findings::default();
    let mut dependencies = Vec::new();
    let (mut change_count, mut operation_count, mut timestamp_max) = (0, 0_u64, 0);
    while !body.is_empty() {
        let block = Block::split(body.sized()?)?;
        let header = Header::read(&block)?;
        let span = header.span();
        change_count += header.changes.len();
        operation_count += u64::from(span.len());
        within(
            "changes",
            change_count as u64,
            CHANGES_PER_UPDATE_MAX as u64,
        )?;
        within(
            "operations",
            operation_count,
            u64::from(OPERATIONS_PER_UPDATE_MAX),
        )?;
        findings.read(&block, &header)?;
        timestamp_max = timestamp_max.max(header.timestamp_max);
        dependencies.extend(
            header
                .dependencies
                .iter()
                .map(|(id, lamport)| (span.peer, *id, *lamport)),
        );
        within_dependencies(dependencies.len())?;
        let of_peer = changes.entry(span.peer).or_default();
        if of_peer.last().is_some_and(|last| last.end() != span.start) {
            return Err(Malformed("a peer's blocks are not consecutive").into());
        }
        of_peer.extend(header.changes);
        within("peers", changes.len() as u64, PEERS_PER_UPDATE_MAX as u64)?;
    }
    if changes.is_empty() {
        return Err(Malformed("it holds nothing").into());
    }
    if !findings.open_styles.is_empty() {
        return Err(Malformed("a style begins and does not end").into());
    }
    let references = causality::external_references(&changes, &findings)?;
    causality::check_containers(&changes, &findings)?;
    let inspected = InspectedUpdate {
        spans: spans(&changes, &dependencies)?,
        kinds: findings.kinds,
        inserted_text_bytes: u32::try_from(findings.inserted_text_bytes)
            .map_err(|_| Malformed("it inserts more text than it has bytes"))?,
        operation_count: u32::try_from(operation_count)
            .map_err(|_| Malformed("it holds more operations than it may"))?,
        references,
        names_targets: findings.names_targets,
        created: findings
            .created
            .iter()
            .map(|(id, created)| (*id, created.kind))
            .collect(),
    };
    let claims = Claims {
        timestamp_s: timestamp_max,
        inexact_increment: findings.inexact_increment,
    };
    Ok((inspected, claims))
}

/// Follows an update's blocks and says whether a style is open after each.
#[derive(Default)]
pub(crate) struct OpenStyles(Findings);

impl OpenStyles {
    /// Whether a style is open after `block`, which has its length before it. A malformed block opens
    /// none.
    pub(crate) fn after(&mut self, block: &[u8]) -> bool {
        let mut read = || -> Result<(), InspectError> {
            let block = Block::split(Reader::new(block).sized()?)?;
            self.0.read(&block, &Header::read(&block)?)
        };
        read().is_ok() && !self.0.open_styles.is_empty()
    }
}

/// Dependencies of each peer's changes: who depends, on what, and at which lamport time.
type Dependency = (PeerId, OpId, u32);

fn spans(
    changes: &Changes,
    dependencies: &[Dependency],
) -> Result<Vec<InspectedSpan>, InspectError> {
    let mut external = BTreeMap::<_, VersionVector>::new();
    for (peer, id, lamport) in dependencies {
        match causality::lamport(changes, *id) {
            Some(before) if before < *lamport => {}
            Some(_) => {
                return Err(Malformed("a change depends on one that is not before it").into());
            }
            None => external.entry(*peer).or_default().include(CounterSpan {
                peer: id.peer,
                start: 0,
                end: id.counter + 1,
            }),
        }
    }
    Ok(changes
        .iter()
        .filter_map(|(peer, changes)| {
            let (first, last) = (changes.first()?, changes.last()?);
            let dependencies = external
                .remove(peer)
                .unwrap_or_default()
                .iter()
                .map(|(peer, end)| OpId {
                    peer,
                    counter: end - 1,
                })
                .collect();
            let span = CounterSpan {
                peer: *peer,
                start: first.start,
                end: last.end(),
            };
            Some(InspectedSpan {
                span,
                dependencies,
                lamport: first.lamport,
            })
        })
        .collect())
}

fn within(what: &'static str, count: u64, count_max: u64) -> Result<(), InspectError> {
    if count > count_max {
        return Err(InspectError::TooMany {
            what,
            count,
            count_max,
        });
    }
    Ok(())
}

fn within_dependencies(count: usize) -> Result<(), InspectError> {
    within(
        "dependencies",
        count as u64,
        DEPENDENCIES_PER_UPDATE_MAX as u64,
    )
}
