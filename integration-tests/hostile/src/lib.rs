//! Attackers who send mutated updates to a real server, honest people who type meanwhile, and what
//! became of each.
//!
//! A mutant is an update that an engine wrote, with a few of its bytes changed and its checksum made
//! right again: it passes for an update until somebody looks at what it says.

mod attacker;
mod campaign;
mod edits;
mod ground;
mod machines;
mod memory;
mod metrics;
mod mutant;
mod observer;
mod session;
mod tally;
mod typist;

pub use attacker::{Attacker, Target};
pub use campaign::Campaign;
pub use machines::Machines;
pub use memory::{Memory, MemoryWatch};
pub use metrics::fetch_metrics;
pub use observer::Observer;
pub use session::read_document;
pub use tally::Tally;
pub use typist::{Delays, Typist};
