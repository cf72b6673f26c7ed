use std::collections::BTreeMap;

use bytes::Bytes;
use document_types::limits::MERGE_TRANSACTION_BYTES_MAX;
use document_types::record::{OperationKind, StampedUpdate};
use document_types::{Counter, CounterSpan, DocumentId, LogOffset, LogSource, PeerId};
use futures::future::try_join_all;
use prost::Message;

use super::parts::set_parts;
use super::{
    DocumentStore, StoreError, frontiers, get_message, read_head, set_hash, set_head, set_message,
};
use crate::keyspace::{Key, PendingId, UpdateSequence};
use crate::ordered_kv::{KvError, Transaction};
use crate::transact::TransactError;
use crate::values::{Binding, Head, Offset, Span, VectorEnd};

/// About what an update has in keys and small values beside its own bytes.
const UPDATE_OVERHEAD_BYTES: usize = 512;

/// The state by which records were judged: if a document is not there any more, the judgement does
/// not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatePosition {
    /// [`Head::append_count`]. It covers what other sources brought.
    pub append_count: u64,
    /// The last record of the source whose outcome is in the state.
    pub applied: Option<LogOffset>,
}

/// What the admission fold made of one record.
#[derive(Clone, Debug, Default)]
pub struct RecordOutcome {
    /// The record's offset.
    pub offset: LogOffset,
    /// What is let in because of it, in order: its own updates, and others that waited for them.
    pub admitted: Vec<Admitted>,
    /// Its updates whose dependencies have not come.
    pub waiting: Vec<WaitingUpdate>,
    /// Updates that waited and turned out to be void or known.
    pub dropped: Vec<PendingId>,
}

/// An update that is let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The update.
    pub update: StampedUpdate,
    /// Where it waited, if it did.
    pub waited_as: Option<PendingId>,
}

/// An update that has to wait.
#[derive(Clone, Debug)]
pub struct WaitingUpdate {
    /// Its place among its record's updates.
    pub index: u32,
    /// The update.
    pub update: StampedUpdate,
}

/// How an append ended.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // There is one an append, and the large one is the rule.
pub enum AppendOutcome {
    /// Every record's outcome is in the state.
    Appended {
        /// Where the next append continues.
        position: StatePosition,
        /// The document at a glance.
        head: Head,
    },
    /// The state is not, or not any more, the one by which the records were judged: someone else
    /// moved it, or an earlier attempt of this append did without learning of it. Load the document
    /// again and judge the records above its applied position. Some first part of the records may
    /// be in the state.
    PositionMoved,
}

/// Why an append failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// See [`StoreError`].
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The records are not in the order of their offsets, or begin before the applied position.
    #[error("record {offset} does not come after those before it")]
    OutOfOrder {
        /// The record that is out of order.
        offset: LogOffset,
    },
    /// An update does not continue its peer's operations, so the fold can't have let it in.
    #[error("{span} was let in where the peer's operations end at {end}")]
    NotContiguous {
        /// The update's operations.
        span: CounterSpan,
        /// How far the peer is.
        end: Counter,
    },
}

impl From<KvError> for AppendError {
    fn from(error: KvError) -> Self {
        Self::Store(error.into())
    }
}

impl TransactError for AppendError {
    fn as_kv(&self) -> Option<&KvError> {
        match self {
            Self::Store(error) => error.as_kv(),
            _ => None,
        }
    }
}

impl DocumentStore {
    /// Moves a document's state by what the admission fold made of consecutive records of `source`.
    ///
    /// The records go in with as few transactions as [`MERGE_TRANSACTION_BYTES_MAX`] allows, whole
    /// and in order. Each transaction states the position it continues from and moves it, so that
    /// nothing goes in twice, however often it is tried and by however many mergers. A transaction
    /// that the store finds too large or too old is split.
    ///
    /// A record whose outcome is too large for one transaction (it may let in much that waited) may
    /// be given as several outcomes with the same offset, its own updates in the first one.
    ///
    /// # Errors
    /// [`AppendError`]. After one it is not known how far the append went: load the document again.
    pub async fn append(
        &self,
        document: &DocumentId,
        source: &LogSource,
        expected: StatePosition,
        records: &[RecordOutcome],
    ) -> Result<AppendOutcome, AppendError> {
        check_order(expected, records)?;
        let records: Vec<_> = records.iter().map(Encoded::new).collect();
        let mut rest = records.as_slice();
        let mut position = expected;
        let mut bytes_max = MERGE_TRANSACTION_BYTES_MAX;
        let mut newest_head = None;
        while !rest.is_empty() {
            let count = count_within(rest, bytes_max);
            let appended = self
                .append_together(document, source, position, &rest[..count])
                .await;
            match appended {
                Ok(Some((moved_to, head))) => {
                    position = moved_to;
                    newest_head = Some(head);
                    rest = &rest[count..];
                }
                Ok(None) => return Ok(AppendOutcome::PositionMoved),
                Err(error) if count > 1 && is_too_much(&error) => {
                    bytes_max = rest[..count]
                        .iter()
                        .map(|record| record.bytes)
                        .sum::<usize>()
                        / 2;
                    metrics::counter!("collabedit_document_store_append_splits_total").increment(1);
                }
                Err(error) => return Err(error),
            }
        }
        let head = match newest_head {
            Some(head) => head,
            None => self.head(document).await?.unwrap_or_default(),
        };
        Ok(AppendOutcome::Appended { position, head })
    }

    /// One transaction: `None` if the state is not at `expected`.
    async fn append_together(
        &self,
        document: &DocumentId,
        source: &LogSource,
        expected: StatePosition,
        records: &[Encoded<'_>],
    ) -> Result<Option<(StatePosition, Head)>, AppendError> {
        self.transact(|transaction| async move {
            let applied_key = Key::Applied(document.clone(), source.clone());
            let applied = get_message::<Offset>(&*transaction, &applied_key).await?;
            let head = read_head(&*transaction, document).await?;
            let found = StatePosition {
                append_count: head.as_ref().map_or(0, |head| head.append_count),
                applied: applied.map(|applied| LogOffset(applied.offset)),
            };
            if found != expected {
                return Ok(None);
            }
            if head.is_none() {
                transaction.set(&Key::Listing(document.clone()).pack(), &[]);
            }
            let mut append = Append {
                transaction: &*transaction,
                document,
                head: head.unwrap_or_default(),
                ends: read_ends(&*transaction, document, records).await?,
            };
            for record in records {
                append.put(source, record)?;
            }
            let mut head = append.finish();
            head.append_count += 1;
            set_head(&*transaction, document, &head);
            let last = records.last().map(|record| record.outcome.offset);
            if let Some(last) = last {
                set_message(&*transaction, &applied_key, &Offset { offset: last.0 });
            }
            transaction.commit().await?;
            let append_count = head.append_count;
            Ok(Some((
                StatePosition {
                    append_count,
                    applied: last.or(found.applied),
                },
                head,
            )))
        })
        .await
    }
}

/// A record's outcome with its updates as they are stored. Made once, however often the transaction
/// is tried.
struct Encoded<'r> {
    outcome: &'r RecordOutcome,
    admitted: Vec<Bytes>,
    waiting: Vec<Bytes>,
    /// About how many bytes it has in a transaction.
    bytes: usize,
}

impl<'r> Encoded<'r> {
    fn new(outcome: &'r RecordOutcome) -> Self {
        let encode = |update: &StampedUpdate| Bytes::from(update.to_wire().encode_to_vec());
        let admitted: Vec<_> = outcome
            .admitted
            .iter()
            .map(|admitted| encode(&admitted.update))
            .collect();
        let waiting: Vec<_> = outcome
            .waiting
            .iter()
            .map(|waiting| encode(&waiting.update))
            .collect();
        let bytes = admitted
            .iter()
            .chain(&waiting)
            .map(|encoded| encoded.len() + UPDATE_OVERHEAD_BYTES)
            .sum::<usize>()
            + UPDATE_OVERHEAD_BYTES;
        Self {
            outcome,
            admitted,
            waiting,
            bytes,
        }
    }
}

/// What one transaction has put so far.
struct Append<'t> {
    transaction: &'t dyn Transaction,
    document: &'t DocumentId,
    head: Head,
    /// The ends of the peers that are written under.
    ends: BTreeMap<PeerId, Counter>,
}

impl Append<'_> {
    fn put(&mut self, source: &LogSource, record: &Encoded<'_>) -> Result<(), AppendError> {
        for (waiting, encoded) in record.outcome.waiting.iter().zip(&record.waiting) {
            let offset = record.outcome.offset;
            let id = PendingId {
                source: source.clone(),
                offset,
                index: waiting.index,
            };
            let key = |part| Key::Pending(self.document.clone(), id.clone(), part);
            set_parts(self.transaction, encoded, key);
            self.head.pending_count += 1;
        }
        for (admitted, encoded) in record.outcome.admitted.iter().zip(&record.admitted) {
            self.admit(&admitted.update, encoded)?;
            if let Some(id) = &admitted.waited_as {
                self.remove_pending(id);
            }
        }
        for id in &record.outcome.dropped {
            self.remove_pending(id);
        }
        Ok(())
    }

    fn admit(&mut self, update: &StampedUpdate, encoded: &Bytes) -> Result<(), AppendError> {
        let CounterSpan { peer, start, end } = update.span;
        let known_end = self.ends.get(&peer).copied().unwrap_or(0);
        if start > known_end || end <= known_end {
            return Err(AppendError::NotContiguous {
                span: update.span,
                end: known_end,
            });
        }
        let brought = CounterSpan {
            peer,
            start: known_end,
            end,
        };
        self.ends.insert(peer, end);

        let sequence = UpdateSequence(self.head.update_count).next();
        set_parts(self.transaction, encoded, |part| {
            Key::Update(self.document.clone(), sequence, part)
        });
        let digest = Bytes::copy_from_slice(&update.digest.0);
        let span = Span {
            start: known_end,
            digest,
        };
        set_message(
            self.transaction,
            &Key::Span(self.document.clone(), peer, end),
            &span,
        );
        if known_end == 0 {
            let author = &update.stamp.author;
            let binding = Binding {
                user: author.user.to_string(),
                device: author.device.to_string(),
            };
            set_message(
                self.transaction,
                &Key::Peer(self.document.clone(), peer),
                &binding,
            );
        }

        let head = &mut self.head;
        if head.tail_count() == 0 {
            head.tail_since_hlc = update.stamp.hlc.as_u64();
        }
        head.last_hlc = update.stamp.hlc.as_u64();
        head.update_count = sequence.0;
        head.operation_count += u64::from(brought.len());
        head.update_bytes += encoded.len() as u64;
        head.styled |= update.kinds.contains(&OperationKind::Style);
        head.set_hash = set_hash::add(&head.set_hash, brought, update.digest);
        frontiers::advance(head, update.span, &update.dependencies);
        Ok(())
    }

    fn remove_pending(&mut self, id: &PendingId) {
        self.transaction
            .clear_range(&Key::pending(self.document, id));
        self.head.pending_count = self.head.pending_count.saturating_sub(1);
    }

    /// Writes the peers' ends, and gives the head back.
    fn finish(self) -> Head {
        for (peer, end) in self.ends {
            let key = Key::VectorEnd(self.document.clone(), peer);
            set_message(self.transaction, &key, &VectorEnd { end });
        }
        self.head
    }
}

/// The ends of all peers that `records` write under, read at once.
async fn read_ends(
    transaction: &dyn Transaction,
    document: &DocumentId,
    records: &[Encoded<'_>],
) -> Result<BTreeMap<PeerId, Counter>, StoreError> {
    let admitted = records.iter().flat_map(|record| &record.outcome.admitted);
    let mut peers: Vec<_> = admitted.map(|admitted| admitted.update.span.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    let reads = peers.into_iter().map(async |peer| {
        let key = Key::VectorEnd(document.clone(), peer);
        let found = get_message::<VectorEnd>(transaction, &key).await?;
        Ok::<_, StoreError>((peer, found.map_or(0, |found| found.end)))
    });
    Ok(try_join_all(reads).await?.into_iter().collect())
}

fn check_order(expected: StatePosition, records: &[RecordOutcome]) -> Result<(), AppendError> {
    let mut last = expected.applied;
    for record in records {
        if last.is_some_and(|last| record.offset < last) {
            return Err(AppendError::OutOfOrder {
                offset: record.offset,
            });
        }
        last = Some(record.offset);
    }
    Ok(())
}

/// How many of the first records fit `bytes_max` together, and at least one.
fn count_within(records: &[Encoded<'_>], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fitting = records.iter().take_while(|record| {
        bytes += record.bytes;
        bytes <= bytes_max
    });
    fitting.count().max(1)
}

fn is_too_much(error: &AppendError) -> bool {
    matches!(
        error.as_kv(),
        Some(KvError::TransactionTooLarge { .. } | KvError::TransactionTooOld)
    )
}
