use std::io;
use std::sync::Arc;

use bytes::Bytes;
use document_types::{DocumentId, LogOffset, LogPartition};

use super::format::{GROUP_HEADER_BYTES, GroupEntry, entries};
use super::index::Stretch;
use crate::{LogEntry, ReadError, ReadLimit};

/// What is on the disk is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("segment {segment} of the log can't be read at byte {position}: a checksum is wrong")]
struct DamagedWhileOpen {
    segment: u64,
    position: u64,
}

/// Decodes `stretches`, which hold the entries of `partition` from `from` on, up to `limit`. Blocks.
pub(super) fn read_stretches(
    partition: LogPartition,
    from: LogOffset,
    limit: ReadLimit,
    stretches: &[Stretch],
) -> Result<Vec<LogEntry>, ReadError> {
    let mut gathered = Gathered {
        partition,
        next: from,
        limit,
        found: Vec::new(),
        bytes: 0,
    };
    for stretch in stretches {
        let is_full = gathered
            .stretch(stretch)
            .map_err(|error| ReadError::Unavailable(Arc::new(error)))?;
        if is_full {
            break;
        }
    }
    if gathered.found.is_empty() {
        // The index said that the entry is there.
        let error = io::Error::from(io::ErrorKind::InvalidData);
        return Err(ReadError::Unavailable(Arc::new(error)));
    }
    Ok(gathered.found)
}

struct Gathered {
    partition: LogPartition,
    next: LogOffset,
    limit: ReadLimit,
    found: Vec<LogEntry>,
    bytes: usize,
}

impl Gathered {
    /// Takes what it wants from `stretch`. True if the limit is reached.
    fn stretch(&mut self, stretch: &Stretch) -> io::Result<bool> {
        let bytes = usize::try_from(stretch.end - stretch.position).map_err(io::Error::other)?;
        let mut buffer = vec![0; bytes];
        stretch.file.read_at(stretch.position, &mut buffer)?;
        let mut position = 0;
        while position < buffer.len() {
            let damaged = || {
                let position = stretch.position + position as u64;
                let error = DamagedWhileOpen {
                    segment: stretch.segment,
                    position,
                };
                io::Error::new(io::ErrorKind::InvalidData, error)
            };
            let header = stretch.header(&buffer, position).ok_or_else(damaged)?;
            let body = buffer
                .get(position + GROUP_HEADER_BYTES..)
                .and_then(|rest| rest.get(..header.body_bytes))
                .filter(|body| header.fits(body))
                .ok_or_else(damaged)?;
            for entry in entries(body) {
                if self.entry(entry.map_err(|_| damaged())?)? {
                    return Ok(true);
                }
            }
            position += header.group_bytes();
        }
        Ok(false)
    }

    /// Takes `entry` if it is the next one. True if the limit is reached.
    fn entry(&mut self, entry: GroupEntry<'_>) -> io::Result<bool> {
        let GroupEntry::Record {
            partition,
            offset,
            document,
            record,
        } = entry
        else {
            return Ok(false);
        };
        if partition != self.partition || offset != self.next {
            return Ok(false);
        }
        if !self
            .limit
            .admits(self.found.len(), self.bytes, record.len())
        {
            return Ok(true);
        }
        let document = DocumentId::parse(document).map_err(io::Error::other)?;
        // Copied out, so that a small record does not keep the whole stretch in memory.
        let record = Bytes::copy_from_slice(record);
        self.bytes += record.len();
        self.found.push(LogEntry {
            offset,
            document,
            record,
        });
        self.next = offset.next();
        Ok(false)
    }
}
