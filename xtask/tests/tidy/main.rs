//! House rules, as tests: what a reviewer would otherwise have to look for in every change.

// A test fails by panicking, and one of the repository reads cargo's environment.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod dependency_direction;
mod documents;
mod licences;
mod manifests;
mod metrics;
mod source_files;
mod workspace;
