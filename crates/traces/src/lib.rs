//! Spans of an edit's way through the stages, and their export over OTLP.
//!
//! A trace begins with a key press in a client and ends with the store's commit. Its context travels
//! with the edit: in the socket's text before the batch, with the submission to the room, in the log's
//! record. Nothing is asked of the ambient context of a task, since most spans begin in one task and end
//! in another.
//!
//! What is not traced, which is nearly all, costs a look at an `Option`. What is traced costs its edit
//! nothing either: spans are handed over through a bounded queue, and dropped where that is full.

mod collector;
mod exporter;
pub mod metrics;
mod span;
mod stage;
mod traces;
mod wire;

pub use collector::{CollectorAddress, CollectorAddressError};
pub use exporter::Exporter;
pub use span::{Span, Value};
pub use stage::Stage;
pub use traces::{TraceParts, Traces};
pub use wire::NodeName;
