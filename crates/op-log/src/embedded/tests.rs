mod crash;
mod damage;
mod errors;
mod segments;

use std::sync::Arc;

use bytes::Bytes;
use clock::Random;
use disk::{Disk, FaultyDisk, FaultyDiskOptions, RealDisk};
use document_types::{DocumentId, LogOffset, LogPartition};
use tempfile::TempDir;

use super::{EmbeddedLogOptions, EmbeddedOpLog, OpenError};
use crate::conformance::read_to_tail;
use crate::{AppendFuture, LogEntry, OpLog, ReadLimit};

const FIRST: LogPartition = LogPartition(0);
const SECOND: LogPartition = LogPartition(1);

/// Two partitions, and segments of a few groups.
fn small_options() -> EmbeddedLogOptions {
    EmbeddedLogOptions {
        segment_bytes: 8 * 1024,
        ..EmbeddedLogOptions::new(2)
    }
}

fn open(disk: Arc<dyn Disk>) -> Result<EmbeddedOpLog, OpenError> {
    EmbeddedOpLog::open(disk, &small_options(), &Random::from_seed(7))
}

fn real_disk(directory: &TempDir) -> Arc<dyn Disk> {
    Arc::new(RealDisk::open(directory.path()).unwrap())
}

fn faulty_disk(directory: &TempDir, options: FaultyDiskOptions) -> Arc<FaultyDisk> {
    Arc::new(FaultyDisk::open(directory.path(), options).unwrap())
}

fn append(log: &EmbeddedOpLog, partition: LogPartition, record: impl Into<Bytes>) -> AppendFuture {
    log.append(partition, &DocumentId::parse("doc").unwrap(), record.into())
}

async fn read_all(log: &Arc<dyn OpLog>, partition: LogPartition) -> Vec<LogEntry> {
    let from = log.trim_point(partition).await.unwrap();
    read_to_tail(log, partition, from, ReadLimit::default()).await
}

async fn on_a_real_disk() -> (Arc<dyn OpLog>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Arc::new(open(real_disk(&directory)).unwrap()), directory)
}

async fn on_a_faulty_disk() -> (Arc<dyn OpLog>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let disk = faulty_disk(&directory, FaultyDiskOptions::new(1));
    (Arc::new(open(disk).unwrap()), directory)
}

mod conformance_on_a_real_disk {
    crate::conformance_tests!(
        #[tokio::test]
        super::on_a_real_disk
    );
}

mod conformance_on_a_faulty_disk {
    crate::conformance_tests!(
        #[tokio::test]
        super::on_a_faulty_disk
    );
}

#[tokio::test]
async fn a_log_keeps_its_id_and_another_has_another() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let random = Random::from_seed(7);
    let id = |directory| {
        let log = EmbeddedOpLog::open(real_disk(directory), &small_options(), &random).unwrap();
        log.id().to_owned()
    };
    assert_eq!(id(&first), id(&first));
    assert_ne!(id(&first), id(&second));
}

/// Reads what memory has let go of: the same answers from the disk.
#[tokio::test]
async fn entries_are_read_from_the_disk_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(real_disk(&directory)).unwrap();
    for number in 0..500_u32 {
        // The second partition has an entry here and there, to be found between the first's.
        drop(append(&log, FIRST, vec![number.to_le_bytes()[0]; 700]));
        if number % 50 == 0 {
            append(&log, SECOND, number.to_string()).await.unwrap();
        }
    }
    append(&log, FIRST, "last").await.unwrap();
    drop(log);

    let log: Arc<dyn OpLog> = Arc::new(open(real_disk(&directory)).unwrap());
    let entries = read_all(&log, FIRST).await;
    assert_eq!(entries.len(), 501);
    for (number, entry) in (0..500_u32).zip(&entries) {
        assert_eq!(entry.record, vec![number.to_le_bytes()[0]; 700]);
    }
    let entries = read_all(&log, SECOND).await;
    let expected: Vec<_> = (0..10)
        .map(|number| Bytes::from((50 * number).to_string()))
        .collect();
    assert_eq!(
        entries
            .into_iter()
            .map(|entry| entry.record)
            .collect::<Vec<_>>(),
        expected
    );
    let limit = ReadLimit {
        entries_max: 3,
        bytes_max: usize::MAX,
    };
    let middle = log.read(FIRST, LogOffset(250), limit).await.unwrap();
    assert_eq!(
        middle
            .iter()
            .map(|entry| entry.offset.0)
            .collect::<Vec<_>>(),
        [250, 251, 252]
    );
}
