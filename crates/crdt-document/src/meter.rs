//! What a document weighs, for caches that are bounded by bytes.

use crate::{CrdtDocument, CrdtError};

/// An empty document.
const EMPTY_BYTES: u64 = 9_000;
/// History, state and the engine's indexes, for each byte of a snapshot. Measured: a document of
/// 18 KB as a snapshot took 69 KB when loaded and 156 KB once edited; one of 235 KB took 2.9 MB and
/// 7.9 MB after a large export. The ratio of the larger one after a read, rounded up.
const BYTES_PER_SNAPSHOT_BYTE: u64 = 20;
/// What one operation adds between two snapshots: an update of one operation has about 90 bytes.
const BYTES_PER_OPERATION: u64 = 100;

/// Roughly the memory that a document takes once it was loaded from a snapshot of `snapshot_bytes`
/// and has taken in `operation_count` more operations. Within a factor of three for texts of 10 KB
/// and more.
pub fn estimate_memory_bytes(snapshot_bytes: u64, operation_count: u64) -> u64 {
    EMPTY_BYTES + snapshot_bytes * BYTES_PER_SNAPSHOT_BYTE + operation_count * BYTES_PER_OPERATION
}

impl CrdtDocument {
    /// Roughly the memory that the document takes now, from its counts alone.
    ///
    /// # Errors
    /// [`CrdtError`] if the engine fails.
    pub fn memory_bytes(&self) -> Result<u64, CrdtError> {
        self.call(|doc| {
            EMPTY_BYTES
                + doc.len_ops() as u64 * BYTES_PER_OPERATION / 4
                + doc.len_changes() as u64 * BYTES_PER_OPERATION
        })
    }
}
