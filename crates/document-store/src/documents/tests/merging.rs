use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use admission::{Admission, Verdict};
use document_types::{Counter, VersionVector};

use super::*;
use crate::keyspace::{Key, PendingId, UpdateSequence};

/// A log: for each source its records, by their offset.
type Log = BTreeMap<LogSource, Vec<Vec<StampedUpdate>>>;

/// Records of several peers who build on one another, spread over two sources, with updates that
/// come before what they depend on, and with updates that come more than once.
fn random_log(random: &Random) -> (Log, VersionVector) {
    let mut version = VersionVector::new();
    let mut history: Vec<StampedUpdate> = Vec::new();
    for _ in 0..120 {
        let peer = PeerId(1 + random.below(4));
        let start = version.end(peer);
        let end = start + 1 + random.below(3) as Counter;
        let others: Vec<_> = version.iter().filter(|(other, _)| *other != peer).collect();
        let mut dependencies = Vec::new();
        if !others.is_empty() && random.chance(0.6) {
            let (other, other_end) = others[random.below(others.len() as u64) as usize];
            dependencies.push((other.0, other_end - 1));
        }
        let over = CounterSpan { peer, start, end };
        version.include(over);
        history.push(update(over, &dependencies, Bytes::from(over.to_string())));
    }
    let mut log = Log::from([(source("here"), Vec::new()), (source("there"), Vec::new())]);
    let mut records: Vec<_> = history.into_iter().map(|update| vec![update]).collect();
    for place in 1..records.len() {
        // Neighbours change places, so that some come before what they build on.
        if random.chance(0.3) {
            records.swap(place - 1, place);
        }
    }
    for record in records {
        let sources: Vec<_> = log.keys().cloned().collect();
        let first = random.below(2) as usize;
        if random.chance(0.3) {
            log.get_mut(&sources[1 - first])
                .unwrap()
                .push(record.clone());
        }
        log.get_mut(&sources[first]).unwrap().push(record);
    }
    (log, version)
}

/// A merger, as small as one can be: it judges records by the admission fold and appends what came
/// of them.
struct Merger {
    store: DocumentStore,
    random: Random,
    /// How many updates had to wait, each time they were judged.
    waited: AtomicU64,
}

/// What a merger holds of the document between two appends.
struct Judge<'s> {
    store: &'s DocumentStore,
    admission: Admission,
    waiting: Vec<(PendingId, StampedUpdate)>,
}

impl Judge<'_> {
    async fn judge(&mut self, update: &StampedUpdate) -> Result<Verdict, StoreError> {
        match self.admission.judge(update) {
            Verdict::NeedsSpans(over) => {
                let spans = self.store.span_digests(&document(), over).await?;
                self.admission.learn_spans(spans);
                Ok(self.admission.judge(update))
            }
            verdict => Ok(verdict),
        }
    }

    async fn record(
        &mut self,
        from: &LogSource,
        offset: LogOffset,
        updates: &[StampedUpdate],
    ) -> Result<RecordOutcome, StoreError> {
        let mut outcome = RecordOutcome {
            offset,
            ..RecordOutcome::default()
        };
        for (index, update) in (0..).zip(updates) {
            match self.judge(update).await? {
                Verdict::Admit => self.admit(&mut outcome, update.clone(), None),
                Verdict::Known => {}
                Verdict::Waits { .. } => {
                    let id = PendingId {
                        source: from.clone(),
                        offset,
                        index,
                    };
                    self.waiting.push((id, update.clone()));
                    outcome.waiting.push(WaitingUpdate {
                        index,
                        update: update.clone(),
                    });
                }
                verdict => panic!("nothing here conflicts, but {} is {verdict:?}", update.span),
            }
        }
        let mut moved = true;
        while moved {
            moved = false;
            for (id, update) in std::mem::take(&mut self.waiting) {
                match self.judge(&update).await? {
                    Verdict::Admit => {
                        self.admit(&mut outcome, update, Some(id));
                        moved = true;
                    }
                    Verdict::Known => outcome.dropped.push(id),
                    _ => self.waiting.push((id, update)),
                }
            }
        }
        Ok(outcome)
    }

    fn admit(
        &mut self,
        outcome: &mut RecordOutcome,
        update: StampedUpdate,
        waited_as: Option<PendingId>,
    ) {
        self.admission.admit(&update);
        outcome.admitted.push(Admitted { update, waited_as });
    }
}

impl Merger {
    fn new(store: DocumentStore, random: Random) -> Self {
        Self {
            store,
            random,
            waited: AtomicU64::new(0),
        }
    }

    /// Merges everything in the log, whatever the store does.
    async fn run(&self, log: &Log) {
        loop {
            match self.merge_some(log).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(AppendError::Store(StoreError::Kv(error))) => assert!(error.is_retryable()),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Loads the document and merges until something unexpected happens. Says whether all is done.
    async fn merge_some(&self, log: &Log) -> Result<bool, AppendError> {
        let loaded = self.store.load_admission(&document()).await?;
        let mut applied = loaded.applied.clone();
        let mut append_count = loaded.head.append_count;
        let LoadedDocument {
            admission, waiting, ..
        } = loaded;
        let mut judge = Judge {
            store: &self.store,
            admission,
            waiting,
        };
        loop {
            let next = |from| {
                applied
                    .get(from)
                    .map_or(0, |applied: &LogOffset| applied.0 + 1)
            };
            let unmerged: Vec<_> = log
                .iter()
                .filter(|(from, records)| next(from) < records.len() as u64)
                .collect();
            if unmerged.is_empty() {
                return Ok(true);
            }
            let (from, records) = unmerged[self.random.below(unmerged.len() as u64) as usize];
            let mut outcomes = Vec::new();
            for offset in (next(from)..records.len() as u64).take(1 + self.random.below(5) as usize)
            {
                let updates = &records[offset as usize];
                let outcome = judge.record(from, LogOffset(offset), updates).await?;
                self.waited
                    .fetch_add(outcome.waiting.len() as u64, Ordering::Relaxed);
                outcomes.push(outcome);
            }
            let expected = StatePosition {
                append_count,
                applied: applied.get(from).copied(),
            };
            match self
                .store
                .append(&document(), from, expected, &outcomes)
                .await?
            {
                AppendOutcome::PositionMoved => return Ok(false),
                AppendOutcome::Appended { position, .. } => {
                    append_count = position.append_count;
                    applied.insert(from.clone(), position.applied.unwrap());
                }
            }
        }
    }
}

/// Checks that the document holds each operation of `version` exactly once, in an order that the
/// dependencies allow, and nothing else.
async fn check_exactly_once(store: &DocumentStore, version: &VersionVector) {
    let loaded = store.load_admission(&document()).await.unwrap();
    assert_eq!(loaded.admission.version(), version);
    assert!(loaded.waiting.is_empty());
    assert_eq!(loaded.head.pending_count, 0);
    assert_eq!(count_keys(store, Key::all_pending(&document())).await, 0);

    let input = store.begin_fold(&document()).await.unwrap().unwrap();
    let mut merged = VersionVector::new();
    let mut operation_count = 0;
    for update in &input.tail {
        assert_eq!(
            update.span.start,
            merged.end(update.span.peer),
            "once, and in order"
        );
        assert!(
            update
                .dependencies
                .iter()
                .all(|dependency| merged.contains(*dependency))
        );
        merged.include(update.span);
        operation_count += u64::from(update.span.len());
    }
    assert_eq!(&merged, version);
    assert_eq!(loaded.head.update_count, input.tail.len() as u64);
    assert_eq!(loaded.head.operation_count, operation_count);
    let all = Key::updates(&document(), UpdateSequence(0), UpdateSequence(u64::MAX));
    assert_eq!(count_keys(store, all).await, input.tail.len());
}

/// Two mergers who both think that they own both sources, over a store that conflicts, loses results
/// and delays: what comes of it is as if one had merged once.
#[tokio::test(start_paused = true)]
async fn mergers_over_a_stormy_store_merge_each_operation_exactly_once() {
    let mut counts = FaultCountsSum::default();
    for seed in 0..40 {
        let random = Random::from_seed(seed);
        let (log, version) = random_log(&random);
        let simulated = SimulatedStore::new();
        let handles: Vec<_> = (0..2)
            .map(|node| stormy(&simulated, seed * 2 + node, 0.1))
            .collect();
        let mergers = handles.iter().map(|kv| {
            let kv = Arc::new(kv.clone());
            Merger::new(
                DocumentStore {
                    kv,
                    random: random.fork(),
                },
                random.fork(),
            )
        });
        let mergers: Vec<_> = mergers.collect();
        futures::future::join_all(mergers.iter().map(|merger| merger.run(&log))).await;

        let calm = Arc::new(simulated.handle(random.fork(), Faults::NONE));
        let store = DocumentStore {
            kv: calm,
            random: random.fork(),
        };
        check_exactly_once(&store, &version).await;

        // One merger alone over a calm store gets the same set.
        let alone = Merger::new(super::simulated().await, random.fork());
        alone.run(&log).await;
        check_exactly_once(&alone.store, &version).await;
        let hash =
            async |store: &DocumentStore| store.head(&document()).await.unwrap().unwrap().set_hash;
        assert_eq!(hash(&store).await, hash(&alone.store).await);

        handles.iter().for_each(|kv| counts.add(kv));
        counts.waited += alone.waited.into_inner();
    }
    assert!(counts.unknown_committed > 50 && counts.unknown_lost > 50 && counts.conflict > 50);
    assert!(counts.waited > 50);
}

#[derive(Default)]
struct FaultCountsSum {
    conflict: u64,
    unknown_committed: u64,
    unknown_lost: u64,
    waited: u64,
}

impl FaultCountsSum {
    fn add(&mut self, kv: &SimulatedKv) {
        let counts = kv.fault_counts();
        self.conflict += counts.conflict;
        self.unknown_committed += counts.unknown_committed;
        self.unknown_lost += counts.unknown_lost;
    }
}

/// A process that merges over the embedded store and crashes again and again, each time going back
/// to what was synced, ends with everything exactly once too.
#[tokio::test]
async fn a_merger_that_crashes_goes_on_where_its_store_is() {
    let root = tempfile::tempdir().unwrap();
    let disk = disk::FaultyDisk::open(root.path(), disk::FaultyDiskOptions::new(5)).unwrap();
    let random = Random::from_seed(5);
    let (log, version) = random_log(&random);
    let mut lost = 0;
    for life in 0..12 {
        let kv = Arc::new(EmbeddedKv::open(&disk, 1024 * 1024).unwrap());
        let store = DocumentStore::open(kv.clone(), random.fork())
            .await
            .unwrap();
        let merger = Merger::new(store.clone(), random.fork());
        // Each life merges a longer part of the log.
        let part: Log = log
            .iter()
            .map(|(from, records)| {
                (
                    from.clone(),
                    records[..records.len() * (life + 1) / 12].to_vec(),
                )
            })
            .collect();
        merger.run(&part).await;
        if random.chance(0.5) {
            store.sync().await.unwrap();
        }
        let before = store.head(&document()).await.unwrap().unwrap().update_count;
        disk.crash().unwrap();
        drop((kv, store, merger));
        let kv = Arc::new(EmbeddedKv::open(&disk, 1024 * 1024).unwrap());
        let store = DocumentStore::open(kv, random.fork()).await.unwrap();
        let found = store
            .head(&document())
            .await
            .unwrap()
            .unwrap_or_default()
            .update_count;
        lost += before - found;
    }
    assert!(lost > 0, "a crash that loses nothing tests nothing");
    let kv = Arc::new(EmbeddedKv::open(&disk, 1024 * 1024).unwrap());
    let store = DocumentStore::open(kv, random.fork()).await.unwrap();
    Merger::new(store.clone(), random.fork()).run(&log).await;
    check_exactly_once(&store, &version).await;
}
