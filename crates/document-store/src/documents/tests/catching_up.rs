use std::collections::BTreeMap;

use document_types::VersionVector;

use super::*;
use crate::keyspace::{Key, UpdateSequence};

over_both! {
    a_fresh_replica_gets_snapshot_and_tail
    a_replica_that_knows_the_snapshot_gets_what_it_misses
    a_replica_older_than_the_tail_gets_the_snapshot
    an_unwritten_document_is_complete_at_once
    steps_keep_to_their_limits
    a_fold_between_two_steps_is_not_noticed
    two_folds_between_two_steps_begin_anew
    large_pieces_are_put_together_in_order
    a_missing_update_is_an_error_and_not_a_gap
}

/// A replica that catches up: what it has, and what it has been given for it.
#[derive(Default)]
struct Replica {
    known: VersionVector,
    given: BTreeMap<(u64, u32), StampedUpdate>,
    snapshot: Vec<u8>,
    snapshot_count: usize,
    update_count: usize,
    cursor: Option<CatchUpCursor>,
    complete: bool,
}

impl Replica {
    fn knowing(known: &[(u64, u32)]) -> Self {
        let known = known
            .iter()
            .map(|(peer, end)| (PeerId(*peer), *end))
            .collect();
        Self {
            known,
            ..Self::default()
        }
    }

    async fn step(&mut self, store: &DocumentStore, limits: CatchUpLimits) {
        let step = store
            .catch_up(&document(), &self.known, self.cursor, limits)
            .await
            .unwrap();
        self.take(step);
    }

    /// A small step over a store that may fail, but in no other way than stores may.
    async fn try_step(&mut self, store: &DocumentStore) {
        match store
            .catch_up(&document(), &self.known, self.cursor, FEW)
            .await
        {
            Ok(step) => self.take(step),
            Err(StoreError::Kv(error)) => assert!(error.is_retryable()),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn take(&mut self, step: CatchUpStep) {
        self.cursor = Some(step.cursor);
        self.complete = step.complete.is_some();
        match step.content {
            CatchUpContent::Snapshot(piece) => {
                if piece.offset_bytes == 0 {
                    self.snapshot.clear();
                }
                assert_eq!(piece.offset_bytes, self.snapshot.len() as u64);
                self.snapshot.extend_from_slice(&piece.bytes);
                if self.snapshot.len() as u64 == piece.total_bytes {
                    assert_eq!(Digest::of(&self.snapshot), piece.digest);
                    self.snapshot_count += 1;
                    for update in unfold(Bytes::from(std::mem::take(&mut self.snapshot))) {
                        self.import(update);
                    }
                }
            }
            CatchUpContent::Updates(updates) => {
                self.update_count += updates.len();
                for update in updates {
                    self.import(update);
                }
            }
        }
    }

    fn import(&mut self, update: StampedUpdate) {
        for dependency in &update.dependencies {
            assert!(
                self.known.contains(*dependency),
                "{} came before {dependency}",
                update.span
            );
        }
        assert!(
            update.span.start <= self.known.end(update.span.peer),
            "there is a gap"
        );
        self.known.include(update.span);
        self.given
            .insert((update.span.peer.0, update.span.end), update);
    }

    async fn catch_up(&mut self, store: &DocumentStore, limits: CatchUpLimits) {
        self.complete = false;
        while !self.complete {
            self.step(store, limits).await;
        }
    }
}

const FEW: CatchUpLimits = CatchUpLimits {
    operations: 3,
    bytes: 1_000,
};

async fn assert_caught_up(store: &DocumentStore, replica: &Replica) {
    assert_eq!(
        replica.known,
        store.version_vector(&document()).await.unwrap()
    );
}

async fn a_fresh_replica_gets_snapshot_and_tail(store: DocumentStore) {
    append_ops(&store, 1, 10).await;
    let mut replica = Replica::default();
    replica.catch_up(&store, CatchUpLimits::default()).await;
    assert_eq!((replica.snapshot_count, replica.update_count), (0, 10));
    fold(&store, snapshot_id(1)).await;
    append_ops(&store, 2, 4).await;

    let mut replica = Replica::default();
    replica.catch_up(&store, CatchUpLimits::default()).await;
    assert_eq!((replica.snapshot_count, replica.update_count), (1, 4));
    assert_caught_up(&store, &replica).await;

    // Its cursor goes on with what is merged later.
    append_ops(&store, 3, 2).await;
    replica.catch_up(&store, CatchUpLimits::default()).await;
    assert_eq!((replica.snapshot_count, replica.update_count), (1, 6));
    assert_caught_up(&store, &replica).await;
}

async fn a_replica_that_knows_the_snapshot_gets_what_it_misses(store: DocumentStore) {
    append_ops(&store, 1, 10).await;
    fold(&store, snapshot_id(1)).await;
    append_ops(&store, 2, 10).await;
    fold(&store, snapshot_id(2)).await;
    append_ops(&store, 1, 5).await;
    for (known, expected) in [
        (vec![(1, 15), (2, 10)], 0),
        (vec![(1, 12), (2, 10)], 3),
        (vec![(1, 10), (2, 10), (9, 3)], 5),
        (vec![(1, 10), (2, 4)], 11),
        (vec![(1, 13)], 12),
    ] {
        let mut replica = Replica::knowing(&known);
        replica.catch_up(&store, CatchUpLimits::default()).await;
        assert_eq!(
            (replica.snapshot_count, replica.update_count),
            (0, expected)
        );
    }
}

async fn a_replica_older_than_the_tail_gets_the_snapshot(store: DocumentStore) {
    for number in 1..=3 {
        append_ops(&store, 1, 10).await;
        fold(&store, snapshot_id(number)).await;
    }
    append_ops(&store, 1, 1).await;
    for (known, snapshots, updates) in [(30, 0, 1), (20, 0, 11), (19, 1, 1), (1, 1, 1)] {
        let mut replica = Replica::knowing(&[(1, known)]);
        replica.catch_up(&store, CatchUpLimits::default()).await;
        assert_eq!(
            (replica.snapshot_count, replica.update_count),
            (snapshots, updates)
        );
        assert_caught_up(&store, &replica).await;
    }
}

async fn an_unwritten_document_is_complete_at_once(store: DocumentStore) {
    let known = VersionVector::new();
    let limits = CatchUpLimits::default();
    let step = store
        .catch_up(&document(), &known, None, limits)
        .await
        .unwrap();
    assert!(matches!(step.content, CatchUpContent::Updates(updates) if updates.is_empty()));
    assert_eq!(step.complete, Some(BTreeMap::new()));
}

async fn steps_keep_to_their_limits(store: DocumentStore) {
    let sizes: [u32; 6] = [1, 2, 7, 1, 1, 1];
    let mut at = 0;
    let mut updates = Vec::new();
    for size in sizes {
        updates.push(small(1, at, at + size));
        at += size;
    }
    append(&store, &[admitted(0, updates)]).await;
    let mut replica = Replica::default();
    let mut steps = Vec::new();
    while !replica.complete {
        let before = replica.known.end(PeerId(1));
        replica.step(&store, FEW).await;
        steps.push(replica.known.end(PeerId(1)) - before);
    }
    assert_eq!(steps, [3, 7, 3], "an update that is larger comes alone");

    // The last record that is covered is named, so that the rest can be read from the log.
    let limits = CatchUpLimits::default();
    let step = store
        .catch_up(&document(), &replica.known, None, limits)
        .await
        .unwrap();
    assert_eq!(
        step.complete,
        Some([(source("local"), LogOffset(0))].into_iter().collect())
    );
}

async fn a_fold_between_two_steps_is_not_noticed(store: DocumentStore) {
    append_ops(&store, 1, 10).await;
    fold(&store, snapshot_id(1)).await;
    append_ops(&store, 1, 10).await;
    let mut replica = Replica::default();
    replica.step(&store, FEW).await;
    assert_eq!(replica.snapshot_count, 1);
    replica.step(&store, FEW).await;
    fold(&store, snapshot_id(2)).await;
    append_ops(&store, 2, 3).await;
    replica.catch_up(&store, FEW).await;
    assert_eq!((replica.snapshot_count, replica.update_count), (1, 13));
    assert_caught_up(&store, &replica).await;
}

async fn two_folds_between_two_steps_begin_anew(store: DocumentStore) {
    append_ops(&store, 1, 10).await;
    fold(&store, snapshot_id(1)).await;
    append_ops(&store, 1, 10).await;
    let mut replica = Replica::default();
    replica.step(&store, FEW).await;
    replica.step(&store, FEW).await;
    for number in 2..=3 {
        append_ops(&store, 2, 10).await;
        fold(&store, snapshot_id(number)).await;
    }
    replica.catch_up(&store, FEW).await;
    assert_eq!(replica.snapshot_count, 2);
    assert_caught_up(&store, &replica).await;
}

async fn large_pieces_are_put_together_in_order(store: DocumentStore) {
    let updates = (0..8)
        .map(|at| {
            update(
                span(1, at, at + 1),
                &[],
                Bytes::from(vec![at as u8; 150_000]),
            )
        })
        .collect();
    append(&store, &[admitted(0, updates)]).await;
    fold(&store, snapshot_id(1)).await;
    let mut replica = Replica::default();
    let mut steps = 0;
    while !replica.complete {
        replica
            .step(
                &store,
                CatchUpLimits {
                    operations: 10,
                    bytes: 200_000,
                },
            )
            .await;
        steps += 1;
        if steps == 3 {
            append_ops(&store, 2, 1).await;
            fold(&store, snapshot_id(2)).await;
        }
    }
    assert_eq!(replica.snapshot_count, 1);
    assert!(steps > 5);
    assert_caught_up(&store, &replica).await;
}

async fn a_missing_update_is_an_error_and_not_a_gap(store: DocumentStore) {
    append_ops(&store, 1, 6).await;
    for missing in [6, 3] {
        let transaction = store.kv.begin().await.unwrap();
        let key = Key::Update(document(), UpdateSequence(missing), 0);
        transaction.clear(&key.pack());
        transaction.commit().await.unwrap();
        let known = VersionVector::new();
        let limits = CatchUpLimits::default();
        let refused = store.catch_up(&document(), &known, None, limits).await;
        let Err(StoreError::Corrupt { key: named, source }) = refused else {
            panic!("it is gone")
        };
        assert!(matches!(source, CorruptValue::Incomplete));
        assert_eq!(named, format!("{key:?}"));
    }
}

/// Replicas with different knowledge catch up in small steps over a store that fails, while others
/// append and fold. Each ends with everything, in an order that its dependencies allow.
#[tokio::test(start_paused = true)]
async fn replicas_catch_up_while_the_document_grows_and_folds() {
    let (mut restarts, mut tails) = (0, 0);
    for seed in 0..20 {
        let simulated = SimulatedStore::new();
        let calm = Arc::new(simulated.handle(Random::from_seed(seed), Faults::NONE));
        let store = DocumentStore::open(calm, Random::from_seed(seed))
            .await
            .unwrap();
        append_ops(&store, 1, 20).await;
        let kv = Arc::new(stormy(&simulated, seed, 0.1));
        let reading = DocumentStore {
            kv,
            random: Random::from_seed(seed),
        };
        let random = Random::from_seed(seed);
        let mut replicas: Vec<_> = [0, 5, 20]
            .map(|known| Replica::knowing(&[(1, known)]))
            .into_iter()
            .collect();
        for round in 1..=60_u32 {
            let replica = &mut replicas[random.below(3) as usize];
            if !replica.complete {
                replica.try_step(&reading).await;
            }
            if random.chance(0.5) {
                append_ops(&store, 1 + random.below(3), 4).await;
            }
            if random.chance(0.05) {
                fold(&store, snapshot_id(u128::from(round))).await;
            }
        }
        for replica in &mut replicas {
            replica.complete = false;
            while !replica.complete {
                replica.try_step(&reading).await;
            }
            assert_caught_up(&store, replica).await;
            restarts += replica.snapshot_count.saturating_sub(1);
            tails += usize::from(replica.snapshot_count == 0);
        }
    }
    assert!(
        restarts > 0 && tails > 0,
        "{restarts} restarts and {tails} without a snapshot"
    );
}
