//! Opening a room: the fold's state from the store, and what the logs have since.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use admission::Admission;
use document_types::limits::{ROOM_OPEN_ATTEMPTS_MAX, ROOM_QUEUE_COUNT_MAX};
use document_types::record::StampedUpdate;
use document_types::{DocumentId, LogOffset, partition_of};
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::flight::Flight;
use super::followed::Followed;
use super::lag::Lags;
use super::pulse::Pulse;
use super::recent::Recent;
use super::traced::TracedBatches;
use super::turns::Turns;
use super::{Join, Room};
use crate::node::NodeParts;
use crate::partition_tail::{TailError, TailRecord, read_range};
use document_store::StoreError;

/// Why a room can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the document's state can't be read")]
    Store(#[from] StoreError),
    #[error("the document's log can't be read")]
    Log(#[from] TailError),
}

impl Room {
    /// Opens the room of `document`, at the tail of its partition.
    pub(crate) async fn open(
        parts: Arc<NodeParts>,
        document: DocumentId,
        joins: mpsc::Receiver<Join>,
        stop: CancellationToken,
    ) -> Result<Self, OpenError> {
        for _ in 1..ROOM_OPEN_ATTEMPTS_MAX {
            match Self::open_once(&parts, &document).await {
                // The log was trimmed between two of our looks; the store has moved on, too.
                Err(OpenError::Log(TailError::Read(op_log::ReadError::Trimmed { .. }))) => {}
                Err(error) => return Err(error),
                Ok(opened) => return opened.into_room(parts, document, joins, stop).await,
            }
        }
        let opened = Self::open_once(&parts, &document).await?;
        opened.into_room(parts, document, joins, stop).await
    }

    async fn open_once(parts: &NodeParts, document: &DocumentId) -> Result<Opened, OpenError> {
        let partition = partition_of(document, parts.logs.partition_count());
        // First where merging stands, then the document: whatever is merged in between is read
        // twice, and falls away.
        let mut merged = Vec::new();
        for (source, log) in parts.logs.sources(partition) {
            let last = parts.store.merged(&source).await?;
            merged.push((source, log, last.map_or(LogOffset(0), LogOffset::next)));
        }
        let loaded = parts.store.load_admission(document).await?;
        let (mut since, mut followed) = (Vec::new(), Vec::new());
        for (source, log, from) in merged {
            let tail = parts.tails.subscribe(&source, log, document).await?;
            since.extend(read_range(&**log, partition, document, from, tail.from).await?);
            followed.push(tail.records);
        }
        let held = loaded
            .waiting
            .into_iter()
            .map(|(_, update)| update)
            .collect();
        let styled = loaded.head.styled;
        let admission = loaded.admission;
        Ok(Opened {
            partition,
            admission,
            styled,
            held,
            since,
            records: Followed::new(followed),
        })
    }
}

struct Opened {
    partition: document_types::LogPartition,
    admission: Admission,
    styled: bool,
    held: VecDeque<StampedUpdate>,
    since: Vec<TailRecord>,
    records: Followed<Arc<TailRecord>>,
}

impl Opened {
    async fn into_room(
        self,
        parts: Arc<NodeParts>,
        document: DocumentId,
        joins: mpsc::Receiver<Join>,
        stop: CancellationToken,
    ) -> Result<Room, OpenError> {
        let (requests_sender, requests) = mpsc::channel(ROOM_QUEUE_COUNT_MAX);
        let (notices_sender, notices) = mpsc::channel(ROOM_QUEUE_COUNT_MAX);
        let flight = match parts.writer.settled(&document) {
            Some(settled) => Flight::Waiting(settled.boxed()),
            None => Flight::None,
        };
        let traced = TracedBatches::new(parts.traces.clone());
        let mut room = Room {
            parts,
            document,
            partition: self.partition,
            recent: Recent::after(self.admission.version().clone()),
            admission: self.admission,
            styled: self.styled,
            held: self.held,
            sessions: BTreeMap::new(),
            next_stay: 0,
            pulse: Pulse::default(),
            next_beat: None,
            cut_to: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            batches: BTreeMap::new(),
            next_batch: 0,
            flight,
            tried_to: 0,
            // The room before this one may have left behind what was never appended.
            contaminated: true,
            untriable: None,
            turns: Turns::new(Instant::now()),
            lags: Lags::default(),
            traced,
            requests,
            requests_sender,
            joins,
            notices,
            notices_sender,
            records: self.records,
            stop,
        };
        for record in &self.since {
            room.fold(record).await?;
        }
        Ok(room)
    }
}
