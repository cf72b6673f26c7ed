use bytes::Bytes;
use document_types::limits::FOUNDATIONDB_PREFIX_BYTES_MAX;

use super::errors::{FoundationDbOpenError, Unexpected};
use crate::ordered_kv::KeyRange;

/// What all keys of a store begin with in the cluster.
pub(super) struct Prefix(Bytes);

impl Prefix {
    pub fn new(bytes: Bytes) -> Result<Self, FoundationDbOpenError> {
        // Keys from 0xff on are the cluster's own. An empty prefix would leave such keys to the store.
        let starts_well = bytes.first().is_some_and(|first| *first != 0xff);
        if !starts_well || bytes.len() > FOUNDATIONDB_PREFIX_BYTES_MAX {
            return Err(FoundationDbOpenError::InvalidPrefix(bytes));
        }
        Ok(Self(bytes))
    }

    /// Where the cluster has `key`.
    pub fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.0, key].concat()
    }

    /// Where the cluster has the keys of `range`: its first, and the one after its last.
    pub fn range(&self, range: &KeyRange) -> (Vec<u8>, Vec<u8>) {
        (self.key(&range.begin), self.key(&range.end))
    }

    /// The store's key that the cluster has at `key`.
    pub fn strip(&self, key: &[u8]) -> Result<Bytes, Unexpected> {
        key.strip_prefix(&*self.0)
            .map(Bytes::copy_from_slice)
            .ok_or(Unexpected::ForeignKey)
    }
}
