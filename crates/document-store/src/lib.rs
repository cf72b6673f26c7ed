//! The document's keyspace and transactions, written once over an ordered key-value port.
//!
//! [`OrderedKv`] is the port, with FoundationDB's semantics; [`EmbeddedKv`] and [`SimulatedKv`] are
//! adapters, with the feature `foundationdb` `FoundationDbKv` is another, and [`conformance`] is what
//! each of them has to pass. [`keyspace`] says what is stored under which key and [`values`] what
//! stands there; [`DocumentStore`] is all that is done with it.

// Only FoundationDB's client needs one unsafe call, to start its thread.
#![cfg_attr(not(feature = "foundationdb"), forbid(unsafe_code))]

pub mod conformance;
mod documents;
mod embedded;
#[cfg(feature = "foundationdb")]
mod foundationdb;
pub mod keyspace;
mod optimistic;
pub mod ordered_kv;
mod simulated;
mod transact;
pub mod values;

pub use documents::{
    Admitted, AppendError, AppendOutcome, CatchUpContent, CatchUpCursor, CatchUpLimits,
    CatchUpStep, CorruptValue, DocumentStore, FoldInput, FoldOutcome, FoldedSnapshot, HistoryBytes,
    LoadedDocument, NodeCeiling, NodeLife, RaiseError, RecordOutcome, SnapshotPiece, StatePosition,
    StoreError, WaitingUpdate,
};
pub use embedded::EmbeddedKv;
#[cfg(feature = "foundationdb")]
pub use foundationdb::{
    FoundationDbError, FoundationDbKv, FoundationDbNetwork, FoundationDbOpenError,
    FoundationDbOptions,
};
pub use keyspace::{PendingId, SnapshotId, UpdateSequence};
pub use ordered_kv::{KvError, OrderedKv};
pub use simulated::{FaultCounts, Faults, SimulatedKv, SimulatedStore};
pub use transact::{TransactError, transact};
pub use values::Head;
