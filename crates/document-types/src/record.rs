//! The record that the operation log carries, version 1.
//!
//! `schemas/op-log/op_record.proto` is the contract; the messages in [`wire`] are its hand-kept Rust
//! side, and the golden vectors beside the contract, which Rust and TypeScript both read, hold the
//! two together. Everyone else uses [`OpRecord`], whose fields have been checked.

mod op_record;
pub mod wire;

pub use op_record::{
    Body, Document, Grant, NodePosition, OpRecord, Payload, RecordError, Stamp, StampedUpdate,
    VoidedSpans,
};
pub use wire::{OperationKind, Role};

/// The newest record version that this code reads, and the one that it writes.
pub const VERSION: u32 = 1;
