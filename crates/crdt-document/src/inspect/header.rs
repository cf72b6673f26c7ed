//! A block's header: one peer's consecutive changes, without their operations.

use document_types::limits::{
    CHANGES_PER_UPDATE_MAX, DEPENDENCIES_PER_CHANGE_MAX, OPERATIONS_PER_UPDATE_MAX,
};
use document_types::{Counter, CounterSpan, OpId, PeerId};

use super::InspectError;
use super::columns::{Booleans, Runs, SecondDeltas};
use super::reader::{Malformed, Reader};

/// The engine counts operations in 31 bits.
pub(super) const COUNTER_MAX: u32 = i32::MAX.unsigned_abs();

/// The parts of a block, none of them decoded.
pub(super) struct Block<'a> {
    pub(super) counter_start: Counter,
    pub(super) counter_len: u32,
    pub(super) lamport_start: u32,
    pub(super) lamport_len: u32,
    pub(super) change_count: usize,
    pub(super) header: Reader<'a>,
    pub(super) change_meta: Reader<'a>,
    pub(super) containers: Reader<'a>,
    pub(super) keys: Reader<'a>,
    pub(super) positions: Reader<'a>,
    pub(super) operations: Reader<'a>,
    pub(super) deletions: Reader<'a>,
    pub(super) values: Reader<'a>,
}

impl<'a> Block<'a> {
    pub(super) fn split(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let part = |reader: &mut Reader<'a>| reader.sized().map(Reader::new);
        let block = Self {
            counter_start: reader.unsigned_32()?,
            counter_len: reader.unsigned_32()?,
            lamport_start: reader.unsigned_32()?,
            lamport_len: reader.unsigned_32()?,
            change_count: reader.length()?,
            header: part(&mut reader)?,
            change_meta: part(&mut reader)?,
            containers: part(&mut reader)?,
            keys: part(&mut reader)?,
            positions: part(&mut reader)?,
            operations: part(&mut reader)?,
            deletions: part(&mut reader)?,
            values: part(&mut reader)?,
        };
        if reader.is_empty() {
            Ok(block)
        } else {
            Err(Malformed("bytes follow a block's end"))
        }
    }
}

/// One change: operations that were committed together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) start: Counter,
    pub(super) len: u32,
    /// The lamport time of its first operation; each further one's is one more.
    pub(super) lamport: u32,
}

impl Change {
    pub(super) fn end(self) -> Counter {
        self.start + self.len
    }
}

/// What a block's header says.
pub(super) struct Header {
    /// All peers that the block names, its author first.
    pub(super) peers: Vec<PeerId>,
    pub(super) changes: Vec<Change>,
    /// Dependencies on other peers, each with the lamport time of the change that names it.
    pub(super) dependencies: Vec<(OpId, u32)>,
    /// The largest timestamp, in seconds.
    pub(super) timestamp_max: i64,
}

impl Header {
    pub(super) fn author(&self) -> PeerId {
        self.peers[0]
    }

    pub(super) fn span(&self) -> CounterSpan {
        let start = self.changes.first().map_or(0, |change| change.start);
        let end = self.changes.last().map_or(0, |change| change.end());
        CounterSpan {
            peer: self.author(),
            start,
            end,
        }
    }

    pub(super) fn read(block: &Block<'_>) -> Result<Self, InspectError> {
        if block.change_count == 0 || block.counter_len == 0 {
            return Err(Malformed("a block is empty").into());
        }
        super::within(
            "changes",
            block.change_count as u64,
            CHANGES_PER_UPDATE_MAX as u64,
        )?;
        let operations_max = u64::from(OPERATIONS_PER_UPDATE_MAX);
        super::within("operations", u64::from(block.counter_len), operations_max)?;
        if block
            .counter_start
            .checked_add(block.counter_len)
            .is_none_or(|end| end > COUNTER_MAX)
        {
            return Err(Malformed("a counter is over 31 bits").into());
        }
        let mut reader = block.header;
        let peers = read_peers(&mut reader)?;
        let mut changes = read_changes(&mut reader, block)?;
        let (reader, dependencies) = read_dependencies(reader, &peers, &changes)?;
        read_lamports(reader, block, &mut changes)?;
        let dependencies = dependencies
            .into_iter()
            .map(|(id, change)| (id, changes[change].lamport))
            .collect();
        let timestamp_max = read_meta(block)?;
        Ok(Self {
            peers,
            changes,
            dependencies,
            timestamp_max,
        })
    }
}

fn read_peers(reader: &mut Reader<'_>) -> Result<Vec<PeerId>, Malformed> {
    let count = reader.length()?;
    if count == 0 || count > reader.remaining() / 8 {
        return Err(Malformed("a block's table of peers is not there"));
    }
    (0..count)
        .map(|_| Ok(PeerId(u64::from_le_bytes(reader.array()?))))
        .collect::<Result<_, _>>()
        .and_then(|peers: Vec<PeerId>| match peers[0] {
            PeerId(u64::MAX) => Err(Malformed("the largest peer id is reserved")),
            _ => Ok(peers),
        })
}

/// All lengths but the last are written down; the last is what remains.
fn read_changes(reader: &mut Reader<'_>, block: &Block<'_>) -> Result<Vec<Change>, Malformed> {
    if block.change_count - 1 > reader.remaining() {
        return Err(Malformed("it announces more changes than it has bytes for"));
    }
    let mut changes = Vec::with_capacity(block.change_count);
    let mut start = block.counter_start;
    let end = block.counter_start + block.counter_len;
    for index in 0..block.change_count {
        let left = end - start;
        let last = index + 1 == block.change_count;
        let len = if last { left } else { reader.unsigned_32()? };
        if len == 0 || len > left {
            return Err(Malformed("the changes' lengths don't add up"));
        }
        changes.push(Change {
            start,
            len,
            lamport: 0,
        });
        start += len;
    }
    Ok(changes)
}

/// Dependencies on other peers, each with the index of its change.
type IndexedDependencies = Vec<(OpId, usize)>;

fn read_dependencies<'a>(
    reader: Reader<'a>,
    peers: &[PeerId],
    changes: &[Change],
) -> Result<(Reader<'a>, IndexedDependencies), InspectError> {
    let mut on_own = Booleans::new(reader);
    for change in changes {
        if on_own.required()? && change.start == 0 {
            return Err(Malformed("a peer's first change depends on its own").into());
        }
    }
    let mut counts = Runs::new(on_own.finish()?, Reader::length);
    let mut owners = Vec::new();
    for index in 0..changes.len() {
        let count = counts.required()?;
        let count_max = DEPENDENCIES_PER_CHANGE_MAX as u64;
        super::within("dependencies of a change", count as u64, count_max)?;
        owners.extend(std::iter::repeat_n(index, count));
        super::within_dependencies(owners.len())?;
    }
    let mut indices = Runs::new(counts.finish()?, Reader::length);
    let mut dependencies: IndexedDependencies = Vec::with_capacity(owners.len());
    for owner in owners {
        let index = indices.required()?;
        if index == 0 {
            return Err(Malformed("a change names its own peer among the others").into());
        }
        let peer = *peers
            .get(index)
            .ok_or(Malformed("a peer is not in the block's table"))?;
        let of_this_change = dependencies
            .iter()
            .rev()
            .take_while(|(_, other)| *other == owner);
        if of_this_change.clone().any(|(id, _)| id.peer == peer) {
            return Err(Malformed("a change depends on one peer twice").into());
        }
        dependencies.push((OpId { peer, counter: 0 }, owner));
    }
    let mut counters = SecondDeltas::new(indices.finish()?)?;
    for (id, _) in &mut dependencies {
        id.counter = u32::try_from(counters.required()?)
            .ok()
            .filter(|counter| *counter < COUNTER_MAX)
            .ok_or(Malformed("a dependency's counter is out of range"))?;
    }
    Ok((counters.finish()?, dependencies))
}

/// All lamport times but the last are written down; the last follows from the block's.
fn read_lamports(
    reader: Reader<'_>,
    block: &Block<'_>,
    changes: &mut [Change],
) -> Result<(), InspectError> {
    let mut lamports = SecondDeltas::new(reader)?;
    let end = block
        .lamport_start
        .checked_add(block.lamport_len)
        .filter(|end| *end <= COUNTER_MAX)
        .ok_or(Malformed("a lamport time is over 31 bits"))?;
    let mut earliest = block.lamport_start;
    let last = changes.len() - 1;
    for (index, change) in changes.iter_mut().enumerate() {
        change.lamport = if index == last {
            end.checked_sub(change.len)
                .ok_or(Malformed("the lamport times don't add up"))?
        } else {
            u32::try_from(lamports.required()?)
                .map_err(|_| Malformed("a lamport time is out of range"))?
        };
        let is_first = index == 0;
        if change.lamport < earliest || (is_first && change.lamport != earliest) {
            return Err(Malformed("the lamport times don't add up").into());
        }
        earliest = change
            .lamport
            .checked_add(change.len)
            .filter(|after| *after <= end)
            .ok_or(Malformed("the lamport times don't add up"))?;
    }
    if lamports.finish()?.is_empty() {
        Ok(())
    } else {
        Err(Malformed("bytes follow a header's end").into())
    }
}

/// Timestamps, then the lengths of the commit messages, then the messages. Returns the largest
/// timestamp.
fn read_meta(block: &Block<'_>) -> Result<i64, InspectError> {
    let mut timestamps = SecondDeltas::new(block.change_meta)?;
    let mut timestamp_max = 0;
    for _ in 0..block.change_count {
        let timestamp = timestamps.required()?;
        if timestamp < 0 {
            return Err(Malformed("a timestamp is below zero").into());
        }
        timestamp_max = timestamp_max.max(timestamp);
    }
    let mut lengths = Runs::new(timestamps.finish()?, Reader::unsigned_32);
    let mut message_bytes = Vec::new();
    for _ in 0..block.change_count {
        message_bytes.push(lengths.required()? as usize);
    }
    let mut messages = lengths.finish()?;
    for bytes in message_bytes {
        std::str::from_utf8(messages.take(bytes)?)
            .map_err(|_| Malformed("a commit message is not UTF-8"))?;
    }
    if messages.is_empty() {
        Ok(timestamp_max)
    } else {
        Err(Malformed("bytes follow the commit messages' end").into())
    }
}
