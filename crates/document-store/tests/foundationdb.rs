//! The store in a real FoundationDB cluster, which `cargo xtask test --foundationdb` runs.
//!
//! It has a `main` of its own, since FoundationDB's client is started once a process and has to be
//! stopped before that ends, and tests of the standard harness have no place that begins before all of
//! them and ends after.
#![allow(clippy::unwrap_used)] // Tests.
#![allow(clippy::disallowed_methods)] // Where the cluster is comes from the environment.

#[cfg(feature = "foundationdb")]
mod foundationdb {
    mod cases;
    mod cluster;
    mod harness;
    mod records;

    pub use harness::main;
}

#[cfg(feature = "foundationdb")]
use foundationdb::main as run;

/// Without the feature there is nothing to test, and this says so.
#[cfg(not(feature = "foundationdb"))]
fn run() -> std::process::ExitCode {
    println!(
        "\nrunning 1 test\n\
         test the_store_in_foundationdb ... ignored, the feature `foundationdb` is off: run \
         `cargo xtask test --foundationdb`\n\n\
         test result: ok. 0 passed; 0 failed; 1 ignored\n"
    );
    std::process::ExitCode::SUCCESS
}

fn main() -> std::process::ExitCode {
    run()
}
