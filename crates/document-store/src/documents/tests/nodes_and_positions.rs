use std::time::Duration;

use clock::{HybridLogicalClock, SimulatedClock};
use document_types::{NodeEpoch, NodeId};

use super::*;
use crate::values::Log;

over_both! {
    a_region_keeps_its_log
    merged_positions_only_grow
    epochs_grow_and_a_superseded_life_raises_nothing
}

async fn a_region_keeps_its_log(store: DocumentStore) {
    let log = |id: &str, partition_count| Log {
        id: id.to_owned(),
        partition_count,
    };
    let (here, there) = (source("here").region, source("there").region);
    let first = log("first", 16);
    store.bind_log(&here, &first).await.unwrap();
    store.bind_log(&here, &first).await.unwrap();
    store.bind_log(&there, &log("second", 8)).await.unwrap();
    for other in [log("second", 16), log("first", 8)] {
        let refused = store.bind_log(&here, &other).await.unwrap_err();
        assert!(matches!(refused, StoreError::OtherLog { .. }), "{refused}");
    }
    store.bind_log(&here, &first).await.unwrap();
}

async fn merged_positions_only_grow(store: DocumentStore) {
    let (here, there) = (source("here"), source("there"));
    assert_eq!(store.merged(&here).await.unwrap(), None);
    store.set_merged(&here, LogOffset(5)).await.unwrap();
    store.set_merged(&here, LogOffset(3)).await.unwrap();
    assert_eq!(store.merged(&here).await.unwrap(), Some(LogOffset(5)));
    assert_eq!(
        store.synced_merged(&here).await.unwrap(),
        Some(LogOffset(5))
    );
    assert_eq!(store.merged(&there).await.unwrap(), None);
}

async fn epochs_grow_and_a_superseded_life_raises_nothing(store: DocumentStore) {
    let node = NodeId(4);
    let first = store.take_node_epoch(node).await.unwrap();
    assert_eq!(
        first,
        NodeLife {
            epoch: NodeEpoch(1),
            hlc_ceiling: HlcTimestamp::ZERO
        }
    );
    let ceiling = HlcTimestamp::new(50, 0);
    store
        .raise_node_ceiling(node, first.epoch, ceiling)
        .await
        .unwrap();
    store
        .raise_node_ceiling(node, first.epoch, HlcTimestamp::new(40, 0))
        .await
        .unwrap();
    let second = store.take_node_epoch(node).await.unwrap();
    assert_eq!(
        second,
        NodeLife {
            epoch: NodeEpoch(2),
            hlc_ceiling: ceiling
        }
    );
    let refused = store
        .raise_node_ceiling(node, first.epoch, HlcTimestamp::new(90, 0))
        .await;
    assert!(matches!(
        refused,
        Err(RaiseError::Superseded {
            newest: NodeEpoch(2)
        })
    ));
    assert_eq!(
        store.take_node_epoch(NodeId(5)).await.unwrap().epoch,
        NodeEpoch(1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_over_the_store_grows_across_lives_and_stormy_weather() {
    let simulated = SimulatedStore::new();
    let calm = simulated.handle(Random::from_seed(1), Faults::NONE);
    DocumentStore::open(Arc::new(calm), Random::from_seed(1))
        .await
        .unwrap();
    let wall = Arc::new(SimulatedClock::starting_at(1_000_000));
    let mut last = HlcTimestamp::ZERO;
    for life_number in 0..20 {
        let kv = Arc::new(stormy(&simulated, life_number, 0.1));
        let store = loop {
            let opened = DocumentStore::open(kv.clone(), Random::from_seed(life_number)).await;
            if let Ok(store) = opened {
                break store;
            }
        };
        let life = loop {
            if let Ok(life) = store.take_node_epoch(NodeId(1)).await {
                break life;
            }
        };
        let ceilings = Arc::new(NodeCeiling::new(store, NodeId(1), life.epoch));
        let hlc = HybridLogicalClock::new(wall.clone(), ceilings, life.hlc_ceiling);
        for _ in 0..30 {
            if let Ok(stamp) = hlc.stamp().await {
                assert!(stamp > last, "{stamp} came after {last}");
                last = stamp;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        wall.jump(-25_000);
    }
    assert!(last > HlcTimestamp::ZERO);
}
