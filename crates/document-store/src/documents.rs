//! The document's transactions, written once over [`OrderedKv`].

mod append;
mod catch_up;
mod degraded;
mod fold;
mod frontiers;
mod history_bytes;
mod listing;
mod load;
mod log;
mod nodes;
mod parts;
mod positions;
mod set_hash;
mod snapshots;

use std::sync::Arc;

use clock::Random;
use document_types::record::RecordError;
use document_types::{DocumentId, IdError, RegionId};
use prost::Message;

use crate::keyspace::{self, Key, NotAKey};
use crate::ordered_kv::{KeyValue, KvError, OrderedKv, Transaction};
use crate::transact::{TransactError, transact};
use crate::values::{Format, Head};

pub use append::{
    Admitted, AppendError, AppendOutcome, RecordOutcome, StatePosition, WaitingUpdate,
};
pub use catch_up::{CatchUpContent, CatchUpCursor, CatchUpLimits, CatchUpStep, SnapshotPiece};
pub use fold::{FoldInput, FoldOutcome, FoldedSnapshot};
pub use history_bytes::HistoryBytes;
pub use load::LoadedDocument;
pub use nodes::{NodeCeiling, NodeLife, RaiseError};

/// The documents of one region, in an [`OrderedKv`].
///
/// Every method is one transaction, or several where its documentation says so, and is tried again
/// as [`transact`] says. Clones share the store.
#[derive(Clone)]
pub struct DocumentStore {
    kv: Arc<dyn OrderedKv>,
    random: Random,
}

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store below failed, or refused more often than it is asked.
    #[error("the key-value store did not do a transaction")]
    Kv(#[from] KvError),
    /// A stored value is damaged, or was written by something else.
    #[error("the value under {key} is damaged")]
    Corrupt {
        /// Where it is.
        key: String,
        /// What is wrong with it.
        #[source]
        source: CorruptValue,
    },
    /// A newer program wrote the keyspace.
    #[error(
        "the store has keyspace version {found}, and this program reads up to {known}: upgrade it \
         before it opens this store"
    )]
    NewerKeyspace {
        /// The store's version.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// The store has merged another log of the region, whose offsets mean nothing in this one.
    #[error(
        "the store holds what the log {bound} of region {region} says, and was given the log {found}: \
         give it the log that it had, or an empty directory"
    )]
    OtherLog {
        /// Whose log.
        region: RegionId,
        /// The log that the store knows.
        bound: String,
        /// The one it was given.
        found: String,
    },
}

/// What is wrong with a stored value.
#[derive(Debug, thiserror::Error)]
pub enum CorruptValue {
    /// It is not the protobuf message that belongs there.
    #[error("it is not the message that belongs there")]
    Decode(#[from] prost::DecodeError),
    /// It is not an update.
    #[error("it is not an update")]
    Record(#[from] RecordError),
    /// An id in it is none.
    #[error("an id in it is none")]
    Id(#[from] IdError),
    /// Its key is none of the keyspace.
    #[error("its key is none")]
    Key(#[from] NotAKey),
    /// Its key is one that does not belong there.
    #[error("its key is one of another kind")]
    Misplaced,
    /// A part of it is missing.
    #[error("a part of it is missing")]
    Incomplete,
    /// A digest or id in it has the wrong length.
    #[error("a fixed-length field in it has another length")]
    Length,
    /// Its bytes don't have the digest that they were written with.
    #[error("its digest is not the one it was written with")]
    Digest,
}

impl TransactError for StoreError {
    fn as_kv(&self) -> Option<&KvError> {
        match self {
            Self::Kv(error) => Some(error),
            _ => None,
        }
    }
}

impl DocumentStore {
    /// Opens the store over `kv`, and makes its keyspace if it is empty. `random` is for pauses.
    ///
    /// # Errors
    /// [`StoreError::NewerKeyspace`] if a newer program wrote it.
    pub async fn open(kv: Arc<dyn OrderedKv>, random: Random) -> Result<Self, StoreError> {
        let store = Self { kv, random };
        let found = store
            .transact(|transaction| async move {
                if let Some(format) = get_message::<Format>(&*transaction, &Key::Format).await? {
                    return Ok(format.version);
                }
                let version = keyspace::VERSION;
                set_message(&*transaction, &Key::Format, &Format { version });
                transaction.commit().await?;
                Ok::<_, StoreError>(version)
            })
            .await?;
        if found > keyspace::VERSION {
            return Err(StoreError::NewerKeyspace {
                found,
                known: keyspace::VERSION,
            });
        }
        Ok(store)
    }

    /// The document's head, `None` if it was never written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn head(&self, document: &DocumentId) -> Result<Option<Head>, StoreError> {
        self.transact(|transaction| async move { read_head(&*transaction, document).await })
            .await
    }

    /// Makes everything written so far durable; see [`OrderedKv::sync`].
    ///
    /// # Errors
    /// [`StoreError::Kv`].
    pub async fn sync(&self) -> Result<(), StoreError> {
        self.kv.sync().await?;
        Ok(())
    }

    async fn transact<T, E, F>(&self, body: impl FnMut(Box<dyn Transaction>) -> F) -> Result<T, E>
    where
        E: TransactError,
        F: Future<Output = Result<T, E>>,
    {
        transact(&*self.kv, &self.random, body).await
    }
}

async fn read_head(
    transaction: &dyn Transaction,
    document: &DocumentId,
) -> Result<Option<Head>, StoreError> {
    get_message(transaction, &Key::Head(document.clone())).await
}

fn set_head(transaction: &dyn Transaction, document: &DocumentId, head: &Head) {
    set_message(transaction, &Key::Head(document.clone()), head);
}

async fn get_message<M: Message + Default>(
    transaction: &dyn Transaction,
    key: &Key,
) -> Result<Option<M>, StoreError> {
    let Some(value) = transaction.get(&key.pack()).await? else {
        return Ok(None);
    };
    M::decode(value)
        .map(Some)
        .map_err(|error| corrupt(key, error))
}

fn set_message(transaction: &dyn Transaction, key: &Key, message: &impl Message) {
    transaction.set(&key.pack(), &message.encode_to_vec());
}

fn corrupt(key: &Key, source: impl Into<CorruptValue>) -> StoreError {
    StoreError::Corrupt {
        key: format!("{key:?}"),
        source: source.into(),
    }
}

/// An entry of a range, read as a key and the message under it.
fn decode_entry<M: Message + Default>(entry: KeyValue) -> Result<(Key, M), StoreError> {
    let key = unpack_key(&entry)?;
    let message = M::decode(entry.value).map_err(|error| corrupt(&key, error))?;
    Ok((key, message))
}

fn unpack_key(entry: &KeyValue) -> Result<Key, StoreError> {
    Key::unpack(&entry.key).map_err(|error| StoreError::Corrupt {
        key: format!("{:?}", entry.key),
        source: error.into(),
    })
}

#[cfg(test)]
mod tests;
