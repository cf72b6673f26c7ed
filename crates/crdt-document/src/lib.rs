//! The only crate that knows Loro, the CRDT engine.
//!
//! What others see is [`CrdtDocument`], a guarded document; [`inspect`], our own bounded reading of
//! an update's bytes before the engine sees them; and the bytes of versions and ephemeral state as
//! stock clients send them. The engine can panic, and after a panic its destructor would abort the
//! process, so every call into it goes through a guard.

mod deletions;
mod document;
mod edit;
mod engine;
mod ephemeral;
mod guard;
mod inserted_text;
pub mod inspect;
mod log_import;
mod meter;
mod overlap;
mod read;
mod slices;
mod split;
mod state_hash;
mod targets;
mod version_bytes;

pub use document::{CrdtDocument, CrdtError, ImportOutcome};
pub use engine::EngineError;
pub use ephemeral::{EphemeralError, EphemeralState};
pub use guard::quiet_guarded_panics;
pub use inspect::{InspectError, InspectedSpan, InspectedUpdate, inspect, read};
pub use log_import::import_steps;
pub use meter::estimate_memory_bytes;
pub use overlap::Overlap;
pub use read::CONTENT;
pub use slices::Slice;
pub use split::{SplitError, split_update};
pub use version_bytes::{
    VersionDecodeError, decode_frontiers, decode_version_vector, encode_frontiers,
    encode_version_vector,
};
