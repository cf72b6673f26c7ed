use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::embedded::format::{ALIGNMENT, GroupBuilder, SegmentHeader};
use crate::embedded::journal::{Journal, segment_name};
use crate::embedded::recovery::recover;

/// A journal of three groups on a real disk, the last of them with three records. Returns where the
/// last group begins and ends, its padding left out.
fn journal_of_three_groups(directory: &TempDir) -> (usize, usize) {
    let disk = real_disk(directory);
    Journal::create(disk.as_ref(), 77, 2).unwrap();
    let end = recover(disk.as_ref(), &[], 0, 2).unwrap().end;
    let mut journal = Journal::new(disk, end, 1 << 20);
    let document = DocumentId::parse("doc").unwrap();
    let mut group = GroupBuilder::default();
    let mut span = (0, 0);
    for records in [
        &[(0, 0, 300)][..],
        &[(1, 0, 900)],
        &[(0, 1, 600), (1, 1, 500), (0, 2, 40)],
    ] {
        group.clear();
        let mut bytes = 28;
        for (partition, offset, record_bytes) in records {
            let record = vec![b'r'; *record_bytes];
            bytes += GroupBuilder::record_entry_bytes(&document, &record);
            group.record(
                LogPartition(*partition),
                LogOffset(*offset),
                &document,
                &record,
            );
        }
        let written = journal.write(&mut group, false).unwrap();
        let start = usize::try_from(written.position).unwrap();
        span = (start, start + bytes);
    }
    span
}

/// What a log finds in a directory whose one segment is `bytes`.
async fn tails_after_restart(bytes: &[u8]) -> (u64, u64) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(segment_name(0)), bytes).unwrap();
    let disk = faulty_disk(&directory, FaultyDiskOptions::new(1));
    let log: Arc<dyn OpLog> = Arc::new(open(disk).unwrap());
    (
        read_all(&log, FIRST).await.len() as u64,
        read_all(&log, SECOND).await.len() as u64,
    )
}

/// Whether a log with that one segment goes on at `tails`, and what was torn does not come back.
async fn check_goes_on(bytes: &[u8], tails: (u64, u64)) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(segment_name(0)), bytes).unwrap();
    let disk = faulty_disk(&directory, FaultyDiskOptions::new(1));
    let log: Arc<dyn OpLog> = Arc::new(open(Arc::clone(&disk) as _).unwrap());
    let document = DocumentId::parse("doc").unwrap();
    let offset = log
        .append(FIRST, &document, Bytes::from_static(b"new"))
        .await
        .unwrap();
    assert_eq!(offset.0, tails.0);
    drop(log);
    let log: Arc<dyn OpLog> = Arc::new(open(disk).unwrap());
    assert_eq!(read_all(&log, FIRST).await.len() as u64, tails.0 + 1);
    assert_eq!(read_all(&log, SECOND).await.len() as u64, tails.1);
}

#[tokio::test]
async fn a_last_group_torn_at_any_byte_is_dropped_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (start, end) = journal_of_three_groups(&directory);
    let whole = std::fs::read(directory.path().join(segment_name(0))).unwrap();
    assert_eq!(tails_after_restart(&whole).await, (3, 2));
    for cut in start..end {
        // The file ends there, or was filled with zeros from there on.
        assert_eq!(
            tails_after_restart(&whole[..cut]).await,
            (1, 1),
            "cut at {cut}"
        );
        let mut zeroed = whole.clone();
        zeroed[cut..].fill(0);
        // A record's own zeros can't be told from missing ones, but none here ends in one.
        assert_eq!(
            tails_after_restart(&zeroed).await,
            (1, 1),
            "zeros from {cut}"
        );
        if cut % 50 == 0 {
            check_goes_on(&whole[..cut], (1, 1)).await;
            check_goes_on(&zeroed, (1, 1)).await;
        }
    }
}

#[tokio::test]
async fn a_last_group_with_any_sectors_missing_is_dropped_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (start, end) = journal_of_three_groups(&directory);
    let whole = std::fs::read(directory.path().join(segment_name(0))).unwrap();
    let sector_count = (end - start).div_ceil(ALIGNMENT);
    assert_eq!(sector_count, 3);
    for missing in 1..1_u32 << sector_count {
        let mut torn = whole.clone();
        for sector in (0..sector_count).filter(|sector| missing & (1 << sector) != 0) {
            torn[start + sector * ALIGNMENT..][..ALIGNMENT].fill(0);
        }
        assert_eq!(
            tails_after_restart(&torn).await,
            (1, 1),
            "sectors {missing:b} missing"
        );
        check_goes_on(&torn, (1, 1)).await;
    }
}

#[tokio::test]
async fn a_torn_record_that_holds_a_copy_of_a_group_is_a_torn_record() {
    let directory = tempfile::tempdir().unwrap();
    let (start, end) = journal_of_three_groups(&directory);
    let whole = std::fs::read(directory.path().join(segment_name(0))).unwrap();
    let header_bytes = SegmentHeader::encoded_bytes(2);
    let mut torn = whole.clone();
    // The group's first sector is missing; behind it, a record shows a group with a valid checksum
    // for the place where it was copied.
    torn[start..start + ALIGNMENT].fill(0);
    torn.copy_within(start - 2 * ALIGNMENT..start, start + ALIGNMENT);
    assert!(start - 2 * ALIGNMENT > header_bytes && torn.len() > end);
    assert_eq!(tails_after_restart(&torn).await, (1, 1));
}

/// What a crash test may find.
#[derive(Debug)]
#[allow(dead_code)] // Read by `Debug`, when a test fails.
enum Violation {
    /// An entry that somebody was told of is gone or changed.
    Lost {
        partition: LogPartition,
        offset: u64,
    },
    /// An entry is there that nobody appended at that place.
    Invented {
        partition: LogPartition,
        offset: u64,
    },
    /// The log does not open.
    Refused(OpenError),
}

/// Several lives of one log on a disk that loses what is not synced, each ended by a crash at any
/// moment. Checks after each that every entry that was acknowledged or read is there.
async fn lives(directory: &Path, seed: u64, lies_about_syncs: bool) -> Result<(), Violation> {
    let random = Random::from_seed(seed);
    let disk = FaultyDisk::open(directory, FaultyDiskOptions::new(seed)).unwrap();
    let disk = Arc::new(disk);
    // What somebody was told of, and what may have been written after it, in order.
    let mut known: [BTreeMap<u64, Bytes>; 2] = Default::default();
    let mut trim_points = [0; 2];
    let mut number = 0_u64;
    for _life in 0..6 {
        let log = open(Arc::clone(&disk) as _).map_err(Violation::Refused)?;
        disk.set_lies_about_syncs(lies_about_syncs);
        let log: Arc<dyn OpLog> = Arc::new(log);
        let mut next = number;
        for partition in [FIRST, SECOND] {
            let known = &mut known[partition.0 as usize];
            let trim_point = log.trim_point(partition).await.unwrap().0;
            let trimmed_before = &mut trim_points[partition.0 as usize];
            if trim_point < *trimmed_before {
                return Err(Violation::Lost {
                    partition,
                    offset: trim_point,
                });
            }
            *trimmed_before = trim_point;
            let found = read_all(&log, partition).await;
            known.retain(|offset, _| *offset >= trim_point);
            for (offset, record) in known.iter() {
                let index = usize::try_from(offset - trim_point).unwrap();
                if found.get(index).is_none_or(|entry| entry.record != *record) {
                    return Err(Violation::Lost {
                        partition,
                        offset: *offset,
                    });
                }
            }
            let mut last = None;
            for entry in found {
                let number = u64::from_le_bytes(entry.record[..8].try_into().unwrap());
                if last.is_some_and(|last| number <= last)
                    || entry.record[8] != record_of(partition)
                {
                    return Err(Violation::Invented {
                        partition,
                        offset: entry.offset.0,
                    });
                }
                last = Some(number);
                known.insert(entry.offset.0, entry.record);
            }
        }
        for _ in 0..random.below(20) {
            let mut waiting = Vec::new();
            for _ in 0..1 + random.below(6) {
                let partition = LogPartition(u32::try_from(random.below(2)).unwrap());
                let mut record = next.to_le_bytes().to_vec();
                next += 1;
                record.resize(
                    9 + usize::try_from(random.below(2_000)).unwrap(),
                    record_of(partition),
                );
                let record = Bytes::from(record);
                let document = DocumentId::parse("doc").unwrap();
                waiting.push((
                    partition,
                    record.clone(),
                    log.append(partition, &document, record),
                ));
            }
            if random.chance(0.1) {
                // The rest of this life's appends are in flight when the power goes.
                break;
            }
            for (partition, record, append) in waiting {
                let offset = append.await.unwrap();
                known[partition.0 as usize].insert(offset.0, record);
            }
            if random.chance(0.2) {
                let partition = LogPartition(u32::try_from(random.below(2)).unwrap());
                let end = random.below(log.tail(partition).await.unwrap().0 + 1);
                log.trim(partition, LogOffset(end)).await.unwrap();
                trim_points[partition.0 as usize] = end.max(trim_points[partition.0 as usize]);
            }
        }
        number = next;
        disk.crash().unwrap();
        drop(log);
    }
    Ok(())
}

fn record_of(partition: LogPartition) -> u8 {
    partition.0.to_le_bytes()[0] + b'a'
}

#[tokio::test]
async fn no_crash_loses_what_was_acknowledged_or_read() {
    for seed in 0..150 {
        let directory = tempfile::tempdir().unwrap();
        if let Err(violation) = lives(directory.path(), seed, false).await {
            panic!("seed {seed}: {violation:?}");
        }
    }
}

/// The planted bug: were the log to forget its syncs, the test above would fail.
#[tokio::test]
async fn the_crash_test_notices_a_log_that_does_not_sync() {
    let mut caught_count = 0;
    for seed in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        caught_count += usize::from(lives(directory.path(), seed, true).await.is_err());
    }
    assert!(caught_count >= 15, "caught with {caught_count} of 20 seeds");
}
