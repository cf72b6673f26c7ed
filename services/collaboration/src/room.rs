//! A room: the live sessions of one document on this node.
//!
//! One task owns a room and all that is in it. What its sessions offer passes the gate into the log;
//! what it shows them comes from the log and from nowhere else, its own writers' updates included.

mod flight;
mod fold;
mod followed;
mod lag;
mod open;
mod pace;
mod pulse;
mod recent;
mod sessions;
mod traced;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use admission::Admission;
use bytes::Bytes;
use document_types::limits::{
    ROOM_ADMISSION_BYTES_MAX, SLOW_SESSION_RETRY, WAITING_UPDATES_TIME_MAX,
};
use document_types::record::StampedUpdate;
use document_types::{DocumentId, ErrorCode, LogPartition, SessionId, VersionVector};
use service_api::{
    AckStamps, Credit, JoinError, JoinRequest, Joined, RoomRequest, SessionEvent, Submission,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gate::{BatchKey, Offer, Refusal, Sender};
use crate::node::NodeParts;
use crate::partition_tail::{TailError, TailRecord};
use flight::Flight;
use followed::Followed;
use lag::Lags;
pub(crate) use open::OpenError;
use pulse::{Beat, Pulse};
use recent::Recent;
use sessions::Session;
use traced::TracedBatches;
use turns::Turns;

/// A request to join, from the node.
pub(crate) struct Join {
    pub(crate) request: JoinRequest,
    pub(crate) reply: oneshot::Sender<Result<Joined, JoinError>>,
}

/// What a room's own helpers tell it.
pub(crate) enum Notice {
    /// A session has been sent all that the store had; with what was sent it knows `version`.
    CaughtUp {
        session: SessionId,
        stay: u64,
        version: VersionVector,
    },
    /// A session can't be caught up.
    CatchUpFailed {
        session: SessionId,
        stay: u64,
        code: ErrorCode,
        message: String,
    },
}

/// A batch on its way into the log.
struct Batch {
    session: SessionId,
    id: document_types::BatchId,
    /// Updates of it that are not settled yet.
    open: usize,
    stamps: Option<AckStamps>,
    arrived: Instant,
    /// Gives its session back what it may have waiting here once the batch is answered.
    _credit: Credit,
}

/// Everything a room is made of; owned by its task.
pub(crate) struct Room {
    parts: Arc<NodeParts>,
    document: DocumentId,
    partition: LogPartition,
    /// What the log has let in, as this node has read it.
    admission: Admission,
    /// Whether anything in the document was ever styled.
    styled: bool,
    /// Updates of the log that wait for their dependencies.
    held: VecDeque<StampedUpdate>,
    recent: Recent,
    sessions: BTreeMap<SessionId, Session>,
    /// Tells the stays of one session apart.
    next_stay: u64,
    pulse: Pulse,
    /// When the next beat is due, while the room beats.
    next_beat: Option<Instant>,
    /// The position in `recent` up to which the last beat showed it.
    cut_to: u64,
    /// Updates that passed the gate's examination and wait for a flight.
    queue: VecDeque<Offer>,
    queue_bytes: usize,
    batches: BTreeMap<BatchKey, Batch>,
    next_batch: BatchKey,
    flight: Flight,
    /// The position in `recent` up to which the dry run knows the document.
    tried_to: u64,
    /// Whether the dry run's document holds what the log does not, and has to be forgotten.
    contaminated: bool,
    /// Until when nothing can be tried, and what those are told who offer something.
    untriable: Option<(Instant, Refusal)>,
    turns: Turns,
    lags: Lags,
    traced: TracedBatches,
    requests: mpsc::Receiver<RoomRequest>,
    requests_sender: mpsc::Sender<RoomRequest>,
    joins: mpsc::Receiver<Join>,
    notices: mpsc::Receiver<Notice>,
    notices_sender: mpsc::Sender<Notice>,
    records: Followed<Arc<TailRecord>>,
    stop: CancellationToken,
}

/// Why a room ended.
#[derive(Debug)]
pub(crate) enum RoomEnd {
    /// Nobody was there for a while.
    Idle,
    /// The node is shutting down.
    Draining,
    /// The log can't be followed or written.
    Unavailable,
}

impl Room {
    /// Runs the room until it ends. Its sessions have been told why by then.
    pub(crate) async fn run(mut self) -> RoomEnd {
        let end = self.serve().await;
        let (code, message) = match end {
            RoomEnd::Idle | RoomEnd::Draining => (
                ErrorCode::Draining,
                "this node is shutting down; join again",
            ),
            RoomEnd::Unavailable => (
                ErrorCode::Unavailable,
                "the operation log can't be reached; join again",
            ),
        };
        self.close_all(code, message);
        self.parts.dry_run.forget(&self.document).await;
        end
    }

    async fn serve(&mut self) -> RoomEnd {
        let mut idle_since = Instant::now();
        loop {
            self.start_flight();
            let idle_until = idle_since + self.parts.room_idle;
            let beat = self.next_beat;
            let slow = self.sessions.values().any(Session::is_slow);
            let waits = self.flight.is_none() && !self.queue.is_empty();
            let now = Instant::now();
            let look_again = self
                .turns
                .wakes_at(now)
                .into_iter()
                .chain(self.company_until())
                .fold(now + WAITING_UPDATES_TIME_MAX / 5, Instant::min);
            let room_for_more = self.queue_bytes < ROOM_ADMISSION_BYTES_MAX;
            tokio::select! {
                biased;
                record = self.records.next() => {
                    let Ok(record) = record else { return RoomEnd::Unavailable };
                    if let Err(error) = self.follow(record).await {
                        return self.lost(&error);
                    }
                }
                step = self.flight.step() => {
                    if self.advance(step).await.is_break() {
                        return RoomEnd::Unavailable;
                    }
                }
                Some(notice) = self.notices.recv() => self.hear(notice),
                Some(join) = self.joins.recv() => self.join(join),
                Some(request) = self.requests.recv(), if room_for_more => {
                    self.serve_request(request).await;
                }
                () = sleep_until(beat), if beat.is_some() => self.beat(),
                () = tokio::time::sleep(SLOW_SESSION_RETRY), if slow => self.deliver_all(),
                () = tokio::time::sleep_until(look_again), if waits => {}
                () = self.stop.cancelled(), if self.is_settled() => return RoomEnd::Draining,
                () = tokio::time::sleep_until(idle_until), if self.sessions.is_empty() => {
                    return RoomEnd::Idle;
                }
            }
            if !self.sessions.is_empty() {
                idle_since = Instant::now();
            }
        }
    }

    /// Whether nothing that was offered is still without an answer.
    fn is_settled(&self) -> bool {
        self.batches.is_empty() && self.flight.is_empty()
    }

    fn lost(&self, error: &TailError) -> RoomEnd {
        tracing::error!(
            document = %self.document,
            error = error as &dyn std::error::Error,
            "a room lost the log"
        );
        RoomEnd::Unavailable
    }

    /// Takes the record and whatever else has come with it, and then shows it.
    async fn follow(&mut self, record: Arc<TailRecord>) -> Result<(), TailError> {
        self.fold(&record).await?;
        while let Some(record) = self.records.next_now() {
            self.fold(&record).await?;
        }
        if self.next_beat.is_none() {
            self.deliver_all();
        }
        Ok(())
    }

    async fn serve_request(&mut self, request: RoomRequest) {
        match request {
            RoomRequest::Submit {
                session,
                stay,
                submission,
                credit,
            } if self.is_here(&session, stay) => {
                self.submit(&session, submission, credit).await;
            }
            RoomRequest::Leave { session, stay } if self.is_here(&session, stay) => {
                self.leave(&session);
            }
            // It comes from an earlier stay of a session that has joined again since.
            RoomRequest::Submit { .. } | RoomRequest::Leave { .. } => {}
        }
    }

    async fn submit(&mut self, session: &SessionId, submission: Submission, credit: Credit) {
        let Some(sender) = self.sessions.get(session) else {
            return;
        };
        let key = self.next_batch;
        self.next_batch += 1;
        let sender = Sender {
            principal: &sender.principal,
            session,
            batch: key,
            correlation_id: format!("{session}/{}", submission.batch),
        };
        self.traced.arrived(
            key,
            submission.trace,
            &self.document,
            &sender.correlation_id,
        );
        let examined = self
            .parts
            .gate
            .examine(&self.document, &sender, &submission)
            .await;
        tracing::debug!(correlation_id = sender.correlation_id, "a batch arrived");
        let batch = Batch {
            session: session.clone(),
            id: submission.batch,
            open: 0,
            stamps: None,
            arrived: Instant::now(),
            _credit: credit,
        };
        self.batches.insert(key, batch);
        match examined {
            Err(refusal) => self.refuse(key, &refusal),
            Ok(offers) if offers.is_empty() => self.settle(key, 0, None),
            Ok(offers) => {
                if self.hears_pulse(session) {
                    self.pulse.typed(session, Instant::now());
                    self.settle_pulse();
                }
                if let Some(batch) = self.batches.get_mut(&key) {
                    batch.open = offers.len();
                }
                self.queue_bytes += offers.iter().map(|offer| offer.bytes.len()).sum::<usize>();
                self.queue.extend(offers);
            }
        }
    }

    /// Counts `count` updates of a batch as settled, and acknowledges the batch after its last.
    fn settle(&mut self, key: BatchKey, count: usize, stamps: Option<AckStamps>) {
        let Some(batch) = self.batches.get_mut(&key) else {
            return;
        };
        batch.open = batch.open.saturating_sub(count);
        if let Some(stamps) = stamps {
            let first = batch.stamps.map_or(stamps.first, |earlier| earlier.first);
            batch.stamps = Some(AckStamps { first, ..stamps });
        }
        if batch.open > 0 {
            return;
        }
        let (session, id, stamps) = (batch.session.clone(), batch.id, batch.stamps);
        let latency_ms = batch.arrived.elapsed().as_secs_f64() * 1_000.0;
        metrics::histogram!(crate::metrics::ACK_LATENCY_MS).record(latency_ms);
        self.batches.remove(&key);
        self.traced.answered(key);
        self.say(&session, SessionEvent::Ack { batch: id, stamps });
    }

    /// Refuses a batch: nothing more of it is appended.
    fn refuse(&mut self, key: BatchKey, refusal: &Refusal) {
        let Some(batch) = self.batches.remove(&key) else {
            return;
        };
        metrics::counter!(crate::metrics::UPDATES_REFUSED, "code" => refusal.code.as_str())
            .increment(1);
        self.queue.retain(|offer| offer.batch != key);
        self.count_queue();
        self.traced.refused(key, refusal.code.as_str());
        tracing::info!(
            document = %self.document,
            correlation_id = format!("{}/{}", batch.session, batch.id),
            code = refusal.code.as_str(),
            reason = refusal.message,
            "a batch was refused"
        );
        let event = SessionEvent::Nack {
            batch: batch.id,
            code: refusal.code,
            message: refusal.message.clone(),
        };
        self.say(&batch.session, event);
    }

    fn count_queue(&mut self) {
        self.queue_bytes = self.queue.iter().map(|offer| offer.bytes.len()).sum();
    }

    fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::CaughtUp {
                session,
                stay,
                version,
            } if self.is_here(&session, stay) => self.caught_up(&session, version),
            Notice::CatchUpFailed {
                session,
                stay,
                code,
                message,
            } if self.is_here(&session, stay) => self.close(&session, code, &message),
            // It is about an earlier stay of a session that has joined again since.
            Notice::CaughtUp { .. } | Notice::CatchUpFailed { .. } => {}
        }
    }

    /// Settles whether the room beats, and tells everyone when that changes.
    fn settle_pulse(&mut self) {
        if !self.pulse.settle(Instant::now()) {
            return;
        }
        tracing::debug!(document = %self.document, beat = ?self.pulse.beat(), "the beat changed");
        if self.pulse.beat().is_some() {
            self.schedule_beat();
        } else {
            self.next_beat = None;
            self.deliver_all();
        }
        self.tell_pulse(true);
    }

    fn schedule_beat(&mut self) {
        self.next_beat = self.pulse.beat().map(|length| {
            let now_ms = self.parts.clock.now_ms();
            Instant::now() + Beat::at(now_ms, length).until_next(now_ms)
        });
    }

    /// Sends everyone what came since the last beat, and the beat itself to those who type.
    fn beat(&mut self) {
        if let Some(pace) = self.pulse.pace() {
            let frame = self.recent.from(self.cut_to).into_iter().flatten();
            pace.cut(frame.map(|update| update.span), Instant::now());
        }
        self.cut_to = self.recent.end();
        self.deliver_all();
        self.tell_pulse(false);
        self.schedule_beat();
        self.settle_pulse();
    }

    /// Tells typists of the beat, or all of ours that it changed.
    fn tell_pulse(&mut self, changed: bool) {
        let beat = match self.pulse.beat() {
            Some(length) => Beat::at(self.parts.clock.now_ms(), length),
            None => Beat {
                number: 0,
                length_ms: 0,
            },
        };
        let typists = u32::try_from(self.pulse.typists()).unwrap_or(u32::MAX);
        let event = SessionEvent::Pulse {
            beat: beat.number,
            beat_ms: beat.length_ms,
            typists,
        };
        let listeners: Vec<_> = self
            .sessions
            .values()
            .filter(|session| session.hears_pulse())
            .filter(|session| changed || self.pulse.is_typist(&session.id))
            .map(|session| session.id.clone())
            .collect();
        for session in listeners {
            self.say(&session, event.clone());
        }
    }

    /// The bytes that the dry run lacks to stand where the log stands, or `None` if too many have
    /// come since.
    fn untried(&self) -> Option<Vec<Bytes>> {
        let updates = self.recent.from(self.tried_to)?;
        Some(
            updates
                .filter(|update| update.received.is_none())
                .map(|u| u.bytes.clone())
                .collect(),
        )
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
