//! The log in a real Kafka broker, which `cargo xtask test --only kafka` runs.
#![allow(clippy::unwrap_used)] // Tests.
#![allow(clippy::disallowed_methods)] // The broker's address comes from the environment.

#[cfg(feature = "kafka")]
mod kafka {
    mod broker;
    mod suite;
}

/// Without the feature there is nothing to test; this says so, past the harness's capture.
#[cfg(not(feature = "kafka"))]
#[test]
fn skipped_as_the_feature_kafka_is_off() {
    use std::io::Write;
    let text = "the Kafka suite is skipped: run `cargo xtask test --only kafka`\n";
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
