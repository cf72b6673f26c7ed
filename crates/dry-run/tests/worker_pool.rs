//! The pool, with real child processes.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod conformance;
mod support;

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use document_types::VersionVector;
use document_types::limits::DRY_RUN_PATIENCE;
use dry_run::{
    DryRun, DryRunError, DryRunRequest, Harm, PoolSettings, Verdict, WorkerCommand, WorkerPool,
};
use support::{Author, id, mutants, verdicts};

fn command() -> WorkerCommand {
    WorkerCommand {
        program: env!("CARGO_BIN_EXE_dry-run-worker").into(),
        arguments: vec![],
    }
}

fn settings() -> PoolSettings {
    PoolSettings::new(NonZeroU32::new(2).unwrap())
}

async fn pool(settings: PoolSettings) -> WorkerPool {
    WorkerPool::start(command(), settings).await.unwrap()
}

#[tokio::test]
async fn conforms() {
    conformance::all(&pool(settings()).await).await;
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_named() {
    let command = WorkerCommand {
        program: "/no/such/binary".into(),
        arguments: vec![],
    };
    let error = WorkerPool::start(command, settings()).await.err().unwrap();
    assert!(error.to_string().contains("/no/such/binary"));
}

#[tokio::test]
async fn a_panic_that_is_caught_costs_no_process() {
    let pool = pool(settings()).await;
    let processes = pool.process_ids();
    let mutant = &mutants()[0];
    let (author, version) = mutant.honest(77);
    let base = Some(vec![mutant.snapshot.clone()]);
    let request = author.request(version, base, vec![mutant.update.clone()]);
    let found = verdicts(&pool, request).await;
    assert_eq!(found, [Verdict::Harmful(Harm::Panic)]);
    assert_eq!(pool.process_ids(), processes);
}

#[tokio::test]
async fn a_worker_that_has_lost_much_memory_is_replaced() {
    let settings = PoolSettings {
        worker_count: NonZeroU32::MIN,
        leaked_bytes_max: 1,
        ..settings()
    };
    let pool = pool(settings).await;
    let processes = pool.process_ids();
    let mutant = &mutants()[0];
    let (author, version) = mutant.honest(77);
    let base = Some(vec![mutant.snapshot.clone()]);
    let request = author.request(version.clone(), base, vec![mutant.update.clone()]);
    assert_eq!(
        verdicts(&pool, request).await,
        [Verdict::Harmful(Harm::Panic)]
    );
    assert_eq!(pool.process_ids().len(), 1);
    assert_ne!(pool.process_ids(), processes);
    // The new one has the document already.
    let request = author.request(version, None, vec![author.types("more ")]);
    assert_eq!(verdicts(&pool, request).await, [Verdict::Harmless]);
}

#[tokio::test]
async fn what_updates_cost_is_said() {
    let pool = pool(settings()).await;
    let (author, base, version) = Author::in_company();
    let request = author.request(version, Some(base), vec![author.pastes(20_000)]);
    let tried = pool.try_updates(request).await.unwrap();
    assert!(tried.processor_time > Duration::ZERO);
}

#[tokio::test]
async fn documents_that_share_a_worker_do_not_get_into_each_other_s_way() {
    let settings = PoolSettings {
        worker_count: NonZeroU32::MIN,
        ..settings()
    };
    let pool = pool(settings).await;
    let mutant = &mutants()[0];
    let sift = async |name: &str| {
        let (author, version) = mutant.honest(77);
        let bad = || mutant.update.clone();
        let candidates = vec![author.types("a"), bad(), bad(), author.types("b"), bad()];
        let base = Some(vec![mutant.snapshot.clone()]);
        let mut request = author.request(version, base, candidates);
        request.document = id(name);
        let found = verdicts(&pool, request).await;
        let harmless: Vec<bool> = found.iter().map(|v| *v == Verdict::Harmless).collect();
        assert_eq!(harmless, [true, false, false, true, false]);
    };
    let forget = async {
        for _ in 0..10 {
            pool.forget(&id("doc_1")).await;
        }
    };
    tokio::join!(sift("doc_1"), sift("doc_2"), sift("doc_3"), forget);
}

/// Little memory, and time enough to use it up.
fn little_memory() -> PoolSettings {
    PoolSettings {
        memory_bytes_max: 96 * 1024 * 1024,
        cpu_per_update_max: Duration::from_secs(30),
        ..settings()
    }
}

#[tokio::test]
async fn a_document_that_takes_too_much_memory_is_too_large_and_nobody_is_to_blame() {
    let pool = pool(little_memory()).await;
    let author = Author::new(1);
    let bomb = takes_much_memory(&author);
    let other = Author::new(2).types("meanwhile");
    let request = author.request(VersionVector::new(), Some(vec![bomb]), vec![other]);
    let tried = pool.try_updates(request).await;
    assert!(matches!(tried, Err(DryRunError::TooLarge)), "{tried:?}");
}

/// The engine keeps a version for each operation that was written on top of several, but makes them at
/// the first import only.
#[tokio::test]
async fn a_document_that_will_take_too_much_memory_is_too_large_before_anybody_writes() {
    let settings = PoolSettings {
        memory_bytes_max: 56 * 1024 * 1024,
        ..settings()
    };
    let pool = pool(settings).await;
    let author = Author::new(1);
    author.types("x");
    let engine = author.document.engine();
    let all = engine.oplog_vv();
    let mut json = engine.export_json_updates_without_peer_compression(&Default::default(), &all);
    let first = json.changes.remove(0);
    let mut heads = vec![first.id];
    for (beat, lamport) in (0..70).zip(first.lamport + 1..) {
        let ids: Vec<_> = (100..150).map(|peer| loro::ID::new(peer, beat)).collect();
        for id in &ids {
            let mut change = first.clone();
            (change.id, change.deps, change.lamport) = (*id, heads.clone(), lamport);
            change.ops[0].counter = beat;
            json.changes.push(change);
        }
        heads = ids;
    }
    engine.import_json_updates(json).unwrap();
    let snapshot = author.document.export_snapshot().unwrap();
    assert!(snapshot.len() < 1024 * 1024, "{} bytes", snapshot.len());
    let other = Author::new(2).types("meanwhile");
    let version = author.version();
    let request = author.request(version, Some(vec![snapshot]), vec![other]);
    for _ in 0..2 {
        let tried = pool.try_updates(request.clone()).await;
        assert!(matches!(tried, Err(DryRunError::TooLarge)), "{tried:?}");
    }
}

/// An update of less than a megabyte that takes more than a hundred.
fn takes_much_memory(author: &Author) -> Bytes {
    let list = author.document.engine().get_list("list");
    for _ in 0..400_000 {
        list.push(loro::LoroValue::Null).unwrap();
    }
    let bomb = author.document.take_local_update().unwrap().unwrap();
    assert!(bomb.len() < 1024 * 1024, "{} bytes", bomb.len());
    bomb
}

#[tokio::test]
async fn an_update_that_takes_too_much_processor_time_is_slow() {
    // One insertion of 700 KB: what the gate would have cut.
    let pool = pool(settings()).await;
    let (author, base, version) = Author::in_company();
    let other = Author::new(3).types("other");
    let request = author.request(version, Some(base), vec![author.pastes(700_000), other]);
    let found = verdicts(&pool, request).await;
    assert_eq!(found, [Verdict::Harmful(Harm::Slow), Verdict::Harmless]);
}

#[tokio::test]
async fn a_worker_that_does_not_come_back_is_killed() {
    // So little time that the wall-clock limit passes while the engine is still at it.
    let settings = PoolSettings {
        cpu_per_update_max: Duration::from_millis(1),
        ..settings()
    };
    let pool = pool(settings).await;
    let (author, base, version) = Author::in_company();
    let request = author.request(version.clone(), Some(base.clone()), vec![]);
    verdicts(&pool, request).await;
    let processes = pool.process_ids();
    let request = author.request(version.clone(), None, vec![author.pastes(900_000)]);
    assert!(matches!(
        pool.try_updates(request).await,
        Err(DryRunError::NeedsBase { .. })
    ));
    assert_eq!(pool.process_ids().len(), processes.len() - 1);

    let request = author.request(version, Some(base), vec![]);
    verdicts(&pool, request).await;
    assert_eq!(
        pool.process_ids().len(),
        processes.len(),
        "another one took its place"
    );
}

#[tokio::test]
async fn an_update_that_takes_too_much_memory_ends_a_worker_and_nothing_else() {
    let pool = pool(little_memory()).await;
    let author = Author::new(1);
    let bomb = takes_much_memory(&author);
    let other = Author::new(2).types("meanwhile");
    let request = author.request(VersionVector::new(), Some(vec![]), vec![bomb, other]);
    let found = verdicts(&pool, request).await;
    assert_eq!(found, [Verdict::Harmful(Harm::Memory), Verdict::Harmless]);
}

#[tokio::test]
async fn a_worker_that_is_killed_in_flight_costs_nobody_anything() {
    let settings = PoolSettings {
        worker_count: NonZeroU32::MIN,
        cpu_per_update_max: Duration::from_secs(60),
        ..settings()
    };
    let pool = pool(settings).await;
    let (author, base, version) = Author::in_company();
    let request = author.request(version, Some(base), vec![author.pastes(250_000)]);
    let process = pool.process_ids()[0];
    let landed = Cell::new(false);
    let flight = async {
        let found = verdicts(&pool, request).await;
        landed.set(true);
        found
    };
    let kill = async {
        // It is at it once it has used processor time.
        while processor_ticks(process) <= 5 {
            assert!(!landed.get(), "it was done before it could be killed");
            tokio::task::yield_now().await;
        }
        let killed = std::process::Command::new("kill")
            .args(["-9", &process.to_string()])
            .status();
        assert!(killed.unwrap().success());
    };
    let (found, ()) = tokio::join!(flight, kill);
    assert_eq!(found, [Verdict::Harmless], "it was not the update's fault");
    assert_ne!(pool.process_ids(), [process]);
}

/// Processor time in user mode, in the kernel's ticks (proc_pid_stat(5), field 14).
fn processor_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    after_name.split(' ').nth(11).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_request_that_is_dropped_half_way_takes_its_worker_along_and_no_answer_is_mixed_up() {
    let settings = PoolSettings {
        worker_count: NonZeroU32::MIN,
        ..settings()
    };
    let pool = pool(settings).await;
    let (author, base, version) = Author::in_company();
    let slow = author.request(version, Some(base), vec![author.pastes(250_000)]);
    let dropped = tokio::time::timeout(Duration::from_millis(5), pool.try_updates(slow)).await;
    assert!(dropped.is_err());
    let other = Author::new(2);
    let mut request = other.request(
        VersionVector::new(),
        Some(vec![]),
        vec![Bytes::from_static(b"bad")],
    );
    request.document = id("doc_2");
    let found = verdicts(&pool, request).await;
    assert!(matches!(found[..], [Verdict::Harmful(Harm::Refused(_))]));
}

#[tokio::test]
async fn what_takes_long_is_dear_of_some_and_harmless_of_others() {
    let (author, base, version) = Author::in_company();
    let paste = author.pastes(100_000);
    let ask = |patient| DryRunRequest {
        patient,
        ..author.request(version.clone(), Some(base.clone()), vec![paste.clone()])
    };
    let generous = PoolSettings {
        cpu_per_update_max: Duration::from_secs(60),
        ..settings()
    };
    let found = pool(generous).await.try_updates(ask(false)).await.unwrap();
    assert_eq!(found.verdicts, [Verdict::Harmless]);
    // Between the two limits, as far from both as can be.
    let tight = PoolSettings {
        cpu_per_update_max: found.processor_time * 2 / DRY_RUN_PATIENCE,
        ..settings()
    };
    let pool = pool(tight).await;
    let found = verdicts(&pool, ask(false)).await;
    assert_eq!(found, [Verdict::Harmful(Harm::Dear)]);
    assert_eq!(verdicts(&pool, ask(true)).await, [Verdict::Harmless]);
}
