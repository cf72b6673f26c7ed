//! The values that operations carry: nothing is kept of them but what they weigh and create.

use document_types::limits::CONTAINER_DEPTH_MAX;

use super::InspectError;
use super::reader::{Malformed, Reader};

/// What stands where a container may be created: a value of a map, an element of a list.
pub(super) enum Slot {
    Plain,
    Container(u8),
}

const NULL: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const INTEGER: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const BINARY: u8 = 6;
const LIST: u8 = 7;
const MAP: u8 = 8;
const CONTAINER: u8 = 9;

/// Reads values whose map keys are indices into a table of `key_count` keys.
pub(super) struct Values<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) key_count: usize,
}

impl Values<'_> {
    /// A value, or a container that it creates.
    pub(super) fn slot(&mut self) -> Result<Slot, InspectError> {
        let mut ahead = self.reader;
        if ahead.byte()? == CONTAINER {
            let kind = ahead.byte()?;
            self.reader = ahead;
            return Ok(Slot::Container(kind));
        }
        self.plain()?;
        Ok(Slot::Plain)
    }

    /// How many elements a list has; they follow.
    pub(super) fn list_len(&mut self) -> Result<usize, InspectError> {
        if self.reader.byte()? != LIST {
            return Err(Malformed("an insertion into a list is no list").into());
        }
        Ok(self.collection_len()?)
    }

    /// An index into the table of keys.
    pub(super) fn key(&mut self) -> Result<(), Malformed> {
        if self.reader.length()? < self.key_count {
            Ok(())
        } else {
            Err(Malformed("a key is not in the block's table"))
        }
    }

    /// A value that creates no container. The depth is bounded by a stack of our own, which holds how
    /// many entries each open collection still has and whether they have keys.
    pub(super) fn plain(&mut self) -> Result<(), InspectError> {
        let mut open: Vec<(usize, bool)> = Vec::new();
        loop {
            match self.reader.byte()? {
                NULL | TRUE | FALSE => {}
                INTEGER => {
                    self.reader.signed()?;
                }
                FLOAT => {
                    self.reader.take(8)?;
                }
                BINARY => {
                    self.reader.sized()?;
                }
                TEXT => {
                    self.reader.text()?;
                }
                kind @ (LIST | MAP) => {
                    if open.len() >= CONTAINER_DEPTH_MAX {
                        return Err(InspectError::TooDeep {
                            depth_max: CONTAINER_DEPTH_MAX,
                        });
                    }
                    open.push((self.collection_len()?, kind == MAP));
                }
                CONTAINER => return Err(Malformed("a container is created within a value").into()),
                _ => return Err(Malformed("a value is of an unknown kind").into()),
            }
            while open.last().is_some_and(|(left, _)| *left == 0) {
                open.pop();
            }
            let Some((left, keyed)) = open.last_mut() else {
                return Ok(());
            };
            *left -= 1;
            if *keyed {
                self.key()?;
            }
        }
    }

    /// Each entry has a byte or more, so a count beyond what remains is a lie.
    fn collection_len(&mut self) -> Result<usize, Malformed> {
        let len = self.reader.length()?;
        if len > self.reader.remaining() {
            return Err(Malformed(
                "a collection announces more than it has bytes for",
            ));
        }
        Ok(len)
    }
}
