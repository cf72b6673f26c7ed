use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DocumentId, RegionId};

/// One ordered stream of the operation log. A document's records are all in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPartition(pub u32);

impl fmt::Display for LogPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in a partition. The tail is the first unwritten offset.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogOffset(pub u64);

impl LogOffset {
    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for LogOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record was read: the region whose log first held it, and the partition there. A region
/// that merges mirrored topics has one source per origin region and partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogSource {
    /// The region whose log the record was appended to.
    pub region: RegionId,
    /// The partition within that log.
    pub partition: LogPartition,
}

impl fmt::Display for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.partition)
    }
}

/// The partition that holds all records of `document` in a log of `partition_count` partitions.
///
/// It is computed here and nowhere else, and passed explicitly to whatever log is below, so that
/// every node, adapter and region agrees: the first 8 bytes of the id's BLAKE3 digest, little-endian,
/// modulo the count. The count is fixed for a log's life.
///
/// # Panics
/// If `partition_count` is 0, since a log has at least one partition.
pub fn partition_of(document: &DocumentId, partition_count: u32) -> LogPartition {
    assert!(partition_count > 0, "a log has at least one partition");
    let hash = blake3::hash(document.as_str().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    #[allow(clippy::cast_possible_truncation)] // The remainder is below a u32.
    let partition = (u64::from_le_bytes(first) % u64::from(partition_count)) as u32;
    LogPartition(partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_of_a_document_never_changes() {
        // Stored logs depend on these values: a change here loses every document's order.
        let partition = |id: &str| partition_of(&DocumentId::parse(id).unwrap(), 16).0;
        assert_eq!(
            ["doc_0", "doc_1", "notes", "x"].map(partition),
            [1, 4, 7, 10]
        );
        assert!((0..1_000).all(|i| partition(&format!("doc_{i}")) < 16));
    }
}
