//! What the benchmarks share.

#![allow(clippy::disallowed_methods)] // A benchmark measures real time, and its tasks end with it.

mod latencies;
mod replicas;

pub use latencies::Latencies;
pub use replicas::{Reported, Sample, connect_all};
