use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use document_types::{LogPartition, LogSource, RegionId};

use crate::OpLog;

/// The logs that a region reads: its own, which it also writes, and the copies that it has of other
/// regions' logs.
///
/// A copy is a log like any other, with offsets of its own: something else fills it, with each record
/// of the other region's log once or several times, in their order within a partition. All of them have
/// equally many partitions, so that a document is in the same one everywhere.
#[derive(Clone)]
pub struct RegionalLogs {
    region: RegionId,
    own: Arc<dyn OpLog>,
    copies: BTreeMap<RegionId, Arc<dyn OpLog>>,
}

/// Why logs can't be read together.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A document would be in different partitions.
    #[error(
        "the copy of region {region}'s log has {found} partitions, and this region's log has \
         {expected}: the count has to be the same in all regions"
    )]
    PartitionCount {
        /// Whose log was copied.
        region: RegionId,
        /// Partitions of the copy.
        found: u32,
        /// Partitions of this region's log.
        expected: u32,
    },
    /// A region has its own log, or one copy of another's.
    #[error("region {region} has more than one log here")]
    Twice {
        /// Which region.
        region: RegionId,
    },
}

impl RegionalLogs {
    /// The log of a region that knows of no other.
    pub fn alone(region: RegionId, own: Arc<dyn OpLog>) -> Self {
        Self {
            region,
            own,
            copies: BTreeMap::new(),
        }
    }

    /// The same with a copy of another region's log.
    ///
    /// # Errors
    /// [`CopyError`] if the two can't be read together.
    pub fn with_copy(mut self, region: RegionId, copy: Arc<dyn OpLog>) -> Result<Self, CopyError> {
        let (found, expected) = (copy.partition_count(), self.partition_count());
        if found != expected {
            return Err(CopyError::PartitionCount {
                region,
                found,
                expected,
            });
        }
        if region == self.region || self.copies.contains_key(&region) {
            return Err(CopyError::Twice { region });
        }
        self.copies.insert(region, copy);
        Ok(self)
    }

    /// The region that reads them.
    pub fn region(&self) -> &RegionId {
        &self.region
    }

    /// The region's own log.
    pub fn own(&self) -> &Arc<dyn OpLog> {
        &self.own
    }

    /// How many partitions each of them has.
    pub fn partition_count(&self) -> u32 {
        self.own.partition_count()
    }

    /// All of them by the region that wrote them, the own one first.
    pub fn iter(&self) -> impl Iterator<Item = (&RegionId, &Arc<dyn OpLog>)> {
        std::iter::once((&self.region, &self.own)).chain(&self.copies)
    }

    /// Where the records of a partition's documents come from, the own log first.
    pub fn sources(
        &self,
        partition: LogPartition,
    ) -> impl Iterator<Item = (LogSource, &Arc<dyn OpLog>)> {
        self.iter().map(move |(region, log)| {
            let region = region.clone();
            (LogSource { region, partition }, log)
        })
    }
}

impl fmt::Debug for RegionalLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(region, log)| (region, log.id())))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaultChances, SimulatedLog};
    use clock::Random;

    fn log(partition_count: u32) -> Arc<dyn OpLog> {
        let random = Random::from_seed(1);
        Arc::new(SimulatedLog::new(partition_count, &random, FaultChances::NONE).connect())
    }

    fn region(name: &str) -> RegionId {
        RegionId::parse(name).unwrap()
    }

    #[test]
    fn the_own_log_comes_first_whatever_the_names() {
        let logs = RegionalLogs::alone(region("us"), log(2));
        let logs = logs.with_copy(region("eu"), log(2)).unwrap();
        let partition = LogPartition(1);
        let sources = logs
            .sources(partition)
            .map(|(source, _)| source.to_string());
        assert_eq!(sources.collect::<Vec<_>>(), ["us/1", "eu/1"]);
    }

    #[test]
    fn logs_that_do_not_fit_together_are_refused() {
        let logs = RegionalLogs::alone(region("us"), log(2));
        let other_count = logs.clone().with_copy(region("eu"), log(3));
        assert!(matches!(
            other_count,
            Err(CopyError::PartitionCount { found: 3, .. })
        ));
        assert!(matches!(
            logs.with_copy(region("us"), log(2)),
            Err(CopyError::Twice { .. })
        ));
    }
}
