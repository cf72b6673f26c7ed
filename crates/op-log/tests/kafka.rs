//! The log in a real Kafka broker, which `cargo xtask test --only kafka` runs.
#![allow(clippy::unwrap_used)] // Tests.
#![allow(clippy::disallowed_methods)] // The broker's address comes from the environment.

mod kafka {
    mod group;
    mod suite;
    mod topic;
}
