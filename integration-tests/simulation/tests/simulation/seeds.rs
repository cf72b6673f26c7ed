//! Many seeds: each is a run that must hold, and together they must meet every rare state.
//!
//! `SIMULATION_SEEDS` says how many, from `SIMULATION_FIRST_SEED` on; one alone shows all that
//! happens. `SIMULATION_PLAN` names a file with the plan of one run instead, as a failing seed leaves
//! it behind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::Plan;
use crate::ports::Ports;
use crate::run::{Outcome, run};
use crate::shrink::shrink;

/// Seeds of a run that nobody asked for more or less of.
const SEEDS_DEFAULT: u64 = 2_000;
/// From how many seeds on every rare state must have been met.
const SEEDS_ENOUGH: u64 = 1_000;
/// Threads that share the seeds.
const THREADS: usize = 2;
/// Failing seeds whose plans are cut down and written.
const FAILURES_WRITTEN_MAX: usize = 3;

/// The rare states. A suite that never reached one has not tested it.
const RARE: &[&str] = &[
    "a batch that was sound in part was refused",
    "a client began anew",
    "a client's disk was set back",
    "a dangling update was refused",
    "a fold during a catch-up",
    "a foreign peer id was refused",
    "a gap in a peer's logged operations was filled",
    "a gap was filled in time",
    "a gap was open for too long",
    "a harmful update was refused",
    "a merge was split",
    "a merger began again",
    "a merger folded",
    "a merger found the state moved",
    "a merger's fold was superseded",
    "a mutant was refused",
    "a peer id was stolen",
    "a set-back client was found out at its join",
    "a slow fold was superseded",
    "acknowledged as known",
    "an append was tried again",
    "an update in the log was void",
    "edited offline",
    "equivocation met",
    "equivocation refused",
    "equivocation through two nodes",
    "log: append failed",
    "log: append overloaded",
    "log: crash after append before ack",
    "log: crash loses an append",
    "log: read failed",
    "log: record written twice",
    "log: unknown append that is lost",
    "log: unknown append that is written",
    "malformed bytes were refused",
    "one peer on two nodes",
    "pasted",
    "pulse",
    "resent with other boundaries",
    "slow consumer",
    "somebody was suspended",
    "store: conflict",
    "store: transaction too old",
    "store: unknown commit that happened",
    "store: unknown commit that is lost",
    "straddling equivocation",
    "the dry run found harm",
];

fn setting(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods)] // A test has no other configuration.
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    let value = setting(name)?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {value:?}, which is no number")),
    )
}

#[test]
fn every_seed_holds() {
    if let Some(path) = setting("SIMULATION_PLAN") {
        return replay(&path.into());
    }
    let first = number("SIMULATION_FIRST_SEED").unwrap_or(1);
    let count = number("SIMULATION_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    let met: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run(&Plan::draw(seed), Ports::default());
                    if count == 1 {
                        println!("{}", outcome.trace);
                    }
                    let mut met = met.lock().expect("no thread panics with it");
                    for (state, count) in &outcome.met {
                        *met.entry(state).or_default() += count;
                    }
                    if !outcome.violations.is_empty() {
                        let mut failures = failures.lock().expect("no thread panics with it");
                        failures.push((seed, outcome));
                    }
                }
            });
        }
    });
    let met = met.into_inner().expect("no thread panics with it");
    for (state, count) in &met {
        println!("{count:>8} {state}");
    }
    let mut failures = failures.into_inner().expect("no thread panics with it");
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, outcome) in failures.iter().take(FAILURES_WRITTEN_MAX) {
        report(*seed, outcome);
    }
    let seeds: Vec<_> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(seeds.is_empty(), "of {count} seeds, {seeds:?} failed");
    let unmet: Vec<_> = RARE
        .iter()
        .filter(|state| met.get(*state).is_none_or(|count| *count == 0))
        .collect();
    assert!(
        count < SEEDS_ENOUGH || unmet.is_empty(),
        "{count} seeds never met {unmet:?}"
    );
}

/// Says what failed and how to see it again, and leaves behind the plan, and a smaller one that fails
/// as well.
fn report(seed: u64, outcome: &Outcome) {
    println!("seed {seed}: {:#?}", outcome.violations);
    println!("  again: SIMULATION_FIRST_SEED={seed} SIMULATION_SEEDS=1 cargo test -p simulation");
    let plan = Plan::draw(seed);
    let fails = |plan: &Plan| !run(plan, Ports::default()).violations.is_empty();
    for (name, plan) in [
        ("plan", plan.clone()),
        ("smaller-plan", shrink(&plan, fails)),
    ] {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("seed-{seed}-{name}.jsonl"));
        match std::fs::write(&path, plan.to_lines()) {
            Ok(()) => println!(
                "  {} steps: SIMULATION_PLAN={} cargo test -p simulation",
                plan.steps.len(),
                path.display()
            ),
            Err(error) => println!("  the plan can't be written: {error}"),
        }
    }
}

/// Runs the plan of a file, and shows all that happens.
fn replay(path: &PathBuf) {
    let text = std::fs::read_to_string(path).expect("SIMULATION_PLAN names a file");
    let plan = Plan::from_lines(&text).expect("the file holds a plan");
    let outcome = run(&plan, Ports::default());
    println!("{}", outcome.trace);
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
}

/// The same plan twice is the same run: what everybody saw and did, and when.
#[test]
fn the_same_seed_gives_the_same_run() {
    let first = number("SIMULATION_FIRST_SEED").unwrap_or(1);
    for seed in first..first + 20 {
        let plan = Plan::draw(seed);
        let [one, other] = [(), ()].map(|()| run(&plan, Ports::default()));
        let lines = one.trace.lines().zip(other.trace.lines()).zip(1..);
        for ((one, other), line) in lines {
            assert_eq!(one, other, "seed {seed}: the runs part at line {line}");
        }
        assert_eq!(
            one.trace, other.trace,
            "seed {seed}: one run goes on where the other ends"
        );
        assert_eq!(one.met, other.met, "seed {seed}");
    }
}
