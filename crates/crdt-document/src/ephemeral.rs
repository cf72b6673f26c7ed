//! The ephemeral state of a document's sessions (cursors, selections, typing), in the engine's own
//! format, so that stock clients understand it.
//!
//! The engine's store reads the machine's clock and decodes values that a server never looks at. So
//! this one is our own: the last writer of a key wins, values stay as the bytes that came, and time
//! is handed in.

use std::collections::BTreeMap;
use std::time::Duration;

use document_types::limits::{
    EPHEMERAL_BYTES_MAX, EPHEMERAL_ENTRIES_MAX, EPHEMERAL_TIMESTAMP_AHEAD_MAX,
    EPHEMERAL_VALUE_DEPTH_MAX,
};

use crate::inspect::reader::{Malformed, Reader};
use crate::version_bytes::write_unsigned;

/// Why ephemeral bytes are refused. Nothing of them is taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EphemeralError {
    /// The bytes break the format.
    #[error("the ephemeral state is malformed: {reason}")]
    Malformed {
        /// The rule that is broken.
        reason: &'static str,
    },
    /// A key would be one too many for this document.
    #[error("a document may have {entries_max} ephemeral keys, and has them")]
    TooManyEntries {
        /// The most there may be.
        entries_max: usize,
    },
    /// Keys and values would weigh more than this document may hold.
    #[error("a document's ephemeral state may have {bytes_max} bytes, and would have more")]
    TooLarge {
        /// The most there may be.
        bytes_max: usize,
    },
    /// An entry says that it was written in the future. Nobody could replace it until then.
    #[error("an ephemeral entry is stamped too far ahead")]
    TimestampAhead,
}

impl From<Malformed> for EphemeralError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed {
            reason: malformed.0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// The value as it came: an option of the engine's values, in postcard. None is a deletion.
    value: Vec<u8>,
    /// The writer's clock.
    timestamp_ms: i64,
    /// Ours, when it came; what it expires by.
    received_ms: u64,
}

/// What the sessions of one document last said of themselves.
#[derive(Clone, Debug)]
pub struct EphemeralState {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
    timeout_ms: u64,
}

impl EphemeralState {
    /// An empty state whose entries expire `timeout` after they came.
    pub fn new(timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
            timeout_ms,
        }
    }

    /// Takes in what a session said at `now_ms`. For each key the largest timestamp wins. Returns the
    /// keys that changed, sorted.
    ///
    /// # Errors
    /// [`EphemeralError`]; all of it is checked before any of it is taken in.
    pub fn apply(&mut self, update: &[u8], now_ms: u64) -> Result<Vec<String>, EphemeralError> {
        self.remove_expired(now_ms);
        let ahead_ms = u64::try_from(EPHEMERAL_TIMESTAMP_AHEAD_MAX.as_millis()).unwrap_or(0);
        let latest_ms = i64::try_from(now_ms.saturating_add(ahead_ms)).unwrap_or(i64::MAX);
        let mut newer: BTreeMap<&str, (&[u8], i64)> = BTreeMap::new();
        for Received {
            key,
            value,
            timestamp_ms,
        } in decode(update)?
        {
            if timestamp_ms > latest_ms {
                return Err(EphemeralError::TimestampAhead);
            }
            let known = newer
                .get(key)
                .map(|(_, timestamp_ms)| *timestamp_ms)
                .or_else(|| self.entries.get(key).map(|entry| entry.timestamp_ms));
            if known.is_none_or(|known| known < timestamp_ms) {
                newer.insert(key, (value, timestamp_ms));
            }
        }
        let (mut count, mut bytes) = (self.entries.len(), self.bytes);
        for (key, (value, _)) in &newer {
            match self.entries.get(*key) {
                Some(entry) => bytes -= key.len() + entry.value.len(),
                None => count += 1,
            }
            bytes += key.len() + value.len();
        }
        if count > EPHEMERAL_ENTRIES_MAX {
            return Err(EphemeralError::TooManyEntries {
                entries_max: EPHEMERAL_ENTRIES_MAX,
            });
        }
        if bytes > EPHEMERAL_BYTES_MAX {
            return Err(EphemeralError::TooLarge {
                bytes_max: EPHEMERAL_BYTES_MAX,
            });
        }
        self.bytes = bytes;
        let changed = newer.keys().map(|key| (*key).to_owned()).collect();
        for (key, (value, timestamp_ms)) in newer {
            let entry = Entry {
                value: value.to_vec(),
                timestamp_ms,
                received_ms: now_ms,
            };
            self.entries.insert(key.to_owned(), entry);
        }
        Ok(changed)
    }

    /// Everything that has not expired at `now_ms`, for a session that joins.
    pub fn encode_all(&self, now_ms: u64) -> Vec<u8> {
        let live: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !self.expired(entry, now_ms))
            .collect();
        let mut bytes = Vec::new();
        write_unsigned(&mut bytes, live.len() as u64);
        for (key, entry) in live {
            write_unsigned(&mut bytes, key.len() as u64);
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(&entry.value);
            let zigzag = (entry.timestamp_ms << 1) ^ (entry.timestamp_ms >> 63);
            write_unsigned(&mut bytes, zigzag.cast_unsigned());
        }
        bytes
    }

    /// Forgets what has expired at `now_ms` and returns its keys, sorted.
    pub fn remove_expired(&mut self, now_ms: u64) -> Vec<String> {
        let expired: Vec<String> = self
            .entries
            .iter()
            .filter(|(_, entry)| self.expired(entry, now_ms))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &expired {
            if let Some(entry) = self.entries.remove(key) {
                self.bytes -= key.len() + entry.value.len();
            }
        }
        expired
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What keys and values weigh.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn expired(&self, entry: &Entry, now_ms: u64) -> bool {
        now_ms.saturating_sub(entry.received_ms) > self.timeout_ms
    }
}

/// An entry as it came.
struct Received<'a> {
    key: &'a str,
    value: &'a [u8],
    timestamp_ms: i64,
}

fn decode(update: &[u8]) -> Result<Vec<Received<'_>>, EphemeralError> {
    const ENTRY_BYTES_MIN: usize = 3;
    let mut reader = Reader::new(update);
    let count = reader.length()?;
    if count > reader.remaining() / ENTRY_BYTES_MIN {
        return Err(Malformed("it announces more entries than it has bytes for").into());
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let key = reader.text()?;
        let before = reader.rest();
        match reader.byte()? {
            0 => {}
            1 => skip_value(&mut reader)?,
            _ => return Err(Malformed("an option is neither there nor not").into()),
        }
        let value = &before[..before.len() - reader.remaining()];
        entries.push(Received {
            key,
            value,
            timestamp_ms: reader.zigzag()?,
        });
    }
    if reader.is_empty() {
        Ok(entries)
    } else {
        Err(Malformed("bytes follow its end").into())
    }
}

/// Goes past one of the engine's values as postcard writes them. The depth is bounded by a stack of
/// our own, which holds how many entries each open collection still has and whether they have keys.
fn skip_value(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let mut open: Vec<(usize, bool)> = Vec::new();
    loop {
        match reader.unsigned()? {
            0 => {}
            1 if reader.byte()? > 1 => return Err(Malformed("a truth value is neither")),
            1 => {}
            2 => {
                reader.take(8)?;
            }
            3 => {
                reader.zigzag()?;
            }
            4 => {
                reader.text()?;
            }
            kind @ (5 | 6) => {
                if open.len() >= EPHEMERAL_VALUE_DEPTH_MAX {
                    return Err(Malformed("a value nests too deep"));
                }
                let len = reader.length()?;
                if len > reader.remaining() {
                    return Err(Malformed(
                        "a collection announces more than it has bytes for",
                    ));
                }
                open.push((len, kind == 6));
            }
            8 => {
                reader.sized()?;
            }
            // 7 is a container, which is no value to be shown to others.
            _ => return Err(Malformed("a value is of an unknown kind")),
        }
        while open.last().is_some_and(|(left, _)| *left == 0) {
            open.pop();
        }
        let Some((left, keyed)) = open.last_mut() else {
            return Ok(());
        };
        *left -= 1;
        if *keyed {
            reader.text()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use loro::LoroValue;
    use loro::awareness::EphemeralStore;
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// The engine's store stamps with the machine's clock.
    #[allow(clippy::disallowed_methods)]
    fn now_ms() -> u64 {
        u64::try_from(
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_millis(),
        )
        .unwrap()
    }

    fn engine_store() -> EphemeralStore {
        EphemeralStore::new(60_000)
    }

    #[test]
    fn what_the_engine_writes_comes_back_to_the_engine() {
        let writer = engine_store();
        let nested = loro::loro_value!({"line": 3, "names": ["a", "ü"], "on": true, "x": 1.5});
        writer.set("cursor", nested.clone());
        writer.set("name", "Ada");
        writer.set("raw", LoroValue::Binary(vec![1, 2, 3].into()));
        writer.set("none", LoroValue::Null);
        writer.delete("gone");
        let now_ms = now_ms();
        let mut state = EphemeralState::new(TIMEOUT);
        let changed = state.apply(&writer.encode_all(), now_ms).unwrap();
        assert_eq!(changed, ["cursor", "gone", "name", "none", "raw"]);

        let reader = engine_store();
        reader.apply(&state.encode_all(now_ms)).unwrap();
        assert_eq!(reader.get_all_states(), writer.get_all_states());
        assert_eq!(reader.get("cursor"), Some(nested));
    }

    #[test]
    fn the_last_writer_wins_and_entries_expire_by_our_clock() {
        let (old, new) = (engine_store(), engine_store());
        old.set("k", 1);
        let first = old.encode_all();
        while new.encode_all() == first || new.get("k").is_none() {
            new.set("k", 2);
        }
        let (first, second) = (first, {
            let start = now_ms();
            while now_ms() <= start {}
            new.set("k", 3);
            new.encode_all()
        });
        let now_ms = now_ms();
        let mut state = EphemeralState::new(TIMEOUT);
        assert_eq!(state.apply(&second, now_ms).unwrap(), ["k"]);
        assert!(
            state.apply(&first, now_ms).unwrap().is_empty(),
            "an older one came late"
        );
        let later_ms = now_ms + 30_001;
        assert_eq!(state.encode_all(later_ms), [0]);
        assert_eq!(state.remove_expired(later_ms), ["k"]);
        assert_eq!((state.len(), state.bytes()), (0, 0));
    }

    #[test]
    fn an_entry_from_the_future_is_refused() {
        let store = engine_store();
        store.set("k", 1);
        let past_ms = now_ms() - 3_600_000;
        let mut state = EphemeralState::new(TIMEOUT);
        assert_eq!(
            state.apply(&store.encode_all(), past_ms),
            Err(EphemeralError::TimestampAhead)
        );
        assert!(state.is_empty());
    }

    #[test]
    fn a_document_holds_so_many_bytes_and_no_more() {
        let store = engine_store();
        store.set("k", "x".repeat(EPHEMERAL_BYTES_MAX));
        let mut state = EphemeralState::new(TIMEOUT);
        assert!(matches!(
            state.apply(&store.encode_all(), now_ms()),
            Err(EphemeralError::TooLarge { .. })
        ));
        assert_eq!((state.len(), state.bytes()), (0, 0));
    }

    #[test]
    fn a_value_that_nests_without_end_is_refused() {
        let mut bytes = vec![1, 1, b'k', 1];
        bytes.extend([5, 1].repeat(100_000));
        let mut state = EphemeralState::new(TIMEOUT);
        assert!(matches!(
            state.apply(&bytes, 0),
            Err(EphemeralError::Malformed { .. })
        ));
    }

    proptest! {
        #[test]
        fn hostile_bytes_change_nothing_unless_they_are_understood(
            bytes in prop::collection::vec(0_u8..16, 0..60)
        ) {
            let mut state = EphemeralState::new(TIMEOUT);
            if state.apply(&bytes, 1_000).is_err() {
                prop_assert!(state.is_empty());
            } else {
                prop_assert!(engine_store().apply(&state.encode_all(1_000)).is_ok());
            }
        }
    }
}
