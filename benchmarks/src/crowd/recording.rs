use std::collections::HashMap;

use bytes::Bytes;
use document_types::{Counter, PeerId};
use loro::json::{JsonChange, JsonOp, JsonOpContent, JsonSchema, TextOp};
use loro::{ContainerID, ContainerType, ExportMode, Frontiers, ID, IdSpan, LoroDoc};

use super::scenario::{Rhythm, Scenario};

/// The root text that people type into.
const CONTENT: &str = "content";
/// What everybody types, again and again.
const PHRASE: &[u8] = b"the quick brown fox jumps over the lazy dog ";
/// The version of the engine's JSON form of changes.
const JSON_SCHEMA_VERSION: u8 = 1;

/// What a crowd writes into one document: the updates that replicas would have made on a pulse that is
/// never late.
///
/// Before anybody else, a host makes a line for each writer, and then everybody types at the end of
/// the own line. So where a character goes, and what the text is in the end, is known without a replica;
/// what is left to the engine is the form of the updates. It keeps their history only, since a replica
/// with a state would need 16 KB for each update of fifty writers, which is two gigabytes for five
/// minutes.
pub struct Recording {
    rhythm: Rhythm,
    writers: u32,
    opening: Bytes,
    updates: Vec<Update>,
    /// For each round, and the one after the last, the place of its first update.
    rounds: Vec<u32>,
    by_bytes: HashMap<Bytes, u32>,
}

/// One update of the recording.
#[derive(Clone, Debug)]
pub struct Update {
    /// Who writes it.
    pub writer: u32,
    /// In which round.
    pub round: u32,
    /// The engine's bytes.
    pub bytes: Bytes,
}

/// The engine did not take what was to be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It did not take a round's changes.
    #[error("the engine does not take the recording")]
    Import(#[from] loro::LoroError),
    /// It did not give an update.
    #[error("the engine does not give the recording")]
    Export(#[from] loro::LoroEncodeError),
}

impl Recording {
    /// Records what a document of `scenario` has to become. It keeps a core busy for about 30 µs an
    /// update.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn make(scenario: &Scenario) -> Result<Self, RecordingError> {
        let (writers, rhythm) = (scenario.people_per_document, scenario.rhythm());
        let history = History::new();
        let host = peer(writers);
        let lines = "\n".repeat(writers as usize);
        history.write(vec![change(ID::new(host, 0), &[], 0, 0, &lines)])?;
        let opening = history.export(host, 0, writers)?;
        let mut heads = vec![id(host, writers - 1)];
        let mut typed = vec![0; writers as usize];
        let mut recording = Self {
            rhythm,
            writers,
            opening,
            updates: Vec::new(),
            rounds: vec![0],
            by_bytes: HashMap::new(),
        };
        let mut lamport = writers;
        for round in 0..rhythm.rounds {
            let theirs = (0..writers).filter(|writer| rhythm.is_turn(*writer, round));
            let theirs: Vec<u32> = theirs.collect();
            if !theirs.is_empty() {
                let changes = places(&typed, &theirs).map(|(writer, place)| {
                    let counter = typed[writer as usize];
                    let at = id(peer(writer), counter);
                    change(at, &heads, lamport, place, letter(counter))
                });
                history.write(changes.collect())?;
                heads.clear();
                for writer in theirs {
                    let counter = &mut typed[writer as usize];
                    heads.push(id(peer(writer), *counter));
                    let bytes = history.export(peer(writer), *counter, *counter + 1)?;
                    recording.push(Update {
                        writer,
                        round,
                        bytes,
                    });
                    *counter += 1;
                }
                lamport += 1;
            }
            recording.rounds.push(index(recording.updates.len()));
        }
        Ok(recording)
    }

    fn push(&mut self, update: Update) {
        self.by_bytes
            .insert(update.bytes.clone(), index(self.updates.len()));
        self.updates.push(update);
    }

    /// When who writes.
    pub fn rhythm(&self) -> Rhythm {
        self.rhythm
    }

    /// How many write.
    pub fn writers(&self) -> u32 {
        self.writers
    }

    /// The peer that `writer` writes as.
    pub fn peer(&self, writer: u32) -> PeerId {
        PeerId(peer(writer))
    }

    /// Who makes the lines, before anybody joins.
    pub fn host(&self) -> PeerId {
        self.peer(self.writers)
    }

    /// The host's update.
    pub fn opening(&self) -> &Bytes {
        &self.opening
    }

    /// All updates, in an order in which each can be imported on top of those before it.
    pub fn updates(&self) -> &[Update] {
        &self.updates
    }

    /// The places of a round's updates in [`Recording::updates`].
    pub fn round(&self, round: u32) -> std::ops::Range<u32> {
        self.rounds[round as usize]..self.rounds[round as usize + 1]
    }

    /// The places of a writer's updates in [`Recording::updates`].
    pub fn of_writer(&self, writer: u32) -> impl Iterator<Item = u32> {
        (0..self.rhythm.rounds)
            .filter(move |round| self.rhythm.is_turn(writer, *round))
            .filter_map(move |round| {
                self.round(round)
                    .find(|place| self.updates[*place as usize].writer == writer)
            })
    }

    /// The place of the update with these bytes, if it is one.
    pub fn find(&self, bytes: &Bytes) -> Option<u32> {
        self.by_bytes.get(bytes).copied()
    }

    /// The text in the end.
    pub fn text(&self) -> String {
        let lines = (0..self.writers).map(|writer| {
            let typed = (0..self.typed(writer)).map(letter);
            typed.chain(["\n"]).collect::<String>()
        });
        lines.collect()
    }

    /// What a replica knows in the end: peers and the ends of their operations.
    pub fn version(&self) -> impl Iterator<Item = (PeerId, Counter)> {
        let theirs = (0..self.writers).map(|writer| (self.peer(writer), self.typed(writer)));
        theirs
            .filter(|(_, end)| *end > 0)
            .chain([(self.host(), self.writers)])
    }

    fn typed(&self, writer: u32) -> Counter {
        let rounds = (0..self.rhythm.rounds).filter(|round| self.rhythm.is_turn(writer, *round));
        index(rounds.count())
    }
}

/// A document that holds a history and no state.
struct History(LoroDoc);

impl History {
    fn new() -> Self {
        let document = LoroDoc::new();
        document.detach();
        Self(document)
    }

    fn write(&self, changes: Vec<JsonChange>) -> Result<(), RecordingError> {
        self.0.import_json_updates(JsonSchema {
            schema_version: JSON_SCHEMA_VERSION,
            start_version: Frontiers::default(),
            peers: None,
            changes,
        })?;
        Ok(())
    }

    fn export(&self, peer: u64, start: u32, end: u32) -> Result<Bytes, RecordingError> {
        let span = IdSpan::new(peer, engine_counter(start), engine_counter(end));
        let mode = ExportMode::updates_in_range(vec![span]);
        Ok(self.0.export(mode)?.into())
    }
}

/// Where each of `writers` types now: at the end of the own line.
fn places(typed: &[u32], writers: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    let mut ends = Vec::with_capacity(typed.len());
    let mut end = 0;
    for typed in typed {
        end += typed;
        ends.push(end);
        // The line break.
        end += 1;
    }
    writers
        .iter()
        .map(move |writer| (*writer, ends[*writer as usize]))
}

fn change(at: ID, heads: &[ID], lamport: u32, pos: u32, text: &str) -> JsonChange {
    let text = text.to_owned();
    JsonChange {
        id: at,
        timestamp: 0,
        deps: heads.to_vec(),
        lamport,
        msg: None,
        ops: vec![JsonOp {
            content: JsonOpContent::Text(TextOp::Insert { pos, text }),
            container: ContainerID::Root {
                name: CONTENT.into(),
                container_type: ContainerType::Text,
            },
            counter: at.counter,
        }],
    }
}

/// The peer of a writer, spread over all numbers as peers are. It is the same in every document: each
/// is new, and a peer belongs to somebody within one document.
fn peer(writer: u32) -> u64 {
    // The finaliser of SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
    let mut bits = u64::from(writer + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn letter(typed: u32) -> &'static str {
    let at = typed as usize % PHRASE.len();
    std::str::from_utf8(&PHRASE[at..=at]).unwrap_or_default()
}

fn id(peer: u64, counter: u32) -> ID {
    ID::new(peer, engine_counter(counter))
}

/// A scenario has far fewer than 2^31 updates.
fn engine_counter(counter: u32) -> i32 {
    i32::try_from(counter).unwrap_or(i32::MAX)
}

fn index(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt_document::CrdtDocument;

    fn scenario(people: u32, rate: f64, seconds: u32) -> Scenario {
        Scenario {
            documents: 1,
            people_per_document: people,
            updates_per_second: rate,
            seconds,
            ramp_up_seconds: 0,
            readers_per_document: 0,
            cursors_per_second: 0.0,
            flooders_per_document: 0,
        }
    }

    /// Replicas of their own, which import each round's frame in one batch and then commit.
    fn record_with_replicas(recording: &Recording) -> Vec<Bytes> {
        let replicas: Vec<_> = (0..recording.writers())
            .map(|writer| {
                let replica = CrdtDocument::new(recording.peer(writer)).unwrap();
                replica.import(recording.opening()).unwrap();
                replica
            })
            .collect();
        let mut made = Vec::new();
        for round in 0..recording.rhythm().rounds {
            let mut frame = Vec::new();
            for (writer, replica) in (0..).zip(&replicas) {
                if !recording.rhythm().is_turn(writer, round) {
                    continue;
                }
                let text = replica.text_in(CONTENT).unwrap();
                let before = text.split_inclusive('\n').take(writer as usize + 1);
                let end_of_line = before.map(str::len).sum::<usize>() - 1;
                let typed = replica.version().unwrap().end(recording.peer(writer));
                replica
                    .insert_text(CONTENT, end_of_line, letter(typed))
                    .unwrap();
                frame.push(replica.take_local_update().unwrap().unwrap());
            }
            for replica in &replicas {
                replica.import_batch(&frame).unwrap();
            }
            made.extend(frame);
        }
        assert_eq!(replicas[0].text_in(CONTENT).unwrap(), recording.text());
        let version: Vec<_> = replicas[0].version().unwrap().iter().collect();
        let mut recorded: Vec<_> = recording.version().collect();
        recorded.sort_unstable();
        assert_eq!(version, recorded);
        made
    }

    /// What the engine reads in `updates`. It names the heads that a change follows in the order in which
    /// a hash table has them, which is not the same in all replicas.
    fn changes(recording: &Recording, updates: &[Bytes]) -> Vec<serde_json::Value> {
        let document = LoroDoc::new();
        document.detach();
        document.import(recording.opening()).unwrap();
        for update in updates {
            document.import(update).unwrap();
        }
        let all = document.export_json_updates_without_peer_compression(
            &Default::default(),
            &document.oplog_vv(),
        );
        let read = all.changes.into_iter().map(|mut change| {
            change.deps.sort_unstable();
            serde_json::to_value(change).unwrap()
        });
        read.collect()
    }

    #[test]
    fn the_recording_is_what_replicas_on_the_pulse_would_have_sent() {
        for scenario in [
            scenario(1, 10.0, 3),
            scenario(5, 10.0, 4),
            scenario(7, 3.0, 5),
            scenario(2, 1.0, 4),
            scenario(50, 10.0, 1),
        ] {
            let recording = Recording::make(&scenario).unwrap();
            let recorded: Vec<_> = recording
                .updates()
                .iter()
                .map(|update| update.bytes.clone())
                .collect();
            assert!(!recorded.is_empty());
            let real = record_with_replicas(&recording);
            assert_eq!(recorded.len(), real.len());
            for (recorded, real) in recorded.iter().zip(&real) {
                assert_eq!(recorded.len(), real.len(), "{scenario:?}");
            }
            assert_eq!(
                changes(&recording, &recorded),
                changes(&recording, &real),
                "{scenario:?}"
            );
        }
    }

    #[test]
    fn updates_are_found_by_their_bytes_their_round_and_their_writer() {
        let recording = Recording::make(&scenario(7, 3.0, 5)).unwrap();
        let mut count = 0;
        for writer in 0..7 {
            for place in recording.of_writer(writer) {
                let update = &recording.updates()[place as usize];
                assert_eq!(update.writer, writer);
                assert!(recording.round(update.round).contains(&place));
                assert_eq!(recording.find(&update.bytes), Some(place));
                count += 1;
            }
        }
        assert_eq!(count, recording.updates().len());
        assert_eq!(recording.find(recording.opening()), None);
    }
}
