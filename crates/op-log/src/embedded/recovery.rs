//! What a log does when it opens a directory that holds a journal.
//!
//! One group at a time is written and synced, so a crash can leave one group torn, and only at the very
//! end. It held nothing that anyone was told of, and is dropped whole. Anything else that is not as it
//! was written is damage: then acknowledged records may be missing, and the log refuses to start.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use disk::{Disk, DiskFile};
use document_types::LogPartition;
use document_types::limits::EMBEDDED_LOG_PARTITIONS_MAX;

use super::format::{
    ALIGNMENT, GROUP_HEADER_BYTES, GroupEntry, GroupHeader, GroupPlace, PartitionRange,
    SegmentHeader, SegmentHeaderError, VERSION, entries,
};
use super::index::{GroupSpan, Index};
use super::journal::{JournalEnd, Segment, segment_name};
use super::open_error::{Damage, OpenError, io_error};

/// Bytes that the search for groups behind a torn one looks at in one go.
const SEARCH_BYTES: usize = 256 * 1024;

/// A journal that may be written to again.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) end: JournalEnd,
    pub(super) index: Index,
    /// The readable parts of all partitions.
    pub(super) partitions: Vec<PartitionRange>,
    /// Bytes behind the last whole group that were not zeros: a torn group.
    pub(super) dropped_bytes: u64,
}

/// Reads the `closed` segments and the `last` one, checks everything, and makes the end fit to be
/// written to.
pub(super) fn recover(
    disk: &dyn Disk,
    closed: &[u64],
    last: u64,
    partition_count: u32,
) -> Result<Recovered, OpenError> {
    let first = closed.first().copied().unwrap_or(last);
    let mut walk = Walk::begin(disk, first, partition_count)?;
    for number in closed {
        walk.segment(disk, *number)?;
    }
    let end = walk.segment(disk, last)?;
    walk.finish(end)
}

/// What the segments read so far add up to.
struct Walk {
    journal_id: u64,
    next_group: u64,
    partitions: Vec<PartitionRange>,
    index: Index,
    segments: VecDeque<Segment>,
    last_group: Option<GroupSpan>,
    /// Where the groups of the last segment end that can be read.
    position: u64,
}

/// Where a segment's groups end.
struct SegmentEnd {
    file: Arc<dyn DiskFile>,
    number: u64,
    position: u64,
    file_bytes: u64,
}

impl Walk {
    fn begin(disk: &dyn Disk, first: u64, partition_count: u32) -> Result<Self, OpenError> {
        let (_, header) = open_segment(disk, first)?;
        let stored = header.partitions.len();
        if stored != partition_count as usize {
            let stored = u32::try_from(stored).unwrap_or(u32::MAX);
            return Err(OpenError::PartitionCountChanged {
                stored,
                configured: partition_count,
            });
        }
        Ok(Self {
            journal_id: header.journal_id,
            next_group: header.first_group,
            index: Index::new(header.journal_id, &header.partitions),
            partitions: header.partitions,
            segments: VecDeque::new(),
            last_group: None,
            position: 0,
        })
    }

    /// Reads one segment up to its last whole group.
    fn segment(&mut self, disk: &dyn Disk, number: u64) -> Result<SegmentEnd, OpenError> {
        let (file, header) = open_segment(disk, number)?;
        self.check_continues(&header)?;
        self.index.add_segment(number, Arc::clone(&file));
        let tails = header
            .partitions
            .iter()
            .map(|partition| partition.tail)
            .collect();
        self.segments.push_back(Segment {
            number,
            file: Arc::clone(&file),
            tails,
        });

        let file_bytes = file
            .len()
            .map_err(io_error("read the length of a segment"))?;
        self.position = SegmentHeader::encoded_bytes(header.partitions.len()) as u64;
        while let Some((group, body)) = self.next_group_in(file.as_ref(), number, file_bytes)? {
            let end = self.position + group.group_bytes() as u64;
            self.group(
                &body,
                GroupSpan {
                    segment: number,
                    position: self.position,
                    end,
                },
            )?;
            self.position = end;
        }
        Ok(SegmentEnd {
            file,
            number,
            position: self.position,
            file_bytes,
        })
    }

    fn next_group_in(
        &self,
        file: &dyn DiskFile,
        segment: u64,
        file_bytes: u64,
    ) -> Result<Option<(GroupHeader, Vec<u8>)>, OpenError> {
        let place = GroupPlace {
            journal_id: self.journal_id,
            segment,
            position: self.position,
        };
        let group = read_group(file, file_bytes, place).map_err(io_error("read a group"))?;
        Ok(group.filter(|(group, _)| group.number == self.next_group))
    }

    /// Whether the segment that begins with `header` continues the ones before.
    fn check_continues(&self, header: &SegmentHeader) -> Result<(), OpenError> {
        let damaged = |number, position, finding| {
            let file = segment_name(number);
            Err(OpenError::Damaged(Damage {
                file,
                position,
                finding,
            }))
        };
        let Some(previous) = self.segments.back() else {
            return Ok(());
        };
        if header.number != previous.number + 1 {
            return damaged(previous.number + 1, 0, "it is missing, and segments follow");
        }
        if header.first_group > self.next_group {
            return damaged(
                previous.number,
                self.position,
                "a group can't be read there, and later ones are in the next segment",
            );
        }
        let tails_agree = header.partitions.len() == self.partitions.len()
            && header
                .partitions
                .iter()
                .zip(&self.partitions)
                .all(|(a, b)| a.tail == b.tail);
        if header.journal_id != self.journal_id
            || header.first_group != self.next_group
            || !tails_agree
        {
            return damaged(
                header.number,
                0,
                "it does not continue the segment before it",
            );
        }
        Ok(())
    }

    fn group(&mut self, body: &[u8], span: GroupSpan) -> Result<(), OpenError> {
        let damaged = |finding| {
            let file = segment_name(span.segment);
            OpenError::Damaged(Damage {
                file,
                position: span.position,
                finding,
            })
        };
        for entry in entries(body) {
            let entry = entry.map_err(|_| damaged("a group has entries that can't be read"))?;
            let (GroupEntry::Record { partition, .. } | GroupEntry::Trim { partition, .. }) = entry;
            let Some(range) = self.partitions.get_mut(partition.0 as usize) else {
                return Err(damaged("an entry is in a partition that does not exist"));
            };
            match entry {
                GroupEntry::Record { offset, .. } if offset == range.tail => {
                    range.tail = offset.next();
                    self.index.add_entry(partition, span);
                }
                GroupEntry::Trim { end, .. } if end <= range.tail => {
                    range.trim_point = range.trim_point.max(end);
                }
                _ => return Err(damaged("an entry has not the offset that comes next")),
            }
        }
        self.next_group += 1;
        self.last_group = Some(span);
        Ok(())
    }

    /// Drops what a crash left behind the last whole group, and makes that one durable.
    fn finish(mut self, end: SegmentEnd) -> Result<Recovered, OpenError> {
        self.check_nothing_is_missing_before()?;
        let place = GroupPlace {
            journal_id: self.journal_id,
            segment: end.number,
            position: end.position,
        };
        let found = search_behind(end.file.as_ref(), end.file_bytes, place, self.next_group)
            .map_err(io_error("search the end of the log"))?;
        if found.has_group {
            return Err(OpenError::Damaged(Damage {
                file: segment_name(end.number),
                position: end.position,
                finding: "whole groups follow what can't be read there",
            }));
        }
        end.file
            .set_len(end.position)
            .map_err(io_error("cut off a torn group"))?;
        // Nobody knows whether the last group was ever synced: the process may have ended before,
        // or after a sync that failed and left pages that only look written. Its entries will be
        // read from here on, so they are written once more, and synced.
        if let Some(span) = self.last_group
            && span.segment == end.number
        {
            rewrite(end.file.as_ref(), span).map_err(io_error("rewrite the last group"))?;
        }
        end.file
            .sync_data()
            .map_err(io_error("sync the last segment"))?;

        for (partition, range) in (0..).map(LogPartition).zip(&self.partitions) {
            self.index.trim(partition, range.trim_point);
        }
        Ok(Recovered {
            end: JournalEnd {
                journal_id: self.journal_id,
                segments: self.segments,
                position: end.position,
                next_group: self.next_group,
            },
            index: self.index,
            partitions: self.partitions,
            dropped_bytes: found.torn_bytes,
        })
    }

    /// Whether everything that no segment holds any more was trimmed.
    fn check_nothing_is_missing_before(&self) -> Result<(), OpenError> {
        let Some(first) = self.segments.front() else {
            return Ok(());
        };
        let mut ranges = self.partitions.iter().zip(&first.tails);
        if ranges.all(|(range, first_tail)| range.trim_point >= *first_tail) {
            return Ok(());
        }
        Err(OpenError::Damaged(Damage {
            file: segment_name(first.number),
            position: 0,
            finding: "segments before it are missing, and their entries were not trimmed",
        }))
    }
}

fn open_segment(
    disk: &dyn Disk,
    number: u64,
) -> Result<(Arc<dyn DiskFile>, SegmentHeader), OpenError> {
    let name = segment_name(number);
    let file = disk.open(&name).map_err(io_error("open a segment"))?;
    let file_bytes = file
        .len()
        .map_err(io_error("read the length of a segment"))?;
    let header_bytes_max = SegmentHeader::encoded_bytes(EMBEDDED_LOG_PARTITIONS_MAX as usize);
    let header_bytes = usize::try_from(file_bytes).map_or(header_bytes_max, |file_bytes| {
        file_bytes.min(header_bytes_max)
    });
    let mut bytes = vec![0; header_bytes];
    file.read_at(0, &mut bytes)
        .map_err(io_error("read a segment's header"))?;
    let damaged = |finding| Damage {
        file: name.clone(),
        position: 0,
        finding,
    };
    match SegmentHeader::decode(&bytes) {
        Ok(header) if header.number == number => Ok((file, header)),
        Ok(_) => Err(OpenError::Damaged(damaged(
            "it is another segment under this name",
        ))),
        Err(SegmentHeaderError::UnsupportedVersion(version)) => {
            Err(OpenError::UnsupportedVersion {
                file: name,
                version,
                supported: VERSION,
            })
        }
        Err(SegmentHeaderError::NotASegment) => Err(OpenError::Damaged(damaged(
            "it does not begin like a segment of the log",
        ))),
        Err(SegmentHeaderError::Damaged) => Err(OpenError::Damaged(damaged(
            "its header has a wrong checksum",
        ))),
    }
}

/// The whole group at `place`, if there is one.
fn read_group(
    file: &dyn DiskFile,
    file_bytes: u64,
    place: GroupPlace,
) -> io::Result<Option<(GroupHeader, Vec<u8>)>> {
    let body_position = place.position + GROUP_HEADER_BYTES as u64;
    if body_position > file_bytes {
        return Ok(None);
    }
    let mut header = [0; GROUP_HEADER_BYTES];
    file.read_at(place.position, &mut header)?;
    let Some(header) = GroupHeader::decode(&header, place) else {
        return Ok(None);
    };
    if body_position + header.body_bytes as u64 > file_bytes {
        return Ok(None);
    }
    let mut body = vec![0; header.body_bytes];
    file.read_at(body_position, &mut body)?;
    Ok(header.fits(&body).then_some((header, body)))
}

#[derive(Debug, Default)]
struct FoundBehind {
    /// Whether a group that was written later is whole.
    has_group: bool,
    /// Bytes up to the last one that is not zero.
    torn_bytes: u64,
}

/// Looks behind the end of the last whole group, where `from` is.
fn search_behind(
    file: &dyn DiskFile,
    file_bytes: u64,
    from: GroupPlace,
    next_group: u64,
) -> io::Result<FoundBehind> {
    let mut found = FoundBehind::default();
    let mut window = vec![0; SEARCH_BYTES];
    let mut position = from.position;
    while position < file_bytes {
        let left = usize::try_from(file_bytes - position).unwrap_or(usize::MAX);
        let window = &mut window[..left.min(SEARCH_BYTES)];
        file.read_at(position, window)?;
        for sector in window.chunks(ALIGNMENT) {
            if sector.iter().any(|byte| *byte != 0) {
                let place = GroupPlace { position, ..from };
                let group = read_group(file, file_bytes, place)?;
                found.has_group |= group.is_some_and(|(group, _)| group.number >= next_group);
                found.torn_bytes = position + sector.len() as u64 - from.position;
            }
            position += sector.len() as u64;
        }
    }
    Ok(found)
}

fn rewrite(file: &dyn DiskFile, span: GroupSpan) -> io::Result<()> {
    let bytes = usize::try_from(span.end - span.position).map_err(io::Error::other)?;
    let mut group = vec![0; bytes];
    file.read_at(span.position, &mut group)?;
    file.write_at(span.position, &group)
}
