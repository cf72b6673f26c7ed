//! The store in a FoundationDB cluster, shared by any number of processes.
//!
//! The port has FoundationDB's semantics, so this only translates: keys to where the store has them,
//! errors to the port's. What it leaves to others: nothing here tries again, since
//! [`transact`](crate::transact) does, and no transaction is ever reset, since a new one costs nothing.

mod errors;
mod network;
mod prefix;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use document_types::limits::FOUNDATIONDB_TRANSACTION_TIME_MAX;
use foundationdb::Database;
use foundationdb::options::{DatabaseOption, TransactionOption};

use crate::ordered_kv::{CommitVersion, KvError, OrderedKv, Transaction};
use errors::{Doing, kv_error};
pub use errors::{FoundationDbError, FoundationDbOpenError};
pub use network::FoundationDbNetwork;
use network::Running;
use prefix::Prefix;
use transaction::FoundationDbTransaction;

/// How a store in FoundationDB is opened.
#[derive(Clone, Debug)]
pub struct FoundationDbOptions {
    /// The cluster file, as FoundationDB's own tools take it. The client rewrites it when the cluster's
    /// coordinators change, so its folder has to be writable.
    pub cluster_file: PathBuf,
    /// What all keys of the store begin with in the cluster: 1 to
    /// [`FOUNDATIONDB_PREFIX_BYTES_MAX`](document_types::limits::FOUNDATIONDB_PREFIX_BYTES_MAX) bytes,
    /// not beginning with 0xff. No other's keys may begin so.
    pub prefix: Bytes,
}

/// An [`OrderedKv`] that is a part of a FoundationDB cluster's keys.
///
/// - **Durability.** A commit is durable when it returns; [`OrderedKv::sync`] waits for nothing.
/// - **When the cluster is away** every call ends within
///   [`FOUNDATIONDB_TRANSACTION_TIME_MAX`](document_types::limits::FOUNDATIONDB_TRANSACTION_TIME_MAX)
///   of its transaction's beginning, as [`KvError::TransactionTooOld`] or, for a commit, as
///   [`KvError::CommitUnknownResult`], and all recovers by itself when the cluster is back.
/// - **Pages** of ranges end at
///   what one answer of a storage server holds, 80 kB or one entry that is larger, however many
///   entries were asked for.
pub struct FoundationDbKv {
    cluster: Arc<Cluster>,
}

/// What the store and its transactions share.
struct Cluster {
    database: Database,
    prefix: Prefix,
    running: Running,
}

impl FoundationDbKv {
    /// Opens the store. Nothing is asked of the cluster yet, so it may be away.
    ///
    /// # Errors
    /// [`FoundationDbOpenError`] says why, and what to do.
    pub fn open(
        network: &FoundationDbNetwork,
        options: &FoundationDbOptions,
    ) -> Result<Self, FoundationDbOpenError> {
        let prefix = Prefix::new(options.prefix.clone())?;
        let path = options.cluster_file.as_path();
        let Some(path_text) = path.to_str().filter(|text| !text.contains('\0')) else {
            return Err(FoundationDbOpenError::ClusterFilePath(path.to_owned()));
        };
        // The client would take a missing file for a cluster that is away, and wait.
        std::fs::File::open(path).map_err(|source| FoundationDbOpenError::ClusterFile {
            path: path.to_owned(),
            source,
        })?;
        let database = Database::from_path(path_text)?;
        let milliseconds = i32::try_from(FOUNDATIONDB_TRANSACTION_TIME_MAX.as_millis())
            .expect("the limit is a few seconds");
        // Without it the client waits for a cluster for ever. There is no retry limit to set beside it:
        // that one counts calls of the client's `on_error`, which nobody here makes.
        database.set_option(DatabaseOption::TransactionTimeout(milliseconds))?;
        Ok(Self {
            cluster: Arc::new(Cluster {
                database,
                prefix,
                running: network.running(),
            }),
        })
    }

    fn transaction(&self) -> Result<FoundationDbTransaction, KvError> {
        self.cluster.running.check()?;
        let reading = |error| kv_error(error, Doing::Reading);
        let inner = self.cluster.database.create_trx().map_err(reading)?;
        // Without it a key may not have more than KEY_BYTES_MAX with the prefix, and with it, that many
        // beside a prefix. It is there for clusters with tenants, and does nothing else without them.
        inner
            .set_option(TransactionOption::RawAccess)
            .map_err(reading)?;
        Ok(FoundationDbTransaction::new(
            inner,
            Arc::clone(&self.cluster),
        ))
    }
}

#[async_trait]
impl OrderedKv for FoundationDbKv {
    /// The read version is asked for by the first read: a later one sees no less.
    async fn begin(&self) -> Result<Box<dyn Transaction>, KvError> {
        Ok(Box::new(self.transaction()?))
    }

    /// FoundationDB answers a commit only when the transaction logs, as many as its redundancy mode
    /// says, have it on their disks, whatever the storage engine. So there is nothing to make durable
    /// here, and what is left is to name a version that covers all commits that returned.
    async fn sync(&self) -> Result<CommitVersion, KvError> {
        self.transaction()?.read_version().await
    }
}

#[cfg(test)]
mod tests;
