//! The collaboration service: what stands between sessions and the log.
//!
//! ```text
//!   sessions ──► room ──► gate ──► log writer ──► operation log
//!      ▲           ▲                                   │
//!      └── frames ─┴────────── partition tail ◄────────┘
//! ```
//!
//! A room's sessions are fed from the log alone. So a node needs to know of no other node: what
//! another one appends comes by the same way as its own, and what is appended in another region comes
//! with the copy of that region's log.

mod anti_entropy;
mod catch_up;
mod clearing;
mod gate;
mod log_writer;
pub mod metrics;
mod node;
mod partition_tail;
mod room;
mod suspension;
mod trial;

pub use anti_entropy::OtherRegion;
pub use log_writer::NodeIdentity;
pub use node::{CollaborationNode, CollaborationParts};
