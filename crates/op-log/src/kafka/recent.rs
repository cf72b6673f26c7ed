use std::collections::VecDeque;

use document_types::LogOffset;

use crate::{LogEntry, ReadLimit};

/// The newest entries of a partition, as far as they are known here.
pub(super) struct Recent {
    entries: VecDeque<LogEntry>,
    bytes: usize,
    /// All entries from here on are here.
    start: LogOffset,
    /// One after the last entry that came.
    end: LogOffset,
}

impl Recent {
    /// Nothing yet, of a partition that is followed from `start` on.
    pub(super) fn new(start: LogOffset) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            start,
            end: start,
        }
    }

    pub(super) fn start(&self) -> LogOffset {
        self.start
    }

    pub(super) fn end(&self) -> LogOffset {
        self.end
    }

    /// Takes an entry in and lets the oldest go while all are more than `bytes_max`; the newest stays.
    pub(super) fn add(&mut self, entry: LogEntry, bytes_max: usize) {
        // The client hands out what it fetched before a trim or a restart once more.
        if entry.offset < self.end {
            return;
        }
        self.end = entry.offset.next();
        self.bytes += size(&entry);
        self.entries.push_back(entry);
        while self.bytes > bytes_max && self.entries.len() > 1 {
            self.drop_first();
        }
    }

    /// Lets go what is below `end`.
    pub(super) fn trim(&mut self, end: LogOffset) {
        while self.entries.front().is_some_and(|first| first.offset < end) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.bytes -= size(&first);
            self.start = first.offset.next();
        }
    }

    /// The entries from `from` on, up to `limit`.
    pub(super) fn read(&self, from: LogOffset, limit: ReadLimit) -> Vec<LogEntry> {
        let first = self.entries.partition_point(|entry| entry.offset < from);
        limit.first_of(self.entries.range(first..))
    }
}

/// Bytes that an entry takes, roughly.
fn size(entry: &LogEntry) -> usize {
    size_of::<LogEntry>() + entry.document.as_str().len() + entry.record.len()
}
