//! Runs the cases one after the other and says how they went, as the standard harness does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use document_store::FoundationDbNetwork;
use tokio::runtime::Runtime;

use super::cases::{self, CASES};
use super::cluster::{self, Cluster};

/// The first argument of a process that the suite starts; the store's prefix and a number follow it.
pub const CHILD: &str = "--child";

/// Runs the cases whose names contain one of the arguments, or all.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in CASES {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let Some(file) = cluster::file() else {
        println!("\nrunning {} tests", CASES.len());
        for (name, _) in CASES {
            println!("test {name} ... ignored, FDB_CLUSTER_FILE is not set");
        }
        println!(
            "\nNothing of FoundationDB was tested: there is no cluster. Set FDB_CLUSTER_FILE to one's \
             cluster file and run `cargo xtask test --foundationdb`.\n\n\
             test result: ok. 0 passed; 0 failed; {} ignored\n",
            CASES.len()
        );
        return ExitCode::SUCCESS;
    };
    let runtime = Runtime::new().unwrap();
    let run = |network: &FoundationDbNetwork| {
        if let [first, prefix, number] = &arguments[..]
            && first == CHILD
        {
            let cluster = Cluster::of_child(network, file, prefix);
            runtime.block_on(cases::count_as_child(&cluster, number.parse().unwrap()));
            return ExitCode::SUCCESS;
        }
        let cluster = Cluster::new(network, file);
        if !runtime.block_on(cluster.is_there()) {
            println!(
                "no FoundationDB cluster answers that {:?} describes",
                cluster.file
            );
            return ExitCode::FAILURE;
        }
        let code = run_cases(&runtime, &cluster, &arguments);
        runtime.block_on(cluster.clear());
        code
    };
    FoundationDbNetwork::run(run).expect("the client library is there and of version 7.3 or later")
}

fn run_cases(runtime: &Runtime, cluster: &Cluster<'_>, arguments: &[String]) -> ExitCode {
    let patterns: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted =
        |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| name.contains(*pattern));
    let (wanted, others): (Vec<_>, Vec<_>) = CASES.iter().partition(|(name, _)| is_wanted(name));
    println!("\nrunning {} tests", wanted.len());
    let mut failed = Vec::new();
    for (name, case) in &wanted {
        // What the case leaves behind is its stores' prefixes, which no other case uses.
        let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case(cluster))));
        let result = if ran.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {result}");
        if ran.is_err() {
            failed.push(name);
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out\n",
        wanted.len() - failed.len(),
        failed.len(),
        others.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("failures: {failed:?}");
        ExitCode::FAILURE
    }
}
