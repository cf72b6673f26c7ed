use std::time::Duration;

use document_types::limits::TRANSACTION_TIME_MAX;

use super::*;
use crate::conformance;

fn calm(store: &SimulatedStore) -> Arc<dyn OrderedKv> {
    Arc::new(store.handle(Random::from_seed(1), Faults::NONE))
}

#[tokio::test(start_paused = true)]
async fn it_conforms() {
    conformance::all(async || calm(&SimulatedStore::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_ends_after_its_time() {
    let kv = calm(&SimulatedStore::new());
    let (reader, writer) = (kv.begin().await.unwrap(), kv.begin().await.unwrap());
    writer.set(b"a", b"1");
    tokio::time::advance(TRANSACTION_TIME_MAX + Duration::from_millis(1)).await;
    assert!(matches!(
        reader.get(b"a").await,
        Err(KvError::TransactionTooOld)
    ));
    assert!(matches!(
        writer.commit().await,
        Err(KvError::TransactionTooOld)
    ));
}

#[tokio::test(start_paused = true)]
async fn old_versions_are_swept_and_the_latest_stays() {
    let store = SimulatedStore::new();
    let kv = calm(&store);
    for round in 0..2 * 1_024_u32 {
        let writer = kv.begin().await.unwrap();
        writer.set(b"same", &round.to_be_bytes());
        writer.set(&round.to_be_bytes(), b"");
        if round > 0 {
            writer.clear(&(round - 1).to_be_bytes());
        }
        writer.commit().await.unwrap();
        tokio::time::advance(Duration::from_millis(20)).await;
    }
    let reader = kv.begin().await.unwrap();
    assert_eq!(
        reader.get(b"same").await.unwrap().unwrap().as_ref(),
        2_047_u32.to_be_bytes()
    );
    let kept: usize = store.versions().kept_count();
    assert!(
        kept < 1_000,
        "{kept} versions are kept of 6,143 that were written"
    );
}

/// Two runs with one seed, told apart by nothing.
#[tokio::test(start_paused = true)]
async fn the_same_seed_fails_in_the_same_places() {
    async fn run(seed: u64) -> (FaultCounts, Vec<&'static str>) {
        let store = SimulatedStore::new();
        let kv = store.handle(Random::from_seed(seed), Faults::stormy(0.2));
        let mut outcomes = Vec::new();
        for round in 0..200_u32 {
            let outcome = async {
                let transaction = kv.begin().await?;
                transaction.get(b"a").await?;
                transaction.set(b"a", &round.to_be_bytes());
                transaction.commit().await
            };
            outcomes.push(
                outcome
                    .await
                    .map_or_else(|error| error.as_str(), |_| "committed"),
            );
        }
        (kv.fault_counts(), outcomes)
    }
    let (first, again, other) = (run(7).await, run(7).await, run(8).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let counts = first.0;
    assert!(counts.conflict > 0 && counts.unknown_committed > 0 && counts.unknown_lost > 0);
    assert!(counts.too_old > 0 && counts.future_version > 0 && counts.delays > 0);
}

#[tokio::test(start_paused = true)]
async fn one_node_can_be_cut_off_while_another_goes_on() {
    let store = SimulatedStore::new();
    let kv = store.handle(Random::from_seed(1), Faults::NONE);
    let begun_before = kv.begin().await.unwrap();
    kv.set_faults(Faults {
        unreachable: true,
        ..Faults::NONE
    });
    assert!(matches!(begun_before.get(b"a").await, Err(KvError::Closed)));
    assert!(matches!(kv.begin().await.err(), Some(KvError::Closed)));
    assert!(calm(&store).begin().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn short_pages_leave_nothing_out() {
    let store = SimulatedStore::new();
    let kv: Arc<dyn OrderedKv> = Arc::new(store.handle(
        Random::from_seed(1),
        Faults {
            short_page: 0.5,
            ..Faults::NONE
        },
    ));
    conformance::pages_ranges_both_ways(kv).await;
}
