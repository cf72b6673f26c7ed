use std::collections::BTreeMap;
use std::sync::Arc;

use document_types::limits::{PRESENCE_BYTES_PER_SESSION_MAX, PRESENCE_ENTRIES_PER_SESSION_MAX};

use crate::Entry;

/// What one session shows: the newest entry of each of its keys, bounded in number and bytes.
#[derive(Clone, Debug, Default)]
pub struct SessionEntries {
    entries: BTreeMap<Arc<str>, Entry>,
    bytes: usize,
}

impl SessionEntries {
    /// Takes entries in, and returns those that are news. An older entry than the one there is, and
    /// one for which there is no room, are none; of two of one millisecond the later to come counts.
    /// A removal is news and then forgotten.
    pub fn take_in(&mut self, entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
        entries
            .into_iter()
            .filter(|entry| self.take_in_one(entry))
            .collect()
    }

    fn take_in_one(&mut self, entry: &Entry) -> bool {
        let there = self.entries.get(&entry.key);
        if there.is_some_and(|there| there.is_newer_than(entry)) {
            return false;
        }
        let bytes = self.bytes - there.map_or(0, Entry::encoded_bytes);
        if entry.is_removal {
            self.bytes = bytes;
            self.entries.remove(&entry.key);
            return true;
        }
        let bytes = bytes + entry.encoded_bytes();
        let fits = bytes <= PRESENCE_BYTES_PER_SESSION_MAX
            && (there.is_some() || self.entries.len() < PRESENCE_ENTRIES_PER_SESSION_MAX);
        if fits {
            self.bytes = bytes;
            self.entries.insert(entry.key.clone(), entry.clone());
        }
        fits
    }

    /// The entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Whether nothing is shown.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries that take everything away again.
    pub fn removals(&self) -> Vec<Entry> {
        self.entries.values().map(Entry::removal).collect()
    }
}

/// Adds entries to those that wait to be passed on; the newest of a key stays. Returns how many
/// waiting entries were overtaken.
pub fn merge_newest(
    waiting: &mut BTreeMap<Arc<str>, Entry>,
    entries: impl IntoIterator<Item = Entry>,
) -> u64 {
    let mut overtaken = 0;
    for entry in entries {
        match waiting.get(&entry.key) {
            Some(there) if there.is_newer_than(&entry) => {}
            there => {
                overtaken += u64::from(there.is_some());
                waiting.insert(entry.key.clone(), entry);
            }
        }
    }
    overtaken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::entry;

    #[test]
    fn the_newest_of_a_key_stays() {
        let mut entries = SessionEntries::default();
        assert_eq!(entries.take_in([entry("a", 1, 2)]).len(), 1);
        assert!(entries.take_in([entry("a", 9, 1)]).is_empty(), "older");
        assert_eq!(entries.take_in([entry("a", 3, 4)]), [entry("a", 3, 4)]);
        assert_eq!(entries.iter().collect::<Vec<_>>(), [&entry("a", 3, 4)]);
        assert_eq!(entries.take_in([entry("a", 3, 4).removal()]).len(), 1);
        assert!(entries.is_empty());
    }

    #[test]
    fn keys_and_bytes_are_bounded() {
        let mut entries = SessionEntries::default();
        let keys = 0..PRESENCE_ENTRIES_PER_SESSION_MAX + 3;
        let news = entries.take_in(keys.map(|key| entry(&format!("{key:02}"), 1, 1)));
        assert_eq!(news.len(), PRESENCE_ENTRIES_PER_SESSION_MAX);
        assert_eq!(
            entries.take_in([entry("00", 2, 2)]).len(),
            1,
            "a key that is there may change"
        );

        let mut entries = SessionEntries::default();
        let long = "k".repeat(PRESENCE_BYTES_PER_SESSION_MAX / 2);
        assert_eq!(entries.take_in([entry(&long, 1, 1)]).len(), 1);
        let other = "l".repeat(PRESENCE_BYTES_PER_SESSION_MAX / 2);
        assert!(entries.take_in([entry(&other, 1, 1)]).is_empty());
        entries.take_in([entry(&long, 1, 1).removal()]);
        assert_eq!(
            entries.take_in([entry(&other, 1, 1)]).len(),
            1,
            "removals make room"
        );
    }
}
