//! The real servers that `cargo xtask parts` runs for tests: where they are, and how to kill one.
#![allow(clippy::unwrap_used)] // For tests.
#![allow(clippy::disallowed_methods)] // Where they are comes from the environment.

use std::process::Command;

/// A variable that `cargo xtask test` sets, for instance with the address of a part.
///
/// # Panics
/// If it is not set; it says how to come by it.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set, so there is nothing real to test against: run the step of \
             `cargo xtask test` that has this test, or see `cargo xtask parts --help`"
        )
    })
}

/// Whether `cargo xtask test` has started this part for the test.
pub fn has_part(name: &str) -> bool {
    let names = std::env::var("COLLABEDIT_PARTS").unwrap_or_default();
    names.split(',').any(|part| part == name)
}

/// Runs `cargo xtask parts` with these arguments, for instance to kill a part and to start it again.
///
/// # Panics
/// If it fails, with what it says.
pub async fn parts(arguments: &[&str]) {
    let mut command = Command::new(variable("COLLABEDIT_XTASK"));
    command.arg("parts").args(arguments);
    // What it prints would stand among the test's own words.
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    assert!(
        output.status.success(),
        "`xtask parts {arguments:?}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
