//! Updates as values: in one part, or in several where one value can't hold them.

use bytes::{Bytes, BytesMut};
use document_types::limits::CHUNK_BYTES_MAX;
use document_types::record::{StampedUpdate, wire};
use prost::Message;

use super::{CorruptValue, StoreError, corrupt, decode_entry};
use crate::keyspace::Key;
use crate::ordered_kv::{KeyRange, KeyValue, Pages, RangeOptions, Transaction};
use crate::values::Part;

/// Entries of one page: with each at its largest, 9 MB.
const PAGE_COUNT: usize = 100;

/// Writes an encoded update under the keys that `key` makes of the parts' numbers.
pub(super) fn set_parts(transaction: &dyn Transaction, encoded: &Bytes, key: impl Fn(u32) -> Key) {
    let part_count = count(encoded.len());
    for part in 0..part_count {
        let begin = part as usize * CHUNK_BYTES_MAX;
        let end = encoded.len().min(begin + CHUNK_BYTES_MAX);
        let value = Part {
            part_count,
            bytes: encoded.slice(begin..end),
        };
        transaction.set(&key(part).pack(), &value.encode_to_vec());
    }
}

fn count(encoded_bytes: usize) -> u32 {
    u32::try_from(encoded_bytes.div_ceil(CHUNK_BYTES_MAX).max(1))
        .expect("an update is smaller than a log record, so it has few parts")
}

/// Reads updates that stand as parts one after the other.
pub(super) struct UpdateScan<'t> {
    pages: Pages<'t>,
    page: std::vec::IntoIter<KeyValue>,
}

/// An update as it was found.
pub(super) struct StoredUpdate {
    /// The key of its first part.
    pub key: Key,
    pub update: StampedUpdate,
    /// How many bytes it has in the store.
    pub bytes: usize,
}

impl<'t> UpdateScan<'t> {
    /// The updates whose parts are in `range`.
    pub fn new(transaction: &'t dyn Transaction, range: KeyRange) -> Self {
        let options = RangeOptions {
            limit: PAGE_COUNT,
            ..RangeOptions::default()
        };
        let pages = Pages::new(transaction, range, options);
        Self {
            pages,
            page: Vec::new().into_iter(),
        }
    }

    /// The next update, `None` after the last.
    pub async fn next(&mut self) -> Result<Option<StoredUpdate>, StoreError> {
        let Some((key, first)) = self.next_part().await? else {
            return Ok(None);
        };
        if part_number(&key) != Some(0) {
            return Err(corrupt(&key, CorruptValue::Incomplete));
        }
        let encoded = if first.part_count <= 1 {
            first.bytes
        } else {
            let mut all = BytesMut::from(first.bytes.as_ref());
            for number in 1..first.part_count {
                match self.next_part().await? {
                    Some((next, part)) if part_number(&next) == Some(number) => {
                        all.extend_from_slice(&part.bytes);
                    }
                    _ => return Err(corrupt(&key, CorruptValue::Incomplete)),
                }
            }
            all.freeze()
        };
        let bytes = encoded.len();
        let update = wire::StampedUpdate::decode(encoded).map_err(|error| corrupt(&key, error))?;
        let update = StampedUpdate::from_wire(update).map_err(|error| corrupt(&key, error))?;
        Ok(Some(StoredUpdate { key, update, bytes }))
    }

    async fn next_part(&mut self) -> Result<Option<(Key, Part)>, StoreError> {
        loop {
            if let Some(entry) = self.page.next() {
                return decode_entry(entry).map(Some);
            }
            match self.pages.next().await? {
                Some(entries) => self.page = entries.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

fn part_number(key: &Key) -> Option<u32> {
    match key {
        Key::Update(_, _, part) | Key::Pending(_, _, part) => Some(*part),
        _ => None,
    }
}
