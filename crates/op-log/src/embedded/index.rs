use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use disk::DiskFile;
use document_types::limits::{EMBEDDED_LOG_INDEX_POINT_BYTES, EMBEDDED_LOG_RECENT_BYTES_MAX};
use document_types::{LogOffset, LogPartition};

use super::format::{GroupHeader, GroupPlace, PartitionRange};
use crate::edges::check_offset;
use crate::{LogEntry, ReadError, ReadLimit};

/// Stretches that one read visits on the disk at most; the next read goes on from there.
const STRETCHES_PER_READ_MAX: usize = 16;
/// What an entry in memory takes beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Where the durable entries are: the newest in memory, all of them on the disk.
///
/// Its memory is bounded. The newest entries have a budget of bytes over all partitions. Of the disk
/// it knows one point per partition and [`EMBEDDED_LOG_INDEX_POINT_BYTES`] of journal, in which that
/// partition has entries, and a reader decodes the groups from there; so a journal of 1 GiB and 16
/// busy partitions has 8 MiB of points at most, however small the entries are. Trimming drops
/// points, so what bounds the journal bounds them.
#[derive(Debug)]
pub(super) struct Index {
    journal_id: u64,
    partitions: Vec<PartitionIndex>,
    segments: BTreeMap<u64, Arc<dyn DiskFile>>,
    /// The partitions of all entries in memory, oldest first.
    recent_order: VecDeque<LogPartition>,
    recent_bytes: usize,
}

#[derive(Debug, Default)]
struct PartitionIndex {
    range: PartitionRange,
    points: VecDeque<Point>,
    recent: VecDeque<LogEntry>,
}

/// A stretch of one segment, from one group's beginning to another's end, that holds a partition's
/// entries from `first_offset` up to the next point's.
#[derive(Clone, Copy, Debug)]
struct Point {
    first_offset: LogOffset,
    segment: u64,
    position: u64,
    end: u64,
}

/// Where a group was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupSpan {
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) end: u64,
}

/// A stretch of a file for a reader to decode.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) segment: u64,
    pub(super) position: u64,
    pub(super) end: u64,
    pub(super) journal_id: u64,
}

impl Stretch {
    /// The header of the group that begins `at` so many bytes into the stretch, which `bytes` holds.
    pub(super) fn header(&self, bytes: &[u8], at: usize) -> Option<GroupHeader> {
        let place = GroupPlace {
            journal_id: self.journal_id,
            segment: self.segment,
            position: self.position + at as u64,
        };
        GroupHeader::decode(bytes.get(at..)?, place)
    }
}

/// How a read is to be answered.
#[derive(Debug)]
pub(super) enum ReadPlan {
    Recent(Vec<LogEntry>),
    Disk(Vec<Stretch>),
    WaitAtTail,
}

impl Index {
    pub(super) fn new(journal_id: u64, ranges: &[PartitionRange]) -> Self {
        let partitions = ranges
            .iter()
            .map(|range| PartitionIndex {
                range: *range,
                ..PartitionIndex::default()
            })
            .collect();
        Self {
            journal_id,
            partitions,
            segments: BTreeMap::new(),
            recent_order: VecDeque::new(),
            recent_bytes: 0,
        }
    }

    /// The readable part of `partition`, which the caller has checked to be one.
    pub(super) fn range(&self, partition: LogPartition) -> PartitionRange {
        self.partitions[partition.0 as usize].range
    }

    pub(super) fn add_segment(&mut self, number: u64, file: Arc<dyn DiskFile>) {
        self.segments.insert(number, file);
    }

    pub(super) fn remove_segment(&mut self, number: u64) {
        self.segments.remove(&number);
    }

    /// Takes in that `partition`'s next entry is in the group at `span`.
    pub(super) fn add_entry(&mut self, partition: LogPartition, span: GroupSpan) {
        let index = &mut self.partitions[partition.0 as usize];
        let first_offset = index.range.tail;
        index.range.tail = first_offset.next();
        match index.points.back_mut() {
            Some(point)
                if point.segment == span.segment
                    && span.position < point.position + EMBEDDED_LOG_INDEX_POINT_BYTES =>
            {
                point.end = span.end;
            }
            _ => index.points.push_back(Point {
                first_offset,
                segment: span.segment,
                position: span.position,
                end: span.end,
            }),
        }
    }

    /// Keeps `entry`, the last one added to `partition`, in memory for those who follow the tail.
    pub(super) fn keep_recent(&mut self, partition: LogPartition, entry: LogEntry) {
        self.recent_bytes += entry_bytes(&entry);
        self.recent_order.push_back(partition);
        self.partitions[partition.0 as usize]
            .recent
            .push_back(entry);
        while self.recent_bytes > EMBEDDED_LOG_RECENT_BYTES_MAX {
            let Some(oldest) = self.recent_order.pop_front() else {
                break;
            };
            if let Some(entry) = self.partitions[oldest.0 as usize].recent.pop_front() {
                self.recent_bytes -= entry_bytes(&entry);
            }
        }
    }

    /// Takes in that the entries of `partition` below `end` are given up.
    pub(super) fn trim(&mut self, partition: LogPartition, end: LogOffset) {
        let index = &mut self.partitions[partition.0 as usize];
        index.range.trim_point = index.range.trim_point.max(end);
        let trim_point = index.range.trim_point;
        while index
            .points
            .get(1)
            .is_some_and(|next| next.first_offset <= trim_point)
        {
            index.points.pop_front();
        }
        if trim_point == index.range.tail {
            index.points.clear();
        }
    }

    /// Finds the entries of `partition` from `from` on.
    pub(super) fn plan(
        &self,
        partition: LogPartition,
        from: LogOffset,
        limit: ReadLimit,
    ) -> Result<ReadPlan, ReadError> {
        let index = &self.partitions[partition.0 as usize];
        let PartitionRange { trim_point, tail } = index.range;
        check_offset(from, trim_point, tail)?;
        if from == tail {
            return Ok(ReadPlan::WaitAtTail);
        }
        if index
            .recent
            .front()
            .is_some_and(|oldest| oldest.offset <= from)
        {
            return Ok(ReadPlan::Recent(index.recent_from(from, limit)));
        }
        let after_from = index
            .points
            .partition_point(|point| point.first_offset <= from);
        let stretches = index
            .points
            .range(after_from.saturating_sub(1)..)
            .take(STRETCHES_PER_READ_MAX)
            .filter_map(|point| {
                let file = Arc::clone(self.segments.get(&point.segment)?);
                let Point {
                    segment,
                    position,
                    end,
                    ..
                } = *point;
                Some(Stretch {
                    file,
                    segment,
                    position,
                    end,
                    journal_id: self.journal_id,
                })
            })
            .collect();
        Ok(ReadPlan::Disk(stretches))
    }
}

impl PartitionIndex {
    fn recent_from(&self, from: LogOffset, limit: ReadLimit) -> Vec<LogEntry> {
        let start = self.recent.partition_point(|entry| entry.offset < from);
        limit.first_of(self.recent.range(start..))
    }
}

fn entry_bytes(entry: &LogEntry) -> usize {
    entry.record.len() + entry.document.as_str().len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use document_types::DocumentId;

    use super::*;

    const PARTITION: LogPartition = LogPartition(0);
    const GROUP_BYTES: u64 = 512;

    fn add(index: &mut Index, number: u64, record_bytes: usize) {
        let position = number * GROUP_BYTES;
        index.add_entry(
            PARTITION,
            GroupSpan {
                segment: 0,
                position,
                end: position + GROUP_BYTES,
            },
        );
        let document = DocumentId::parse("doc").unwrap();
        let record = Bytes::from(vec![0; record_bytes]);
        index.keep_recent(
            PARTITION,
            LogEntry {
                offset: LogOffset(number),
                document,
                record,
            },
        );
    }

    #[test]
    fn memory_grows_with_the_journal_and_not_with_the_entries() {
        let mut index = Index::new(1, &[PartitionRange::default()]);
        let count = 10_000;
        for number in 0..count {
            add(&mut index, number, 10);
        }
        let points_max = count * GROUP_BYTES / EMBEDDED_LOG_INDEX_POINT_BYTES + 1;
        assert!(index.partitions[0].points.len() as u64 <= points_max);
        index.trim(PARTITION, LogOffset(count - 1));
        assert_eq!(index.partitions[0].points.len(), 1);
        index.trim(PARTITION, LogOffset(count));
        assert_eq!(index.partitions[0].points.len(), 0);
    }

    #[test]
    fn the_newest_entries_have_a_budget_of_bytes() {
        let mut index = Index::new(1, &[PartitionRange::default()]);
        for number in 0..40 {
            add(&mut index, number, 1024 * 1024);
        }
        assert!(index.recent_bytes <= EMBEDDED_LOG_RECENT_BYTES_MAX);
        assert_eq!(index.partitions[0].recent.len(), 15);
        let plan = |from| {
            index
                .plan(PARTITION, LogOffset(from), ReadLimit::default())
                .unwrap()
        };
        assert!(matches!(plan(25), ReadPlan::Recent(entries) if entries.len() == 4));
        assert!(matches!(plan(24), ReadPlan::Disk(_)));
        assert!(matches!(plan(40), ReadPlan::WaitAtTail));
    }
}
