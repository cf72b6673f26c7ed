use std::collections::BTreeMap;

use futures::future::join_all;

use super::*;
use crate::conformance::read_to_tail;

const FIRST: LogPartition = LogPartition(0);
const START: LogOffset = LogOffset(0);

async fn without_faults() -> (Arc<dyn OpLog>, ()) {
    let log = SimulatedLog::new(2, &Random::from_seed(1), FaultChances::NONE);
    (Arc::new(log.connect()), ())
}

async fn slow_and_in_pieces() -> (Arc<dyn OpLog>, ()) {
    let chances = FaultChances {
        delay_max: Duration::from_millis(30),
        read_short: 0.3,
        ..FaultChances::NONE
    };
    let log = SimulatedLog::new(2, &Random::from_seed(1), chances);
    (Arc::new(log.connect()), ())
}

mod conformance_without_faults {
    crate::conformance_tests!(
        #[tokio::test(start_paused = true)]
        super::without_faults
    );
}

mod conformance_slow_and_in_pieces {
    crate::conformance_tests!(
        #[tokio::test(start_paused = true)]
        super::slow_and_in_pieces
    );
}

fn append(log: &SimulatedOpLog, record: String) -> AppendFuture {
    log.append(
        FIRST,
        &DocumentId::parse("doc").unwrap(),
        Bytes::from(record),
    )
}

/// Each record's offsets, in a log that nothing is in flight to any more.
async fn offsets_by_record(log: &SimulatedLog) -> BTreeMap<String, Vec<u64>> {
    log.set_chances(FaultChances::NONE);
    sleep(Duration::from_secs(3_600)).await;
    let reader: Arc<dyn OpLog> = Arc::new(log.connect());
    let mut offsets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in read_to_tail(&reader, FIRST, START, ReadLimit::default()).await {
        let record = String::from_utf8(entry.record.to_vec()).unwrap();
        offsets.entry(record).or_default().push(entry.offset.0);
    }
    offsets
}

/// What 2 nodes with 100 appends each saw, what is in the log, and which faults struck.
async fn run(
    seed: u64,
) -> (
    Vec<Result<LogOffset, String>>,
    BTreeMap<String, Vec<u64>>,
    FaultCounts,
) {
    let random = Random::from_seed(seed);
    let log = SimulatedLog::new(1, &random, FaultChances::swarm(&random));
    let nodes = [log.connect(), log.connect()];
    let appends = (0..200).map(|number| append(&nodes[number % 2], format!("{number:03}")));
    let results = join_all(appends).await;
    for (number, result) in results
        .iter()
        .enumerate()
        .filter(|(_, result)| result.is_ok())
    {
        let entries =
            nodes[number % 2].read(FIRST, *result.as_ref().unwrap(), ReadLimit::default());
        if let Ok(entries) = entries.await {
            assert_eq!(entries[0].record, format!("{number:03}"));
        }
    }
    let results = results
        .into_iter()
        .map(|result| result.map_err(|error| format!("{error:?}")));
    let results = results.collect();
    (results, offsets_by_record(&log).await, log.fault_counts())
}

#[tokio::test(start_paused = true)]
async fn every_result_means_what_it_says() {
    let mut total = FaultCounts::default();
    for seed in 0..100 {
        let (results, found, counts) = run(seed).await;
        let mut twice_count = 0;
        let mut last_offsets = [None, None];
        for (number, result) in results.iter().enumerate() {
            let offsets = found
                .get(&format!("{number:03}"))
                .map_or(&[][..], Vec::as_slice);
            match result {
                Ok(offset) => assert_eq!(offsets[0], offset.0, "seed {seed}"),
                Err(error) if error.starts_with("Unknown") => assert!(offsets.len() <= 1),
                Err(error) => assert!(offsets.is_empty(), "seed {seed}: {error}"),
            }
            twice_count += u64::from(offsets.len() > 1);
            let first = offsets.first().copied();
            if first.is_some() {
                assert!(
                    first > last_offsets[number % 2],
                    "seed {seed}: a node's calls are in order"
                );
                last_offsets[number % 2] = first;
            }
        }
        assert_eq!(twice_count, counts.duplicated);
        total.overloaded += counts.overloaded;
        total.failed += counts.failed;
        total.unknown_written += counts.unknown_written;
        total.unknown_lost += counts.unknown_lost;
        total.duplicated += counts.duplicated;
        total.reads_failed += counts.reads_failed;
        total.reads_short += counts.reads_short;
    }
    let FaultCounts {
        crash_kept: 0,
        crash_lost: 0,
        ..
    } = total
    else {
        panic!("nobody crashed")
    };
    for count in [
        total.overloaded,
        total.failed,
        total.unknown_written,
        total.unknown_lost,
        total.duplicated,
        total.reads_failed,
        total.reads_short,
    ] {
        assert!(count > 10, "every fault has struck: {total:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_log() {
    for seed in 0..10 {
        assert_eq!(run(seed).await, run(seed).await);
    }
    assert_ne!(run(1).await, run(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_unknown_result_may_come_after_the_error() {
    let chances = FaultChances {
        unknown_written: 1.0,
        lateness_max: Duration::from_secs(60),
        ..FaultChances::NONE
    };
    let log = SimulatedLog::new(1, &Random::from_seed(1), chances);
    let node = log.connect();
    let error = append(&node, "late".to_owned()).await.unwrap_err();
    assert!(error.may_be_written() && error.is_retryable());
    assert_eq!(node.tail(FIRST).await.unwrap(), START);
    log.set_chances(FaultChances::NONE);
    // What the node appends later does not overtake it, what another does may.
    let (own, others) = (node, log.connect());
    assert_eq!(
        append(&others, "another node's".to_owned()).await.unwrap(),
        START
    );
    assert_eq!(
        append(&own, "later".to_owned()).await.unwrap(),
        LogOffset(2)
    );
    let entries = own
        .read(FIRST, LogOffset(1), ReadLimit::default())
        .await
        .unwrap();
    assert_eq!(entries[0].record, "late");
}

#[tokio::test(start_paused = true)]
async fn a_crash_keeps_a_first_part_of_what_is_in_flight() {
    let (mut kept_any, mut lost_any) = (false, false);
    for seed in 0..50 {
        let chances = FaultChances {
            delay_max: Duration::from_millis(20),
            ..FaultChances::NONE
        };
        let log = SimulatedLog::new(1, &Random::from_seed(seed), chances);
        let (crashing, living) = (log.connect(), log.connect());
        for number in 0..10 {
            drop(append(&crashing, format!("{number}")));
        }
        let waiting = crashing.read(FIRST, START, ReadLimit::default());
        crashing.crash();
        assert!(matches!(waiting.await, Err(ReadError::Closed)));
        let closed = append(&crashing, "ghost".to_owned()).await;
        assert!(
            matches!(closed, Err(crate::AppendError::Closed)),
            "{closed:?}"
        );
        append(&living, "alive".to_owned()).await.unwrap();

        let mut found = offsets_by_record(&log).await;
        assert!(found.remove("alive").is_some() && !found.contains_key("ghost"));
        let kept: Vec<_> = found.keys().cloned().collect();
        assert_eq!(
            kept,
            (0..kept.len())
                .map(|number| number.to_string())
                .collect::<Vec<_>>()
        );
        let counts = log.fault_counts();
        assert!(counts.crash_kept + counts.crash_lost <= 10);
        assert_eq!(10 - kept.len() as u64, counts.crash_lost);
        kept_any |= counts.crash_kept > 0;
        lost_any |= counts.crash_lost > 0;
    }
    assert!(kept_any && lost_any);
}
