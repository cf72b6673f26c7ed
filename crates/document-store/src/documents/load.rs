use std::collections::BTreeMap;

use admission::{Admission, KnownSpan};
use document_types::limits::SPAN_DIGESTS_COUNT_MAX;
use document_types::record::StampedUpdate;
use document_types::{
    CounterSpan, DeviceId, Digest, DocumentId, LogOffset, LogSource, PeerId, Principal, UserId,
    VersionVector,
};
use futures::future::{try_join, try_join4};
use prost::Message;

use super::append::StatePosition;
use super::parts::UpdateScan;
use super::{CorruptValue, DocumentStore, StoreError, corrupt, decode_entry, read_head};
use crate::keyspace::{Key, PendingId};
use crate::ordered_kv::{KeyRange, Pages, RangeOptions, Transaction};
use crate::values::{Binding, Head, Offset, Span, VectorEnd};

/// Everything that judging a document's next records needs, as of one version of the store.
#[derive(Clone, Debug)]
pub struct LoadedDocument {
    /// The document at a glance; empty for one that was never written.
    pub head: Head,
    /// How far each peer is and whose it is. Digests are loaded when they are asked for.
    pub admission: Admission,
    /// For each source the last record whose outcome is in the state.
    pub applied: BTreeMap<LogSource, LogOffset>,
    /// What waits for its dependencies, ordered by where it came from.
    pub waiting: Vec<(PendingId, StampedUpdate)>,
}

impl LoadedDocument {
    /// Where an append of records from `source` continues.
    pub fn position(&self, source: &LogSource) -> StatePosition {
        StatePosition {
            append_count: self.head.append_count,
            applied: self.applied.get(source).copied(),
        }
    }
}

impl DocumentStore {
    /// Loads what judging a document's next records needs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_admission(
        &self,
        document: &DocumentId,
    ) -> Result<LoadedDocument, StoreError> {
        self.transact(|transaction| async move {
            let (head, version, owners, (applied, waiting)) = try_join4(
                read_head(&*transaction, document),
                read_version_vector(&*transaction, document),
                read_owners(&*transaction, document),
                try_join(
                    read_applied(&*transaction, document),
                    read_waiting(&*transaction, document),
                ),
            )
            .await?;
            Ok(LoadedDocument {
                head: head.unwrap_or_default(),
                admission: Admission::new(version, owners),
                applied,
                waiting,
            })
        })
        .await
    }

    /// The whole version vector of a document.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn version_vector(&self, document: &DocumentId) -> Result<VersionVector, StoreError> {
        self.transact(
            |transaction| async move { read_version_vector(&*transaction, document).await },
        )
        .await
    }

    /// The stored spans that overlap `span`, in order, with their digests. There are at most as many
    /// as `span` has operations; they are read in several transactions, since they never change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn span_digests(
        &self,
        document: &DocumentId,
        span: CounterSpan,
    ) -> Result<Vec<KnownSpan>, StoreError> {
        let mut spans: Vec<KnownSpan> = Vec::new();
        loop {
            let start = spans.last().map_or(span.start, |last| last.span.end);
            let page = self
                .transact(|transaction| async move {
                    read_spans(&*transaction, document, CounterSpan { start, ..span }).await
                })
                .await?;
            let complete = page.len() < SPAN_DIGESTS_COUNT_MAX;
            spans.extend(page);
            if complete {
                return Ok(spans);
            }
        }
    }
}

async fn read_version_vector(
    transaction: &dyn Transaction,
    document: &DocumentId,
) -> Result<VersionVector, StoreError> {
    let mut ends = Vec::new();
    for_each(
        transaction,
        Key::vector_ends(document),
        |key, end: VectorEnd| {
            let Key::VectorEnd(_, peer) = key else {
                return Err(CorruptValue::Misplaced);
            };
            ends.push((peer, end.end));
            Ok(())
        },
    )
    .await?;
    Ok(ends.into_iter().collect())
}

async fn read_owners(
    transaction: &dyn Transaction,
    document: &DocumentId,
) -> Result<BTreeMap<PeerId, Principal>, StoreError> {
    let mut owners = BTreeMap::new();
    for_each(
        transaction,
        Key::peers(document),
        |key, binding: Binding| {
            let Key::Peer(_, peer) = key else {
                return Err(CorruptValue::Misplaced);
            };
            let user = UserId::parse(&binding.user)?;
            let device = DeviceId::parse(&binding.device)?;
            owners.insert(peer, Principal { user, device });
            Ok(())
        },
    )
    .await?;
    Ok(owners)
}

pub(super) async fn read_applied(
    transaction: &dyn Transaction,
    document: &DocumentId,
) -> Result<BTreeMap<LogSource, LogOffset>, StoreError> {
    let mut applied = BTreeMap::new();
    for_each(
        transaction,
        Key::all_applied(document),
        |key, offset: Offset| {
            let Key::Applied(_, source) = key else {
                return Err(CorruptValue::Misplaced);
            };
            applied.insert(source, LogOffset(offset.offset));
            Ok(())
        },
    )
    .await?;
    Ok(applied)
}

async fn read_waiting(
    transaction: &dyn Transaction,
    document: &DocumentId,
) -> Result<Vec<(PendingId, StampedUpdate)>, StoreError> {
    let mut waiting = Vec::new();
    let mut scan = UpdateScan::new(transaction, Key::all_pending(document));
    while let Some(found) = scan.next().await? {
        let Key::Pending(_, id, _) = found.key else {
            return Err(corrupt(&found.key, CorruptValue::Misplaced));
        };
        waiting.push((id, found.update));
    }
    Ok(waiting)
}

async fn read_spans(
    transaction: &dyn Transaction,
    document: &DocumentId,
    wanted: CounterSpan,
) -> Result<Vec<KnownSpan>, StoreError> {
    let options = RangeOptions {
        limit: SPAN_DIGESTS_COUNT_MAX,
        ..RangeOptions::default()
    };
    let range = Key::spans_after(document, wanted.peer, wanted.start);
    let mut pages = Pages::new(transaction, range, options);
    let mut spans = Vec::new();
    while let Some(page) = pages.next().await? {
        for entry in page {
            let (key, span) = decode_entry::<Span>(entry)?;
            let Key::Span(_, peer, end) = key else {
                return Err(corrupt(&key, CorruptValue::Misplaced));
            };
            if span.start >= wanted.end || spans.len() == SPAN_DIGESTS_COUNT_MAX {
                return Ok(spans);
            }
            let digest = Digest::from_slice(&span.digest)
                .ok_or_else(|| corrupt(&key, CorruptValue::Length))?;
            spans.push(KnownSpan {
                span: CounterSpan {
                    peer,
                    start: span.start,
                    end,
                },
                digest,
            });
        }
    }
    Ok(spans)
}

/// Shows every entry of `range` to `visit`.
async fn for_each<M: Message + Default>(
    transaction: &dyn Transaction,
    range: KeyRange,
    mut visit: impl FnMut(Key, M) -> Result<(), CorruptValue>,
) -> Result<(), StoreError> {
    let mut pages = Pages::new(transaction, range, RangeOptions::default());
    while let Some(page) = pages.next().await? {
        for entry in page {
            let (key, message) = decode_entry(entry)?;
            let shown = key.clone();
            visit(key, message).map_err(|error| corrupt(&shown, error))?;
        }
    }
    Ok(())
}
