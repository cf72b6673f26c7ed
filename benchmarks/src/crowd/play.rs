use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use collabedit_sdk::DocumentId;
use document_types::BatchId;
use document_types::limits::PULSE_MISSED_BEATS_MAX;
use sync_protocol::{Message, ServerText, UpdateStatus};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::causality::{Causality, Violation};
use super::cursor::{Cursor, ages};
use super::error::PlayError;
use super::recording::Recording;
use super::tally::Tally;
use crate::{Heard, WireClient};

/// How long a client waits for what it needs to go on. A broker that dies takes a few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// One document's performance of a recording, shared by its players.
pub(super) struct Stage {
    pub(super) document: DocumentId,
    pub(super) recording: Arc<Recording>,
    pub(super) tally: Arc<Tally>,
    /// When the first round is due, on the server's clock, by which beats are numbered,
    pub(super) starts_at_ms: u64,
    /// and on ours.
    pub(super) starts_at: Instant,
    /// When each update was sent, in microseconds after the start.
    pub(super) sent_at_us: Vec<AtomicU64>,
    /// Somebody stopped, so that nobody can go on.
    pub(super) over: CancellationToken,
}

impl Stage {
    pub(super) fn new(
        document: DocumentId,
        recording: Arc<Recording>,
        tally: Arc<Tally>,
        starts_at_ms: u64,
        starts_at: Instant,
    ) -> Self {
        let sent_at_us = recording.updates().iter().map(|_| AtomicU64::new(0));
        Self {
            document,
            sent_at_us: sent_at_us.collect(),
            recording,
            tally,
            starts_at_ms,
            starts_at,
            over: CancellationToken::new(),
        }
    }

    fn since_start_us(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.starts_at).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// A light client that plays one writer's part.
pub struct Play {
    stage: Arc<Stage>,
    client: WireClient,
    causality: Causality,
    /// The writer's updates that are not sent yet, the last first.
    script: Vec<u32>,
    /// The update that is not acknowledged yet.
    in_flight: Option<InFlight>,
    /// The room's beat, while it has one.
    beat: Option<Duration>,
    /// When something came that the client needs to go on.
    heard_at: Instant,
    /// Whether it tells what it hears of the beat.
    tells_beat: bool,
    cursor: Option<Cursor>,
}

struct InFlight {
    batch: BatchId,
    place: u32,
    sent_at: Instant,
}

impl Play {
    /// `writer`'s part on `stage`, with a client that has joined the document and caught up.
    pub(super) fn new(stage: Arc<Stage>, client: WireClient, writer: u32) -> Self {
        let mut script: Vec<_> = stage.recording.of_writer(writer).collect();
        script.reverse();
        Self {
            client,
            causality: Causality::new(stage.recording.clone()),
            script,
            in_flight: None,
            beat: None,
            heard_at: stage.starts_at,
            tells_beat: writer == 0,
            cursor: None,
            stage,
        }
    }

    /// The same part with a cursor, which moves meanwhile.
    pub(super) fn with_cursor(self, cursor: Cursor) -> Self {
        let cursor = Some(cursor);
        Self { cursor, ..self }
    }

    /// Plays until all that was written has been seen and acknowledged.
    pub(super) async fn run(mut self) -> Result<(), PlayError> {
        while !self.causality.is_over() {
            let releases_at = self.releases_at();
            let patience_ends = self.patience_ends();
            tokio::select! {
                biased;
                () = self.stage.over.cancelled() => return Err(PlayError::CutShort),
                heard = self.client.listen() => match heard.map_err(PlayError::Lost)? {
                    Heard::Message(message) => self.take(message)?,
                    Heard::Text(text) => self.take_text(text).await?,
                    Heard::Presence(message) => self.take_presence(&message)?,
                },
                entries = moved(&mut self.cursor) => {
                    let shown = self.client.show(&self.stage.document, entries).await;
                    shown.map_err(PlayError::Lost)?;
                }
                () = sleep_until(releases_at.unwrap_or(patience_ends)) => {
                    if releases_at.is_none() {
                        let round = self.causality.round();
                        return Err(PlayError::Stalled { silence: SILENCE_MAX, round });
                    }
                    self.release().await?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), PlayError> {
        match message {
            Message::DocUpdate { updates, .. } => self.see(&updates),
            Message::Ack {
                batch,
                status: UpdateStatus::Ok,
            } => self.acknowledged(batch),
            // Fragments too: no update of the recording is so large.
            Message::FragmentHeader { .. } => Err(Violation::Foreign.into()),
            Message::RoomError { message, .. } => Err(PlayError::PutOut { message }),
            // What lies behind a refusal comes as a text right after it.
            _ => Ok(()),
        }
    }

    async fn take_text(&mut self, text: ServerText) -> Result<(), PlayError> {
        match text {
            ServerText::Pulse { beat, beat_ms, .. } => self.pulse(beat, beat_ms).await,
            ServerText::Nack { code, message, .. } => Err(PlayError::Refused { code, message }),
            _ => Ok(()),
        }
    }

    /// Others' cursors have moved.
    fn take_presence(&mut self, message: &Message) -> Result<(), PlayError> {
        match message {
            Message::DocUpdate { updates, .. } => {
                for entries in updates {
                    let ages = ages(entries).map_err(|error| PlayError::Lost(error.into()))?;
                    self.stage.tally.count(Instant::now(), |minute| {
                        ages.into_iter().for_each(|age| minute.cursor.record(age));
                    });
                }
                Ok(())
            }
            Message::RoomError { message, .. } => Err(PlayError::PutOut {
                message: message.clone(),
            }),
            // What is shown is acknowledged for the sake of stock clients.
            _ => Ok(()),
        }
    }

    /// Others' updates have come.
    fn see(&mut self, updates: &[Bytes]) -> Result<(), PlayError> {
        let now = Instant::now();
        let now_us = self.stage.since_start_us(now);
        let mut latencies = Vec::with_capacity(updates.len());
        for bytes in updates {
            let place = self.stage.recording.find(bytes);
            let place = place.ok_or(Violation::Foreign)?;
            self.causality.see(place)?;
            let sent_at_us = self.stage.sent_at_us[place as usize].load(Ordering::Relaxed);
            latencies.push(Duration::from_micros(now_us.saturating_sub(sent_at_us)));
        }
        self.heard_at = now;
        self.stage.tally.count(now, |minute| {
            latencies
                .into_iter()
                .for_each(|latency| minute.seen.record(latency));
        });
        Ok(())
    }

    /// The own update is safe, and counts as seen.
    fn acknowledged(&mut self, batch: BatchId) -> Result<(), PlayError> {
        let Some(answered) = self.in_flight.take_if(|open| open.batch == batch) else {
            return Ok(());
        };
        let now = Instant::now();
        self.heard_at = now;
        self.stage.tally.count(now, |minute| {
            minute.acknowledged += 1;
            minute.ack.record(now.duration_since(answered.sent_at));
        });
        Ok(self.causality.see(answered.place)?)
    }

    /// The beat's frame has been read: what is due is written on top of it.
    async fn pulse(&mut self, beat: u64, beat_ms: u32) -> Result<(), PlayError> {
        let length = Duration::from_millis(u64::from(beat_ms));
        self.beat = (beat_ms > 0).then_some(length);
        if self.tells_beat && self.beat.is_some() {
            self.stage
                .tally
                .count(Instant::now(), |minute| minute.beat.record(length));
        }
        // The same for all clients, whenever each of them reads it.
        let beat_at_ms = beat * u64::from(beat_ms);
        let is_due = |round| {
            let due = self.stage.recording.rhythm().due(round).as_millis();
            u128::from(beat_at_ms) >= u128::from(self.stage.starts_at_ms) + due
        };
        if self.beat.is_some() && self.next_round().is_some_and(is_due) {
            self.release().await?;
        }
        Ok(())
    }

    /// The round of the next update, if everything has come that it builds on.
    fn next_round(&self) -> Option<u32> {
        let next = self.stage.recording.updates()[*self.script.last()? as usize].round;
        (next == self.causality.round()).then_some(next)
    }

    /// When the next update is sent if no beat comes before: without a pulse as soon as it is due, and
    /// on the pulse when two beats have not come.
    fn releases_at(&self) -> Option<Instant> {
        let due = self.due_at(self.next_round()?);
        Some(match self.beat {
            None => due,
            Some(beat) => due.max(self.heard_at) + beat * PULSE_MISSED_BEATS_MAX,
        })
    }

    fn due_at(&self, round: u32) -> Instant {
        self.stage.starts_at + self.stage.recording.rhythm().due(round)
    }

    /// When the round that is not complete counts as stalled.
    fn patience_ends(&self) -> Instant {
        self.due_at(self.causality.round()).max(self.heard_at) + SILENCE_MAX
    }

    async fn release(&mut self) -> Result<(), PlayError> {
        let Some(place) = self.script.pop() else {
            return Ok(());
        };
        let update = &self.stage.recording.updates()[place as usize];
        let sent_at = Instant::now();
        let behind = sent_at.saturating_duration_since(self.due_at(update.round));
        self.stage.sent_at_us[place as usize]
            .store(self.stage.since_start_us(sent_at), Ordering::Relaxed);
        let updates = vec![update.bytes.clone()];
        let batch = self.client.send_batch(&self.stage.document, updates);
        let batch = batch.await.map_err(PlayError::Lost)?;
        self.in_flight = Some(InFlight {
            batch,
            place,
            sent_at,
        });
        self.stage.tally.count(sent_at, |minute| {
            minute.offered += 1;
            minute.behind.record(behind);
        });
        Ok(())
    }
}

/// What the next movement of the cursor shows, if there is one.
async fn moved(cursor: &mut Option<Cursor>) -> Bytes {
    match cursor {
        Some(cursor) => cursor.moved().await,
        None => std::future::pending().await,
    }
}
