use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use super::{RangeSet, Snapshot};
use crate::ordered_kv::{KeyRange, KeyValue, KvError, RangePage};

/// A transaction's own writes, and reading through them.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    /// Keys that were set (`Some`) or cleared (`None`) after any range around them was cleared.
    keys: BTreeMap<Bytes, Option<Bytes>>,
    cleared: RangeSet,
}

impl WriteBuffer {
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        self.keys.insert(
            Bytes::copy_from_slice(key),
            Some(Bytes::copy_from_slice(value)),
        );
    }

    pub fn clear(&mut self, key: &[u8]) {
        self.keys.insert(Bytes::copy_from_slice(key), None);
    }

    pub fn clear_range(&mut self, range: &KeyRange) {
        self.keys.retain(|key, _| !range.contains(key));
        self.cleared.insert(range);
    }

    /// The ranges to clear; they come before the [`WriteBuffer::keys`].
    pub fn cleared(&self) -> impl Iterator<Item = KeyRange> + '_ {
        self.cleared.iter()
    }

    /// The keys to set or to clear, in order.
    pub fn keys(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.keys.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// What these writes say of `key`: `None` if nothing, `Some(None)` if it was cleared.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        match self.keys.get(key) {
            Some(written) => Some(written.clone()),
            None => self.cleared.contains(key).then_some(None),
        }
    }

    /// The first `limit` entries of `range` in `snapshot` with these writes on top.
    pub fn read_range(
        &self,
        snapshot: &impl Snapshot,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<RangePage, KvError> {
        if range.is_empty() {
            return Ok(RangePage::default());
        }
        let written = self.keys.range::<[u8], _>((
            Bound::Included(range.begin.as_ref()),
            Bound::Excluded(range.end.as_ref()),
        ));
        if reverse {
            self.merge(snapshot, range, limit, true, written.rev().peekable())
        } else {
            self.merge(snapshot, range, limit, false, written.peekable())
        }
    }

    fn merge<'w>(
        &'w self,
        snapshot: &impl Snapshot,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
        mut written: Peekable<impl Iterator<Item = (&'w Bytes, &'w Option<Bytes>)>>,
    ) -> Result<RangePage, KvError> {
        // One entry beyond the limit tells whether there is more.
        let mut page = Page {
            entries: Vec::new(),
            wanted: limit + 1,
        };
        snapshot.scan(range, reverse, &mut |key, value| {
            let mut overwritten = false;
            while let Some((own_key, own_value)) = written.peek() {
                let order = own_key.as_ref().cmp(key);
                match if reverse { order.reverse() } else { order } {
                    Ordering::Greater => break,
                    Ordering::Equal => overwritten = true,
                    Ordering::Less => {}
                }
                if let Some(own_value) = own_value {
                    page.push((*own_key).clone(), own_value.clone());
                }
                written.next();
            }
            if !overwritten && !self.cleared.contains(key) {
                page.push(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            }
            if page.is_full() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        for (key, value) in written {
            if page.is_full() {
                break;
            }
            if let Some(value) = value {
                page.push(key.clone(), value.clone());
            }
        }
        let more = page.entries.len() > limit;
        page.entries.truncate(limit);
        Ok(RangePage {
            entries: page.entries,
            more,
        })
    }
}

struct Page {
    entries: Vec<KeyValue>,
    wanted: usize,
}

impl Page {
    fn push(&mut self, key: Bytes, value: Bytes) {
        self.entries.push(KeyValue { key, value });
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= self.wanted
    }
}
