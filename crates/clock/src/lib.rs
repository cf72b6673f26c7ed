//! Time, randomness, ids and threads as handles, and the hybrid logical clock.
//!
//! Nothing in the cores reads a clock, draws a random number or makes an id by itself: it is handed
//! one of these, so that a seed reproduces a run. This crate is the only place that touches the
//! ambient ones.

mod hybrid_logical_clock;
mod ids;
mod offload;
mod random;
mod time;

pub use hybrid_logical_clock::{CeilingError, CeilingStore, HlcError, HybridLogicalClock};
pub use ids::IdSource;
pub use offload::{Interrupted, Offload};
pub use random::Random;
pub use time::{Clock, SimulatedClock, SystemClock};
