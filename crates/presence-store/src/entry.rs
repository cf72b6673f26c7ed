use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use document_types::limits::{
    PRESENCE_BYTES_PER_SESSION_MAX, PRESENCE_ENTRIES_PER_SESSION_MAX, PRESENCE_VALUE_DEPTH_MAX,
};

/// One entry of the engine's ephemeral store: a key, a value or its absence, and the author's clock,
/// by which the last writer of a key wins.
///
/// The value stays as it was encoded. Reading it would take the engine, which is not needed to pass
/// it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the entry is about; applications commonly use the user's or the peer's id.
    pub key: Arc<str>,
    /// The author's wall clock, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Whether the entry takes the key away.
    pub is_removal: bool,
    /// The entry as it stands in an encoded list.
    encoded: Bytes,
}

/// Why bytes are not a list of entries that a session may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// More bytes than one session may show.
    #[error(
        "entries have {bytes} bytes, and {PRESENCE_BYTES_PER_SESSION_MAX} is the most they may have"
    )]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// More entries than one session may show.
    #[error(
        "there are {count} entries, and {PRESENCE_ENTRIES_PER_SESSION_MAX} is the most there may be"
    )]
    TooMany {
        /// How many.
        count: u64,
    },
    /// The bytes are not what the engine writes.
    #[error("the entries are malformed")]
    Malformed,
    /// A value nests too deeply, or names a container, which presence has none of.
    #[error("an entry's value is not one that presence may have")]
    UnfitValue,
}

/// Takes a list of entries apart: the engine's encoding of an ephemeral store or of a change to one.
///
/// # Errors
/// [`EntriesError`] if the list is malformed or more than one session may show.
pub fn decode_entries(bytes: &[u8]) -> Result<Vec<Entry>, EntriesError> {
    if bytes.len() > PRESENCE_BYTES_PER_SESSION_MAX {
        return Err(EntriesError::TooLarge { bytes: bytes.len() });
    }
    decode_at_most(bytes, PRESENCE_ENTRIES_PER_SESSION_MAX as u64)
}

/// Takes apart what a server sends, which are the entries of many sessions.
///
/// # Errors
/// [`EntriesError`] if it is malformed.
pub fn decode_entries_of_many(bytes: &[u8]) -> Result<Vec<Entry>, EntriesError> {
    decode_at_most(bytes, u64::MAX)
}

fn decode_at_most(bytes: &[u8], count_max: u64) -> Result<Vec<Entry>, EntriesError> {
    let mut cursor = Cursor { rest: bytes };
    let count = cursor.number()?;
    if count > count_max {
        return Err(EntriesError::TooMany { count });
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(cursor.entry()?);
    }
    cursor.end()?;
    Ok(entries)
}

/// Puts entries together to a list that the engine applies.
pub fn encode_entries<'a>(entries: impl ExactSizeIterator<Item = &'a Entry>) -> Bytes {
    let mut out = BytesMut::new();
    put_number(&mut out, entries.len() as u64);
    for entry in entries {
        out.put_slice(&entry.encoded);
    }
    out.freeze()
}

impl Entry {
    /// Bytes of the entry in an encoded list.
    pub fn encoded_bytes(&self) -> usize {
        self.encoded.len()
    }

    /// The entry as it stands in an encoded list.
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Reads what [`Entry::encoded`] gave.
    pub(crate) fn decode(encoded: &[u8]) -> Result<Self, EntriesError> {
        let mut cursor = Cursor { rest: encoded };
        let entry = cursor.entry()?;
        cursor.end()?;
        Ok(entry)
    }

    /// Whether the entry wins over `other` of the same key.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.timestamp_ms > other.timestamp_ms
    }

    /// The entry that takes this one away, and loses against whatever its author says next: it is
    /// one millisecond newer, by the author's own clock.
    #[must_use]
    pub fn removal(&self) -> Self {
        let timestamp_ms = self.timestamp_ms.saturating_add(1);
        let mut out = BytesMut::new();
        put_number(&mut out, self.key.len() as u64);
        out.put_slice(self.key.as_bytes());
        out.put_u8(ABSENT);
        put_number(&mut out, zigzag(timestamp_ms));
        Self {
            key: self.key.clone(),
            timestamp_ms,
            is_removal: true,
            encoded: out.freeze(),
        }
    }
}

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// Reads the engine's encoding (`postcard`): LEB128 numbers, length-prefixed texts, tagged values.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Nothing may be left.
    fn end(&self) -> Result<(), EntriesError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(EntriesError::Malformed)
        }
    }

    fn entry(&mut self) -> Result<Entry, EntriesError> {
        let start = self.rest;
        let key = std::str::from_utf8(self.length_prefixed()?)
            .map_err(|_| EntriesError::Malformed)?
            .into();
        let is_removal = match self.byte()? {
            ABSENT => true,
            PRESENT => {
                self.skip_value(PRESENCE_VALUE_DEPTH_MAX)?;
                false
            }
            _ => return Err(EntriesError::Malformed),
        };
        let timestamp_ms = from_zigzag(self.number()?);
        // A copy, since a slice would keep the whole message alive.
        let encoded = Bytes::copy_from_slice(&start[..start.len() - self.rest.len()]);
        Ok(Entry {
            key,
            timestamp_ms,
            is_removal,
            encoded,
        })
    }

    fn skip_value(&mut self, depth_left: usize) -> Result<(), EntriesError> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(EntriesError::UnfitValue);
        };
        match self.byte()? {
            // Null, boolean, double, integer.
            0 => Ok(()),
            1 => self.take(1).map(|_| ()),
            2 => self.take(8).map(|_| ()),
            3 => self.number().map(|_| ()),
            // Text and bytes.
            4 | 8 => self.length_prefixed().map(|_| ()),
            // List.
            5 => {
                for _ in 0..self.number()? {
                    self.skip_value(depth_left)?;
                }
                Ok(())
            }
            // Map.
            6 => {
                for _ in 0..self.number()? {
                    self.length_prefixed()?;
                    self.skip_value(depth_left)?;
                }
                Ok(())
            }
            // Container.
            7 => Err(EntriesError::UnfitValue),
            _ => Err(EntriesError::Malformed),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], EntriesError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(EntriesError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, EntriesError> {
        Ok(self.take(1)?[0])
    }

    fn length_prefixed(&mut self) -> Result<&'a [u8], EntriesError> {
        let length = usize::try_from(self.number()?).map_err(|_| EntriesError::Malformed)?;
        self.take(length)
    }

    fn number(&mut self) -> Result<u64, EntriesError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(EntriesError::Malformed);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(EntriesError::Malformed)
    }
}

fn put_number(out: &mut BytesMut, mut number: u64) {
    loop {
        let low = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        if number == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn from_zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use loro::LoroValue;
    use loro::awareness::EphemeralStore;
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT_MS: i64 = 30_000;

    fn any_value() -> impl Strategy<Value = LoroValue> {
        let leaf = prop_oneof![
            Just(LoroValue::Null),
            any::<bool>().prop_map(LoroValue::Bool),
            prop::num::f64::NORMAL.prop_map(LoroValue::Double),
            any::<i64>().prop_map(LoroValue::I64),
            ".{0,12}".prop_map(|text| LoroValue::from(text.as_str())),
            prop::collection::vec(any::<u8>(), 0..12).prop_map(LoroValue::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(LoroValue::from),
                prop::collection::hash_map("[a-z]{1,4}", inner, 0..4).prop_map(LoroValue::from),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_engine_writes_is_taken_apart_and_put_together(
            values in prop::collection::btree_map("[a-zä]{1,8}", any_value(), 0..8)
        ) {
            let written = EphemeralStore::new(TIMEOUT_MS);
            for (key, value) in &values {
                written.set(key, value.clone());
            }
            let entries = decode_entries(&written.encode_all()).unwrap();
            let keys: std::collections::BTreeSet<_> =
                entries.iter().map(|entry| entry.key.to_string()).collect();
            prop_assert_eq!(keys, values.keys().cloned().collect());

            let read = EphemeralStore::new(TIMEOUT_MS);
            read.apply(&encode_entries(entries.iter())).unwrap();
            prop_assert_eq!(read.get_all_states(), written.get_all_states());
        }

        #[test]
        fn any_bytes_are_taken_apart_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(entries) = decode_entries(&bytes) {
                // What is taken apart can be taken apart again, and is then the same.
                prop_assert_eq!(decode_entries(&encode_entries(entries.iter())), Ok(entries));
            }
        }
    }

    #[test]
    fn a_removal_takes_the_key_away_until_its_author_speaks_again() {
        let author = EphemeralStore::new(TIMEOUT_MS);
        author.set("ada", 1);
        let shown = decode_entries(&author.encode_all()).unwrap();
        let reader = EphemeralStore::new(TIMEOUT_MS);
        reader.apply(&author.encode_all()).unwrap();
        assert_eq!(reader.get("ada"), Some(LoroValue::I64(1)));

        let removal = shown[0].removal();
        assert_eq!(
            decode_entries(&encode_entries([&removal].into_iter())),
            Ok(vec![removal.clone()])
        );
        reader
            .apply(&encode_entries([&removal].into_iter()))
            .unwrap();
        assert_eq!(reader.get("ada"), None);
        reader.apply(&author.encode_all()).unwrap();
        assert_eq!(reader.get("ada"), None, "what was shown before stays away");

        let again = Entry {
            timestamp_ms: removal.timestamp_ms + 1,
            ..shown[0].clone()
        };
        assert!(again.is_newer_than(&removal));
    }

    #[test]
    fn what_is_too_much_or_too_deep_is_refused() {
        let many = EphemeralStore::new(TIMEOUT_MS);
        for key in 0..=PRESENCE_ENTRIES_PER_SESSION_MAX {
            many.set(&key.to_string(), 1);
        }
        assert!(matches!(
            decode_entries(&many.encode_all()),
            Err(EntriesError::TooMany { .. })
        ));

        let large = vec![0; PRESENCE_BYTES_PER_SESSION_MAX + 1];
        assert!(matches!(
            decode_entries(&large),
            Err(EntriesError::TooLarge { .. })
        ));

        // A list in a list in a list, deep enough to overflow a stack that followed it.
        let mut deep = vec![1, 1, b'k', PRESENT];
        deep.extend([5, 1].repeat(4_000));
        assert_eq!(decode_entries(&deep), Err(EntriesError::UnfitValue));
    }
}
