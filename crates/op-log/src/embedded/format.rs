//! The journal's bytes, version 1. Numbers are little-endian, checksums are CRC-32C.
//!
//! A segment is a header and then groups, each beginning at a multiple of 512 bytes, which is what a
//! disk writes whole: so a torn write never touches bytes of an earlier group, and a group's header
//! is there entirely or not at all. After the last group there are zeros or the file's end.
//!
//! ```text
//! segment header            group                        entry
//!   8  magic CELOGSEG         4  magic CEGR                1  kind: 0 record, 1 trim
//!   4  format version         4  body bytes                4  partition
//!   4  partition count        8  group number              8  offset, or end of the trim
//!   8  journal id             4  entry count             and for a record
//!   8  segment number         4  checksum of the body      1  document id bytes
//!   8  first group number     4  checksum of the above     n  document id
//!  16  a partition:              and the group's place     4  record bytes
//!      tail, trim point       n  body: the entries         n  record
//!   4  checksum of the above  …  zeros up to 512
//!   …  zeros up to 512
//! ```
//!
//! A group's place (journal id, segment number, position) goes into its checksum, so that bytes that
//! look like a group count only where the log put one. The journal id is random and shown to nobody:
//! a record can't hold a copy of a group that would be found when a torn write is examined.

use bytes::Buf;
use document_types::limits::{EMBEDDED_LOG_GROUP_BYTES_MAX, EMBEDDED_LOG_PARTITIONS_MAX};
use document_types::{DocumentId, LogOffset, LogPartition};

pub(super) const VERSION: u32 = 1;
/// Where groups may begin: at multiples of this.
pub(super) const ALIGNMENT: usize = 512;
pub(super) const GROUP_HEADER_BYTES: usize = 28;

const SEGMENT_MAGIC: &[u8; 8] = b"CELOGSEG";
const SEGMENT_FIXED_BYTES: usize = 40;
const GROUP_MAGIC: &[u8; 4] = b"CEGR";
const KIND_RECORD: u8 = 0;
const KIND_TRIM: u8 = 1;

/// What a segment says of itself and of the log when the segment was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) journal_id: u64,
    pub(super) number: u64,
    pub(super) first_group: u64,
    /// One for each partition.
    pub(super) partitions: Vec<PartitionRange>,
}

/// The readable part of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionRange {
    pub(super) trim_point: LogOffset,
    pub(super) tail: LogOffset,
}

/// Why bytes are not a segment header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SegmentHeaderError {
    NotASegment,
    UnsupportedVersion(u32),
    Damaged,
}

impl SegmentHeader {
    /// The bytes that a header for so many partitions takes, and so where the first group is.
    pub(super) fn encoded_bytes(partition_count: usize) -> usize {
        (SEGMENT_FIXED_BYTES + 16 * partition_count + 4).next_multiple_of(ALIGNMENT)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let encoded_bytes = Self::encoded_bytes(self.partitions.len());
        let partition_count = u32::try_from(self.partitions.len())
            .expect("a log has at most EMBEDDED_LOG_PARTITIONS_MAX partitions");
        let mut bytes = Vec::with_capacity(encoded_bytes);
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&partition_count.to_le_bytes());
        bytes.extend_from_slice(&self.journal_id.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.first_group.to_le_bytes());
        for partition in &self.partitions {
            bytes.extend_from_slice(&partition.tail.0.to_le_bytes());
            bytes.extend_from_slice(&partition.trim_point.0.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.resize(encoded_bytes, 0);
        bytes
    }

    /// Reads a header from a segment's first bytes, which may be more than the header.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        if !bytes.starts_with(SEGMENT_MAGIC) {
            return Err(SegmentHeaderError::NotASegment);
        }
        Self::decode_fields(bytes).unwrap_or(Err(SegmentHeaderError::Damaged))
    }

    /// `Err` outside if the bytes end too early.
    fn decode_fields(bytes: &[u8]) -> Result<Result<Self, SegmentHeaderError>, bytes::TryGetError> {
        let mut fields = &bytes[SEGMENT_MAGIC.len()..];
        let version = fields.try_get_u32_le()?;
        if version != VERSION {
            return Ok(Err(SegmentHeaderError::UnsupportedVersion(version)));
        }
        let partition_count = fields.try_get_u32_le()?;
        if partition_count > EMBEDDED_LOG_PARTITIONS_MAX {
            return Ok(Err(SegmentHeaderError::Damaged));
        }
        let mut header = Self {
            journal_id: fields.try_get_u64_le()?,
            number: fields.try_get_u64_le()?,
            first_group: fields.try_get_u64_le()?,
            partitions: Vec::with_capacity(partition_count as usize),
        };
        for _ in 0..partition_count {
            let tail = LogOffset(fields.try_get_u64_le()?);
            let trim_point = LogOffset(fields.try_get_u64_le()?);
            header.partitions.push(PartitionRange { trim_point, tail });
        }
        let checked_bytes = bytes.len() - fields.len();
        let checksum = fields.try_get_u32_le()?;
        if checksum != crc32c::crc32c(&bytes[..checked_bytes]) {
            return Ok(Err(SegmentHeaderError::Damaged));
        }
        Ok(Ok(header))
    }
}

/// Where a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupPlace {
    pub(super) journal_id: u64,
    pub(super) segment: u64,
    pub(super) position: u64,
}

impl GroupPlace {
    fn header_checksum(self, header: &[u8]) -> u32 {
        let mut place = [0; 24];
        place[..8].copy_from_slice(&self.journal_id.to_le_bytes());
        place[8..16].copy_from_slice(&self.segment.to_le_bytes());
        place[16..].copy_from_slice(&self.position.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&place), header)
    }
}

/// A group's header, as far as readers need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) number: u64,
    pub(super) body_bytes: usize,
    body_checksum: u32,
}

impl GroupHeader {
    /// The header at `place`, if there is one.
    pub(super) fn decode(bytes: &[u8], place: GroupPlace) -> Option<Self> {
        let bytes = bytes.get(..GROUP_HEADER_BYTES)?;
        let mut fields = bytes.strip_prefix(GROUP_MAGIC)?;
        let body_bytes = fields.try_get_u32_le().ok()? as usize;
        let number = fields.try_get_u64_le().ok()?;
        let _entry_count = fields.try_get_u32_le().ok()?;
        let body_checksum = fields.try_get_u32_le().ok()?;
        let header_checksum = fields.try_get_u32_le().ok()?;
        let checked = &bytes[..GROUP_HEADER_BYTES - 4];
        (header_checksum == place.header_checksum(checked)
            && body_bytes <= EMBEDDED_LOG_GROUP_BYTES_MAX)
            .then_some(Self {
                number,
                body_bytes,
                body_checksum,
            })
    }

    /// Whether `body` is this group's.
    pub(super) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes && crc32c::crc32c(body) == self.body_checksum
    }

    /// Bytes from this group's beginning to where the next may begin.
    pub(super) fn group_bytes(&self) -> usize {
        (GROUP_HEADER_BYTES + self.body_bytes).next_multiple_of(ALIGNMENT)
    }
}

/// Builds one group. It keeps its memory from group to group.
#[derive(Debug, Default)]
pub(super) struct GroupBuilder {
    bytes: Vec<u8>,
    entry_count: u32,
}

impl GroupBuilder {
    /// Bytes that a record's entry takes in the body.
    pub(super) fn record_entry_bytes(document: &DocumentId, record: &[u8]) -> usize {
        1 + 4 + 8 + 1 + document.as_str().len() + 4 + record.len()
    }

    /// Begins a new group.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(GROUP_HEADER_BYTES, 0);
        self.entry_count = 0;
    }

    pub(super) fn record(
        &mut self,
        partition: LogPartition,
        offset: LogOffset,
        document: &DocumentId,
        record: &[u8],
    ) {
        self.entry(KIND_RECORD, partition, offset);
        let document_bytes = u8::try_from(document.as_str().len())
            .expect("a document id has at most DOCUMENT_ID_BYTES_MAX bytes");
        self.bytes.push(document_bytes);
        self.bytes.extend_from_slice(document.as_str().as_bytes());
        let record_bytes =
            u32::try_from(record.len()).expect("a record has at most LOG_RECORD_BYTES_MAX bytes");
        self.bytes.extend_from_slice(&record_bytes.to_le_bytes());
        self.bytes.extend_from_slice(record);
    }

    pub(super) fn trim(&mut self, partition: LogPartition, end: LogOffset) {
        self.entry(KIND_TRIM, partition, end);
    }

    fn entry(&mut self, kind: u8, partition: LogPartition, offset: LogOffset) {
        self.entry_count += 1;
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&partition.0.to_le_bytes());
        self.bytes.extend_from_slice(&offset.0.to_le_bytes());
    }

    /// Bytes that the finished group takes.
    pub(super) fn group_bytes(&self) -> usize {
        self.bytes.len().next_multiple_of(ALIGNMENT)
    }

    /// The group's bytes for `place`, zeros up to the next group's beginning included.
    pub(super) fn finish(&mut self, number: u64, place: GroupPlace) -> &[u8] {
        let (header, body) = self.bytes.split_at_mut(GROUP_HEADER_BYTES);
        let body_bytes =
            u32::try_from(body.len()).expect("a group has at most EMBEDDED_LOG_GROUP_BYTES_MAX");
        header[..4].copy_from_slice(GROUP_MAGIC);
        header[4..8].copy_from_slice(&body_bytes.to_le_bytes());
        header[8..16].copy_from_slice(&number.to_le_bytes());
        header[16..20].copy_from_slice(&self.entry_count.to_le_bytes());
        header[20..24].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
        let checksum = place.header_checksum(&header[..24]);
        header[24..].copy_from_slice(&checksum.to_le_bytes());
        self.bytes.resize(self.group_bytes(), 0);
        &self.bytes
    }
}

/// One entry as it stands in a group's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GroupEntry<'a> {
    Record {
        partition: LogPartition,
        offset: LogOffset,
        document: &'a str,
        record: &'a [u8],
    },
    Trim {
        partition: LogPartition,
        end: LogOffset,
    },
}

/// A body whose checksum is right and whose entries are not: written by something else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MalformedBody;

/// The entries of a body, in order.
pub(super) fn entries(
    mut body: &[u8],
) -> impl Iterator<Item = Result<GroupEntry<'_>, MalformedBody>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let entry = take_entry(&mut body).ok_or(MalformedBody);
        if entry.is_err() {
            body = &[];
        }
        Some(entry)
    })
}

fn take_entry<'a>(body: &mut &'a [u8]) -> Option<GroupEntry<'a>> {
    let kind = body.try_get_u8().ok()?;
    let partition = LogPartition(body.try_get_u32_le().ok()?);
    let offset = LogOffset(body.try_get_u64_le().ok()?);
    match kind {
        KIND_RECORD => {
            let document_bytes = usize::from(body.try_get_u8().ok()?);
            let document = std::str::from_utf8(body.split_off(..document_bytes)?).ok()?;
            let record_bytes = body.try_get_u32_le().ok()? as usize;
            let record = body.split_off(..record_bytes)?;
            Some(GroupEntry::Record {
                partition,
                offset,
                document,
                record,
            })
        }
        KIND_TRIM => Some(GroupEntry::Trim {
            partition,
            end: offset,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: GroupPlace = GroupPlace {
        journal_id: 77,
        segment: 3,
        position: 1_024,
    };

    fn header(partition_count: u64) -> SegmentHeader {
        let partitions = (0..partition_count)
            .map(|n| PartitionRange {
                trim_point: LogOffset(n),
                tail: LogOffset(2 * n),
            })
            .collect();
        SegmentHeader {
            journal_id: 7,
            number: 2,
            first_group: 99,
            partitions,
        }
    }

    #[test]
    fn the_bytes_of_version_1_do_not_change() {
        // Journals on disks hold these: a new layout needs a new version.
        let bytes = header(1).encode();
        assert_eq!(bytes.len(), 512);
        assert_eq!(
            bytes[..60],
            [
                &b"CELOGSEG\x01\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0"[..],
                &b"\x63\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
                &SEGMENT_HEADER_CHECKSUM.to_le_bytes()[..],
            ]
            .concat()
        );
        let mut builder = GroupBuilder::default();
        builder.clear();
        builder.record(
            LogPartition(1),
            LogOffset(2),
            &DocumentId::parse("d").unwrap(),
            b"rec",
        );
        builder.trim(LogPartition(1), LogOffset(2));
        let bytes = builder.finish(5, PLACE);
        assert_eq!(bytes.len(), 512);
        assert_eq!(bytes[..16], *b"CEGR\x23\0\0\0\x05\0\0\0\0\0\0\0");
        assert_eq!(
            bytes[28..63],
            *b"\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x01d\x03\0\0\0rec\x01\x01\0\0\0\x02\0\0\0\0\0\0\0"
        );
        assert_eq!(bytes[24..28], GROUP_HEADER_CHECKSUM.to_le_bytes());
    }

    // Computed apart from this code, from the definition of CRC-32C.
    const SEGMENT_HEADER_CHECKSUM: u32 = 0x2a06_4b33;
    const GROUP_HEADER_CHECKSUM: u32 = 0xc01c_3ec7;

    #[test]
    fn a_segment_header_with_any_byte_changed_is_refused() {
        let good = header(100);
        let bytes = good.encode();
        assert_eq!(SegmentHeader::decode(&bytes).as_ref(), Ok(&good));
        for at in 0..SEGMENT_FIXED_BYTES + 16 * 100 + 4 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(SegmentHeader::decode(&changed).is_err(), "byte {at}");
        }
        for end in 0..SEGMENT_FIXED_BYTES + 16 * 100 + 4 {
            assert!(
                SegmentHeader::decode(&bytes[..end]).is_err(),
                "cut at byte {end}"
            );
        }
    }

    #[test]
    fn a_group_is_valid_only_in_its_place() {
        let mut builder = GroupBuilder::default();
        builder.clear();
        builder.trim(LogPartition(0), LogOffset(1));
        let bytes = builder.finish(5, PLACE).to_vec();
        assert!(GroupHeader::decode(&bytes, PLACE).is_some());
        for elsewhere in [
            GroupPlace {
                journal_id: 78,
                ..PLACE
            },
            GroupPlace {
                segment: 4,
                ..PLACE
            },
            GroupPlace {
                position: 1_536,
                ..PLACE
            },
        ] {
            assert_eq!(GroupHeader::decode(&bytes, elsewhere), None);
        }
    }

    proptest! {
        #[test]
        fn what_goes_into_a_group_comes_out_of_it(
            records in prop::collection::vec(
                (0..16_u32, any::<u64>(), "[a-z]{1,128}", prop::collection::vec(any::<u8>(), 0..600)),
                0..20,
            ),
        ) {
            let mut builder = GroupBuilder::default();
            builder.clear();
            for (partition, offset, document, record) in &records {
                let document = DocumentId::parse(document).unwrap();
                builder.record(LogPartition(*partition), LogOffset(*offset), &document, record);
                builder.trim(LogPartition(*partition), LogOffset(*offset));
            }
            let bytes = builder.finish(1, PLACE);
            let header = GroupHeader::decode(bytes, PLACE).unwrap();
            prop_assert_eq!(header.group_bytes(), bytes.len());
            let body = &bytes[GROUP_HEADER_BYTES..][..header.body_bytes];
            prop_assert!(header.fits(body));
            let mut found = entries(body).map(Result::unwrap);
            for (partition, offset, document, record) in &records {
                let (partition, offset) = (LogPartition(*partition), LogOffset(*offset));
                prop_assert_eq!(
                    found.next(),
                    Some(GroupEntry::Record { partition, offset, document, record })
                );
                prop_assert_eq!(found.next(), Some(GroupEntry::Trim { partition, end: offset }));
            }
            prop_assert_eq!(found.next(), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = SegmentHeader::decode(&bytes);
            let _ = GroupHeader::decode(&bytes, PLACE);
            prop_assert!(entries(&bytes).count() <= bytes.len());
        }
    }
}
