use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use clock::Random;
use document_store::ordered_kv::{KeyRange, OrderedKv};
use document_store::{FoundationDbKv, FoundationDbNetwork, FoundationDbOptions, transact};

/// The variable by which FoundationDB's own tools find their cluster, too.
const FILE_VARIABLE: &str = "FDB_CLUSTER_FILE";

/// Where the cluster's file is, if there is a cluster to test against.
pub fn file() -> Option<PathBuf> {
    std::env::var_os(FILE_VARIABLE).map(PathBuf::from)
}

/// The part of the cluster that one run of the suite uses.
pub struct Cluster<'n> {
    pub network: &'n FoundationDbNetwork,
    pub file: PathBuf,
    /// What all prefixes of this run begin with; a `/` and one byte follow in each.
    run: Vec<u8>,
    next: AtomicU8,
}

impl<'n> Cluster<'n> {
    pub fn new(network: &'n FoundationDbNetwork, file: PathBuf) -> Self {
        let mut run = *b"t-----";
        Random::from_entropy().fill(&mut run[1..]);
        Self {
            network,
            file,
            run: run.to_vec(),
            next: AtomicU8::new(0),
        }
    }

    /// The cluster as a process sees it that shares one store with the one that started it.
    pub fn of_child(network: &'n FoundationDbNetwork, file: PathBuf, prefix: &str) -> Self {
        let digits: Vec<_> = prefix.as_bytes().chunks(2).collect();
        let byte =
            |digits: &&[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        Self {
            network,
            file,
            run: digits.iter().map(byte).collect(),
            next: AtomicU8::new(0),
        }
    }

    /// A prefix that nobody else uses.
    pub fn new_prefix(&self) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(number < u8::MAX, "every store of a run has its own byte");
        [&self.run[..], b"/", &[number]].concat()
    }

    pub fn new_store(&self) -> Arc<FoundationDbKv> {
        self.store_at(&self.new_prefix())
    }

    /// The store of which a child was told.
    pub fn shared_store(&self) -> Arc<FoundationDbKv> {
        self.store_at(&self.run)
    }

    pub fn store_at(&self, prefix: &[u8]) -> Arc<FoundationDbKv> {
        Arc::new(open(self.network, &self.file, prefix))
    }

    /// Whether the cluster answers.
    pub async fn is_there(&self) -> bool {
        open(self.network, &self.file, &self.run)
            .sync()
            .await
            .is_ok()
    }

    /// Removes all that the run has left.
    pub async fn clear(&self) {
        let all = open(self.network, &self.file, &self.run);
        let random = Random::from_entropy();
        let cleared = transact(&all, &random, |transaction| async move {
            transaction.clear_range(&KeyRange::new("/", "0"));
            transaction.commit().await
        });
        if let Err(error) = cleared.await {
            println!("what the run wrote is still there: {error}");
        }
    }
}

fn open(network: &FoundationDbNetwork, file: &Path, prefix: &[u8]) -> FoundationDbKv {
    let options = FoundationDbOptions {
        cluster_file: file.to_owned(),
        prefix: Bytes::copy_from_slice(prefix),
    };
    FoundationDbKv::open(network, &options).unwrap()
}
