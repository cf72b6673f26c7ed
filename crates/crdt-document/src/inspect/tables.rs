//! A block's tables: the keys and containers that its operations name by index, and the columns that
//! the operations themselves stand in.

use document_types::limits::CONTAINER_DEPTH_MAX;
use document_types::{OpId, PeerId};

use super::InspectError;
use super::columns::{Deltas, Runs};
use super::header::COUNTER_MAX;
use super::operations::{COUNTER, Parent};
use super::reader::{Malformed, Reader};

/// Before the names of roots that stand for a key path of a map.
const MERGEABLE_PREFIX: &str = "🤝:";

/// A container that operations of the block take place in.
#[derive(Clone, Copy)]
pub(super) struct Container {
    pub(super) kind: u8,
    pub(super) parent: Parent,
    /// Whether an operation so far takes place in it.
    pub(super) used: bool,
}

pub(super) fn expect(reader: &mut Reader<'_>, count: u64) -> Result<(), Malformed> {
    if reader.unsigned()? == count {
        Ok(())
    } else {
        Err(Malformed("a table has other columns"))
    }
}

pub(super) fn read_keys(mut reader: Reader<'_>) -> Result<Vec<&str>, Malformed> {
    let mut keys = Vec::new();
    while !reader.is_empty() {
        keys.push(reader.text()?);
    }
    Ok(keys)
}

pub(super) fn read_containers(
    mut reader: Reader<'_>,
    peers: &[PeerId],
    keys: &[&str],
) -> Result<Vec<Container>, InspectError> {
    const ENTRY_BYTES_MIN: usize = 5;
    let count = reader.length()?;
    if count > reader.remaining() / ENTRY_BYTES_MIN {
        return Err(Malformed("it announces more containers than it has bytes for").into());
    }
    let mut containers = Vec::with_capacity(count);
    for _ in 0..count {
        expect(&mut reader, 4)?;
        let is_root = reader.byte()?;
        let kind = reader.byte()?;
        let peer = reader.length()?;
        let key_or_counter = u32::try_from(reader.zigzag()?)
            .ok()
            .filter(|number| *number < COUNTER_MAX)
            .ok_or(Malformed("a container's counter is out of range"))?;
        if kind > COUNTER {
            return Err(Malformed("a container is of an unknown kind").into());
        }
        let parent = match is_root {
            0 => {
                let peer = *peers
                    .get(peer)
                    .ok_or(Malformed("a peer is not in the table"))?;
                Parent::Container(OpId {
                    peer,
                    counter: key_or_counter,
                })
            }
            1 => {
                let name = keys
                    .get(key_or_counter as usize)
                    .ok_or(Malformed("a root's name is not in the block's table"))?;
                Parent::Root {
                    depth: root_depth(name)?,
                }
            }
            _ => return Err(Malformed("a truth value is neither").into()),
        };
        containers.push(Container {
            kind,
            parent,
            used: false,
        });
    }
    if reader.is_empty() {
        Ok(containers)
    } else {
        Err(Malformed("too many containers").into())
    }
}

/// How many levels below the document a root of this name is. One that stands for a key path is as
/// deep as the path is long.
fn root_depth(name: &str) -> Result<usize, InspectError> {
    let Some(path) = name.strip_prefix(MERGEABLE_PREFIX) else {
        return if name.is_empty() || name.contains(['/', '\0']) {
            Err(Malformed("a root's name is not one").into())
        } else {
            Ok(1)
        };
    };
    let depth = 2 + path.matches('/').count();
    if depth > CONTAINER_DEPTH_MAX {
        return Err(InspectError::TooDeep {
            depth_max: CONTAINER_DEPTH_MAX,
        });
    }
    Ok(depth)
}

/// Container, position or key, kind of value and length of each operation.
pub(super) struct Columns<'a> {
    containers: Deltas<'a>,
    positions: Deltas<'a>,
    kinds: Runs<'a, u8>,
    lens: Runs<'a, u32>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        expect(&mut reader, 1)?;
        expect(&mut reader, 4)?;
        let columns = Self {
            containers: Deltas::new(Reader::new(reader.sized()?)),
            positions: Deltas::new(Reader::new(reader.sized()?)),
            kinds: Runs::new(Reader::new(reader.sized()?), Reader::byte),
            lens: Runs::new(Reader::new(reader.sized()?), Reader::unsigned_32),
        };
        if reader.is_empty() {
            Ok(columns)
        } else {
            Err(Malformed("a table has other columns"))
        }
    }

    pub(super) fn next(&mut self) -> Result<(usize, u32, u8, u32), Malformed> {
        let container = usize::try_from(self.containers.required()?)
            .map_err(|_| Malformed("a container is not in the table"))?;
        let position = u32::try_from(self.positions.required()?)
            .ok()
            .filter(|position| *position < COUNTER_MAX)
            .ok_or(Malformed("a position is out of range"))?;
        Ok((
            container,
            position,
            self.kinds.required()?,
            self.lens.required()?,
        ))
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        self.containers.end()?;
        self.positions.end()?;
        self.kinds.end()?;
        self.lens.end()
    }
}

/// The first operation that each deletion deletes, and how many, backwards if negative.
pub(super) struct Deletions<'a>(Option<[Deltas<'a>; 3]>);

impl<'a> Deletions<'a> {
    pub(super) fn new(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        if reader.is_empty() {
            return Ok(Self(None));
        }
        expect(&mut reader, 1)?;
        expect(&mut reader, 3)?;
        let mut column = || reader.sized().map(|bytes| Deltas::new(Reader::new(bytes)));
        let columns = [column()?, column()?, column()?];
        if reader.is_empty() {
            Ok(Self(Some(columns)))
        } else {
            Err(Malformed("a table has other columns"))
        }
    }

    pub(super) fn next(&mut self, peers: &[PeerId]) -> Result<(OpId, i64), Malformed> {
        let [indices, counters, lens] = self
            .0
            .as_mut()
            .ok_or(Malformed("a deletion is not in the table"))?;
        let peer = usize::try_from(indices.required()?)
            .ok()
            .and_then(|index| peers.get(index))
            .ok_or(Malformed("a peer is not in the block's table"))?;
        let counter = u32::try_from(counters.required()?)
            .map_err(|_| Malformed("a deletion's counter is out of range"))?;
        Ok((
            OpId {
                peer: *peer,
                counter,
            },
            lens.required()?,
        ))
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        self.0.into_iter().flatten().try_for_each(Deltas::end)
    }
}
