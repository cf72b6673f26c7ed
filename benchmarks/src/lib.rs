//! What the benchmarks share.

#![allow(clippy::disallowed_methods)] // A benchmark measures real time, and its tasks end with it.

mod absentee;
mod byte_count;
pub mod crowd;
mod latencies;
mod process_memory;
mod replicas;
mod wire_client;

pub use absentee::{Absentee, Return};
pub use byte_count::ByteCount;
pub use latencies::Latencies;
pub use process_memory::ProcessMemory;
pub use replicas::{Reported, Sample, connect_all};
pub use wire_client::{Heard, Joined, WireClient};
