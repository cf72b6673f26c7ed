use bytes::Bytes;
use document_types::limits::{ORPHAN_CHUNK_AGE_MAX, ORPHAN_SNAPSHOTS_PER_SWEEP_MAX};
use document_types::record::StampedUpdate;
use document_types::{Digest, DocumentId, VersionVector};

use super::parts::UpdateScan;
use super::snapshots::read_vector;
use super::{
    CorruptValue, DocumentStore, StoreError, corrupt, get_message, read_head, set_head, unpack_key,
};
use crate::keyspace::{Key, SnapshotId, UpdateSequence};
use crate::ordered_kv::{RangeOptions, Transaction};
use crate::values::{Head, SnapshotPointer, SnapshotStarted};

/// How often a fold begins again because its snapshot was replaced while it was read.
const BEGIN_ATTEMPTS_MAX: usize = 3;

/// What a fold works on: the newest snapshot and the tail behind it.
#[derive(Clone, Debug)]
pub struct FoldInput {
    /// The snapshot that the fold starts from; finishing checks that it is still the newest.
    pub started_from: Option<SnapshotId>,
    /// Its bytes, checked against its digest.
    pub snapshot: Option<Bytes>,
    /// The updates since, in merge order.
    pub tail: Vec<StampedUpdate>,
    /// The sequence of the last of them.
    pub sequence_last: UpdateSequence,
    /// What the snapshot and the tail know together.
    pub version: VersionVector,
    /// [`Head::update_bytes`] up to the last of them.
    pub update_bytes: u64,
}

/// A snapshot that was written and shall be pointed at.
#[derive(Clone, Copy, Debug)]
pub struct FoldedSnapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

impl FoldedSnapshot {
    /// The snapshot with these bytes.
    pub fn new(id: SnapshotId, bytes: &[u8]) -> Self {
        Self {
            id,
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
        }
    }
}

/// How a fold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldOutcome {
    /// The head points at the new snapshot.
    Done,
    /// Another fold was faster, or this one took so long that its snapshot was swept. What it wrote
    /// is removed.
    Superseded,
}

impl DocumentStore {
    /// Reads what a fold works on, in several transactions. `None` if there is no tail to fold.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged snapshot or tail is one.
    pub async fn begin_fold(&self, document: &DocumentId) -> Result<Option<FoldInput>, StoreError> {
        let mut gone = None;
        for _ in 0..BEGIN_ATTEMPTS_MAX {
            let Some(head) = self.head(document).await? else {
                return Ok(None);
            };
            if head.tail_count() == 0 {
                return Ok(None);
            }
            if gone.as_ref() == Some(&head.snapshot) {
                // Nobody replaced it, so it was never there as a whole.
                return Err(corrupt(
                    &Key::Head(document.clone()),
                    CorruptValue::Incomplete,
                ));
            }
            if let Some(input) = self.read_fold_input(document, &head).await? {
                return Ok(Some(input));
            }
            gone = Some(head.snapshot);
        }
        // So many folds in so short a time leave nothing to do for another one.
        Ok(None)
    }

    /// What `head` points at, `None` if some of it is gone.
    async fn read_fold_input(
        &self,
        document: &DocumentId,
        head: &Head,
    ) -> Result<Option<FoldInput>, StoreError> {
        let snapshot = match &head.snapshot {
            None => None,
            Some(pointer) => match self.read_snapshot(document, pointer).await? {
                Some(bytes) => Some(bytes),
                None => return Ok(None),
            },
        };
        self.read_tail(document, head, snapshot).await
    }

    /// The tail behind `head`'s snapshot, `None` if it is gone.
    async fn read_tail(
        &self,
        document: &DocumentId,
        head: &Head,
        snapshot: Option<Bytes>,
    ) -> Result<Option<FoldInput>, StoreError> {
        let started_from = match &head.snapshot {
            Some(pointer) => Some(pointer_id(document, pointer)?),
            None => None,
        };
        let (from, end) = (head.folded_to().next(), head.sequence_last().next());
        let (mut version, tail) = self
            .transact(|transaction| async move {
                let version = match started_from {
                    Some(id) => read_vector(&*transaction, document, id).await?,
                    None => VersionVector::new(),
                };
                let mut tail = Vec::new();
                let mut scan = UpdateScan::new(&*transaction, Key::updates(document, from, end));
                while let Some(found) = scan.next().await? {
                    tail.push(found.update);
                }
                Ok::<_, StoreError>((version, tail))
            })
            .await?;
        if tail.len() as u64 != head.tail_count() {
            return Ok(None);
        }
        for update in &tail {
            version.include(update.span);
        }
        Ok(Some(FoldInput {
            started_from,
            snapshot,
            tail,
            sequence_last: head.sequence_last(),
            version,
            update_bytes: head.update_bytes,
        }))
    }

    /// Points the document at a snapshot that [`DocumentStore::write_snapshot`] wrote, if no other
    /// fold was faster. The snapshot before it stays for its readers; the one before that goes, with
    /// the updates up to the one that stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_fold(
        &self,
        document: &DocumentId,
        input: &FoldInput,
        folded: FoldedSnapshot,
    ) -> Result<FoldOutcome, StoreError> {
        self.transact(|transaction| async move {
            let Some(mut head) = read_head(&*transaction, document).await? else {
                return Ok(FoldOutcome::Superseded);
            };
            let referenced = referenced(document, &head)?;
            if referenced.newest == Some(folded.id) {
                return Ok(FoldOutcome::Done);
            }
            let started = Key::SnapshotStarted(document.clone(), folded.id);
            let is_there = get_message::<SnapshotStarted>(&*transaction, &started)
                .await?
                .is_some();
            if referenced.newest != input.started_from || !is_there {
                if !referenced.contains(folded.id) {
                    transaction.clear_range(&Key::snapshot(document, folded.id));
                    transaction.commit().await?;
                }
                return Ok(FoldOutcome::Superseded);
            }
            if let Some(dropped) = referenced.previous {
                transaction.clear_range(&Key::snapshot(document, dropped));
            }
            let untrimmed = head.trimmed_to().next();
            head.previous_snapshot = head.snapshot.replace(SnapshotPointer {
                id: Bytes::copy_from_slice(folded.id.0.as_bytes()),
                sequence_last: input.sequence_last.0,
                digest: Bytes::copy_from_slice(&folded.digest.0),
                bytes: folded.bytes,
                update_bytes: input.update_bytes,
            });
            let trimmed_end = head.trimmed_to().next();
            if untrimmed < trimmed_end {
                transaction.clear_range(&Key::updates(document, untrimmed, trimmed_end));
            }
            head.tail_since_hlc = first_tail_hlc(&*transaction, document, &head).await?;
            set_head(&*transaction, document, &head);
            transaction.commit().await?;
            Ok(FoldOutcome::Done)
        })
        .await
    }

    /// Removes snapshots that nothing points at and whose writing began more than
    /// [`ORPHAN_CHUNK_AGE_MAX`] before `now_ms`, and says how many. At most
    /// [`ORPHAN_SNAPSHOTS_PER_SWEEP_MAX`] are looked at.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep_snapshots(
        &self,
        document: &DocumentId,
        now_ms: u64,
    ) -> Result<usize, StoreError> {
        self.transact(|transaction| async move {
            let head = read_head(&*transaction, document)
                .await?
                .unwrap_or_default();
            let referenced = referenced(document, &head)?;
            let mut after = None;
            let mut swept_count = 0;
            for _ in 0..ORPHAN_SNAPSHOTS_PER_SWEEP_MAX {
                let Some(id) = next_snapshot(&*transaction, document, after).await? else {
                    break;
                };
                after = Some(id);
                if referenced.contains(id) {
                    continue;
                }
                let started = Key::SnapshotStarted(document.clone(), id);
                let started = get_message::<SnapshotStarted>(&*transaction, &started).await?;
                let age_ms =
                    started.map_or(u64::MAX, |started| now_ms.saturating_sub(started.at_ms));
                if u128::from(age_ms) > ORPHAN_CHUNK_AGE_MAX.as_millis() {
                    transaction.clear_range(&Key::snapshot(document, id));
                    swept_count += 1;
                }
            }
            transaction.commit().await?;
            Ok(swept_count)
        })
        .await
    }
}

/// The snapshots that a head points at.
struct Referenced {
    newest: Option<SnapshotId>,
    previous: Option<SnapshotId>,
}

impl Referenced {
    fn contains(&self, id: SnapshotId) -> bool {
        self.newest == Some(id) || self.previous == Some(id)
    }
}

fn referenced(document: &DocumentId, head: &Head) -> Result<Referenced, StoreError> {
    let id = |pointer: &Option<SnapshotPointer>| {
        pointer
            .as_ref()
            .map(|pointer| pointer_id(document, pointer))
            .transpose()
    };
    Ok(Referenced {
        newest: id(&head.snapshot)?,
        previous: id(&head.previous_snapshot)?,
    })
}

pub(super) fn pointer_id(
    document: &DocumentId,
    pointer: &SnapshotPointer,
) -> Result<SnapshotId, StoreError> {
    let key = || Key::Head(document.clone());
    pointer
        .snapshot_id()
        .ok_or_else(|| corrupt(&key(), CorruptValue::Length))
}

/// The stamp of the first update behind the newest snapshot, 0 if there is none.
async fn first_tail_hlc(
    transaction: &dyn Transaction,
    document: &DocumentId,
    head: &Head,
) -> Result<u64, StoreError> {
    let first = head.folded_to().next();
    let mut scan = UpdateScan::new(transaction, Key::updates(document, first, first.next()));
    Ok(scan
        .next()
        .await?
        .map_or(0, |found| found.update.stamp.hlc.as_u64()))
}

/// The first snapshot after `after` of which anything is stored.
async fn next_snapshot(
    transaction: &dyn Transaction,
    document: &DocumentId,
    after: Option<SnapshotId>,
) -> Result<Option<SnapshotId>, StoreError> {
    let options = RangeOptions {
        limit: 1,
        ..RangeOptions::default()
    };
    let page = transaction
        .get_range(&Key::snapshots(document, after), options)
        .await?;
    let Some(entry) = page.entries.first() else {
        return Ok(None);
    };
    match unpack_key(entry)? {
        Key::SnapshotStarted(_, id)
        | Key::SnapshotBytes(_, id, _)
        | Key::SnapshotVector(_, id, _) => Ok(Some(id)),
        other => Err(corrupt(&other, CorruptValue::Misplaced)),
    }
}
