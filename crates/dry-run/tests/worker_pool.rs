//! The pool, with real child processes.
#![allow(clippy::unwrap_used)] // A helper that fails fails its test.

mod conformance;
mod support;

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use document_types::VersionVector;
use dry_run::{DryRun, DryRunError, Harm, PoolSettings, Verdict, WorkerCommand, WorkerPool};
use support::{Author, id, mutants};

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
    let verdicts = pool.try_updates(request).await.unwrap();
    assert_eq!(verdicts, [Verdict::Harmful(Harm::Panic)]);
    assert_eq!(pool.process_ids(), processes);
}

#[tokio::test]
async fn an_update_that_takes_too_much_processor_time_is_slow() {
    // One insertion of 200 KB: what the gate would have cut.
    let pool = pool(settings()).await;
    let (author, base, version) = Author::in_company();
    let other = Author::new(3).types("other");
    let request = author.request(version, Some(base), vec![author.pastes(200_000), other]);
    let verdicts = pool.try_updates(request).await.unwrap();
    assert_eq!(verdicts, [Verdict::Harmful(Harm::Slow), Verdict::Harmless]);
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
    pool.try_updates(request).await.unwrap();
    let processes = pool.process_ids();
    let request = author.request(version.clone(), None, vec![author.pastes(900_000)]);
    assert!(matches!(
        pool.try_updates(request).await,
        Err(DryRunError::NeedsBase)
    ));
    assert_eq!(pool.process_ids().len(), processes.len() - 1);

    let request = author.request(version, Some(base), vec![]);
    pool.try_updates(request).await.unwrap();
    assert_eq!(
        pool.process_ids().len(),
        processes.len(),
        "another one took its place"
    );
}

#[tokio::test]
async fn an_update_that_takes_too_much_memory_ends_a_worker_and_nothing_else() {
    let settings = PoolSettings {
        memory_bytes_max: 96 * 1024 * 1024,
        cpu_per_update_max: Duration::from_secs(30),
        ..settings()
    };
    let pool = pool(settings).await;
    let author = Author::new(1);
    let list = author.document.engine().get_list("list");
    for _ in 0..400_000 {
        list.push(loro::LoroValue::Null).unwrap();
    }
    let bomb = author.document.take_local_update().unwrap().unwrap();
    assert!(bomb.len() < 1024 * 1024, "{} bytes", bomb.len());
    let other = Author::new(2).types("meanwhile");
    let request = author.request(VersionVector::new(), Some(vec![]), vec![bomb, other]);
    let verdicts = pool.try_updates(request).await.unwrap();
    assert_eq!(
        verdicts,
        [Verdict::Harmful(Harm::Memory), Verdict::Harmless]
    );
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
        let verdicts = pool.try_updates(request).await;
        landed.set(true);
        verdicts
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
    let (verdicts, ()) = tokio::join!(flight, kill);
    assert_eq!(
        verdicts.unwrap(),
        [Verdict::Harmless],
        "it was not the update's fault"
    );
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
    let verdicts = pool.try_updates(request).await.unwrap();
    assert!(matches!(verdicts[..], [Verdict::Harmful(Harm::Refused(_))]));
}
