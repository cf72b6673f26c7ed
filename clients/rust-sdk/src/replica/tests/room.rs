//! What a server does with the messages of its clients, as far as a replica can tell: a log.

use clock::{Random, SystemClock};
use document_types::{ErrorCode, Permission, SessionId, UserId};
use std::sync::Arc;
use std::time::Duration;
use sync_protocol::{Feature, JoinAnswer, PeerAnswer, decode_version};
use tokio::sync::broadcast;

use super::super::*;

/// What a server does with the messages of its clients, as far as a replica can tell: a log.
pub(super) struct Room {
    pub(super) log: crdt_document::CrdtDocument,
    /// Who sent each update, and its bytes.
    pub(super) updates: Vec<(usize, Bytes)>,
    pub(super) seats: Vec<Seat>,
    pub(super) now: Instant,
    /// Batches that are refused instead of logged.
    pub(super) refusals: Vec<ErrorCode>,
}

pub(super) struct Seat {
    pub(super) replica: Replica,
    pub(super) events: broadcast::Receiver<DocumentEvent>,
    pub(super) connected: bool,
    pub(super) joined: bool,
    /// Updates of the room's log that it was sent.
    pub(super) read: usize,
}

impl Room {
    pub(super) fn new(seats: usize, seed: u64) -> Self {
        let now = Instant::now();
        let seats = (0..seats)
            .map(|seat| {
                let random = Random::from_seed(seed * 1_000 + seat as u64);
                let ids = IdSource::new(Arc::new(SystemClock), random.clone());
                let introduction = Introduction {
                    device: DeviceId::parse(&format!("dev_{seat}")).unwrap(),
                    name: String::new(),
                    token: None,
                };
                let replica = Replica::new(introduction, ids, random).unwrap();
                let events = replica.events();
                Seat {
                    replica,
                    events,
                    connected: false,
                    joined: false,
                    read: 0,
                }
            })
            .collect();
        let log = crdt_document::CrdtDocument::detached().unwrap();
        Self {
            log,
            updates: Vec::new(),
            seats,
            now,
            refusals: Vec::new(),
        }
    }

    pub(super) fn with_all_joined(seats: usize) -> Self {
        let mut room = Self::new(seats, 7);
        for seat in 0..seats {
            room.connect(seat);
        }
        room.settle();
        room
    }

    pub(super) fn connect(&mut self, seat: usize) {
        let now = self.now;
        let seat = &mut self.seats[seat];
        if !seat.connected {
            seat.connected = true;
            seat.replica.connected(now);
        }
    }

    pub(super) fn disconnect(&mut self, seat: usize) {
        let seat = &mut self.seats[seat];
        seat.connected = false;
        seat.joined = false;
        seat.replica.disconnected();
    }

    pub(super) fn insert(&mut self, seat: usize, position: usize, text: &str) {
        let now = self.now;
        self.seats[seat]
            .replica
            .splice(position, 0, text, now)
            .unwrap();
    }

    pub(super) fn text(&self, seat: usize) -> String {
        self.seats[seat].replica.text().unwrap()
    }

    pub(super) fn events(&mut self, seat: usize) -> Vec<DocumentEvent> {
        std::iter::from_fn(|| self.seats[seat].events.try_recv().ok()).collect()
    }

    /// Takes what `seat` has to say and answers it.
    pub(super) fn listen(&mut self, seat: usize) -> Vec<Message> {
        let now = self.now;
        self.seats[seat].replica.tick(now);
        let messages: Vec<_> =
            std::iter::from_fn(|| self.seats[seat].replica.next_message()).collect();
        for message in &messages {
            if self.seats[seat].connected {
                self.answer(seat, message);
            }
        }
        messages
    }

    pub(super) fn answer(&mut self, seat: usize, message: &Message) {
        let now = self.now;
        match message {
            Message::JoinRequest { payload, version } => {
                let payload: sync_protocol::JoinPayload = serde_json::from_slice(payload).unwrap();
                let known = self.log.version().unwrap();
                let end = payload.peer.map_or(0, |peer| known.end(peer));
                let answer = JoinAnswer::new(
                    SessionId::parse("ses_1").unwrap(),
                    UserId::parse("usr_1").unwrap(),
                    0,
                    Some(PeerAnswer { end, owned: true }),
                    vec![Feature::Pulse, Feature::Stamps],
                );
                let missing = self
                    .log
                    .export_since_in_slices(&decode_version(version).unwrap())
                    .unwrap();
                let read = self.updates.len();
                let seat = &mut self.seats[seat];
                seat.replica
                    .joined(Permission::Write, &known, Some(answer.into()), now);
                for slice in missing {
                    seat.replica.updates(&[slice.bytes], now);
                }
                seat.read = read;
                seat.joined = true;
                seat.replica.caught_up(now);
            }
            Message::Leave => self.seats[seat].joined = false,
            Message::DocUpdate { updates, batch } if self.seats[seat].joined => {
                let batch = batch.unwrap();
                let refusal = self.refusals.pop();
                if let Some(code) = refusal.or_else(|| self.too_early(updates)) {
                    let replica = &mut self.seats[seat].replica;
                    replica.refuse(batch, code, code.advice(), "no".to_owned(), now);
                    return;
                }
                for update in updates {
                    let outcome = self.log.import(update).unwrap();
                    assert!(
                        outcome.pending.is_empty(),
                        "an update came before what it builds on"
                    );
                    self.updates.push((seat, update.clone()));
                }
                self.seats[seat].replica.acknowledge(batch, None, now);
            }
            Message::DocUpdate { .. } => {}
            other => panic!("not answered here: {other:?}"),
        }
    }

    /// A batch whose predecessor was refused for now is refused, too.
    pub(super) fn too_early(&self, updates: &[Bytes]) -> Option<ErrorCode> {
        let known = self.log.version().unwrap();
        let meta = LoroDoc::decode_import_blob_meta(updates.first()?, false).unwrap();
        let early = meta
            .partial_start_vv
            .iter()
            .any(|(peer, start)| i64::from(*start) > i64::from(known.end(PeerId(*peer))));
        early.then_some(ErrorCode::MissingDependency)
    }

    /// Sends `seat` what others have logged since it last read.
    pub(super) fn deliver(&mut self, seat: usize) {
        let now = self.now;
        let news: Vec<Bytes> = self.updates[self.seats[seat].read..]
            .iter()
            .filter(|(sender, _)| *sender != seat)
            .map(|(_, bytes)| bytes.clone())
            .collect();
        let read = self.updates.len();
        let seat = &mut self.seats[seat];
        if seat.joined {
            seat.read = read;
            seat.replica.updates(&news, now);
            seat.replica.read_inbox(now);
        }
    }

    /// Lets everybody say and hear everything, until nobody has anything left and all pauses are
    /// over.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            let mut said = 0;
            for seat in 0..self.seats.len() {
                said += self.listen(seat).len();
                self.deliver(seat);
            }
            let waits = |seat: &Seat| seat.connected && seat.replica.deadline().is_some();
            if said == 0 {
                if !self.seats.iter().any(waits) {
                    return;
                }
                self.now += Duration::from_secs(1);
            }
        }
        panic!("it never gets quiet");
    }

    pub(super) fn assert_same_everywhere(&self) -> String {
        let hash = |seat: &Seat| seat.replica.content.crdt().state_hash().unwrap();
        let first = hash(&self.seats[0]);
        assert!(self.seats.iter().all(|seat| hash(seat) == first));
        assert_eq!(self.log.state_hash().unwrap(), first);
        let text = self.text(0);
        assert!((0..self.seats.len()).all(|seat| self.text(seat) == text));
        text
    }

    pub(super) fn pulse(&mut self, seat: usize) {
        let now = self.now;
        self.deliver(seat);
        let replica = &mut self.seats[seat].replica;
        replica.pulse(1, 60, 4, now);
        replica.tick(now);
    }
}
