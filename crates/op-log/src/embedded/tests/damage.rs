use std::fs;
use std::path::Path;

use super::*;
use crate::embedded::Damage;
use crate::embedded::format::{
    ALIGNMENT, GROUP_HEADER_BYTES, GroupHeader, GroupPlace, SegmentHeader,
};
use crate::embedded::journal::segment_name;

/// A log of several segments, each of several groups.
async fn log_of_segments(directory: &TempDir) {
    let log = open(real_disk(directory)).unwrap();
    for number in 0..40_u8 {
        append(&log, LogPartition(u32::from(number) % 2), vec![number; 700])
            .await
            .unwrap();
    }
    drop(log);
    let segment_count = real_disk(directory).list().unwrap().len();
    assert!(segment_count >= 4, "{segment_count} segments");
}

fn damage(directory: &TempDir) -> Damage {
    match open(real_disk(directory)).map(drop) {
        Err(error @ OpenError::Damaged(_)) => {
            assert!(
                error
                    .to_string()
                    .contains("Restore the directory from a copy")
            );
            let OpenError::Damaged(damage) = error else {
                unreachable!()
            };
            damage
        }
        other => panic!("damage was expected, not {other:?}"),
    }
}

/// Where the groups of a segment begin, and how many bytes each has that mean something.
fn groups(path: &Path) -> Vec<(usize, usize)> {
    let bytes = fs::read(path).unwrap();
    let SegmentHeader {
        journal_id,
        number: segment,
        ..
    } = SegmentHeader::decode(&bytes).unwrap();
    let mut groups = Vec::new();
    let mut position = SegmentHeader::encoded_bytes(2);
    while let Some(header) = bytes.get(position..).and_then(|bytes| {
        GroupHeader::decode(
            bytes,
            GroupPlace {
                journal_id,
                segment,
                position: position as u64,
            },
        )
    }) {
        groups.push((position, GROUP_HEADER_BYTES + header.body_bytes));
        position += header.group_bytes();
    }
    groups
}

#[tokio::test]
async fn a_changed_byte_that_groups_follow_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    log_of_segments(&directory).await;
    let last = segment_number(&directory, usize::MAX);
    for (number, has_successor) in [(1, true), (last, false)] {
        let path = directory.path().join(segment_name(number));
        let whole = fs::read(&path).unwrap();
        let groups = groups(&path);
        let (start, bytes) = groups[groups.len() / 2];
        assert!(has_successor || groups.len() / 2 + 1 < groups.len());
        // Every byte of the header, and some of the body.
        for at in (0..GROUP_HEADER_BYTES).chain((GROUP_HEADER_BYTES..bytes).step_by(97)) {
            let mut changed = whole.clone();
            changed[start + at] ^= 0x10;
            fs::write(&path, &changed).unwrap();
            let damage = damage(&directory);
            assert_eq!(
                (damage.file, damage.position),
                (segment_name(number), start as u64)
            );
        }
        let mut zeroed = whole.clone();
        zeroed[start..start + bytes].fill(0);
        fs::write(&path, &zeroed).unwrap();
        assert_eq!(damage(&directory).position, start as u64);
        fs::write(&path, &whole).unwrap();
    }
    assert!(open(real_disk(&directory)).is_ok());
}

/// The number of the nth segment there is, or of the last.
fn segment_number(directory: &TempDir, nth: usize) -> u64 {
    let names = real_disk(directory).list().unwrap();
    super::super::segment_number(&names[nth.min(names.len() - 1)]).unwrap()
}

#[tokio::test]
async fn the_end_of_a_closed_segment_may_not_be_missing() {
    let directory = tempfile::tempdir().unwrap();
    log_of_segments(&directory).await;
    let path = directory.path().join(segment_name(1));
    let (last_start, _) = *groups(&path).last().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..last_start + ALIGNMENT]).unwrap();
    let Damage { file, position, .. } = damage(&directory);
    assert_eq!((file, position), (segment_name(1), last_start as u64));
}

#[tokio::test]
async fn missing_and_foreign_segments_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    log_of_segments(&directory).await;
    let path = |number| directory.path().join(segment_name(number));
    let aside = directory.path().join("aside");

    fs::rename(path(1), &aside).unwrap();
    assert_eq!(damage(&directory).file, segment_name(1));
    fs::copy(path(2), path(1)).unwrap();
    assert_eq!(
        damage(&directory).finding,
        "it is another segment under this name"
    );
    fs::rename(&aside, path(1)).unwrap();

    fs::rename(path(0), &aside).unwrap();
    let missing = damage(&directory);
    assert_eq!(
        missing.finding,
        "segments before it are missing, and their entries were not trimmed"
    );
    fs::rename(&aside, path(0)).unwrap();

    // The same segment of a log that only had the same beginnings.
    let other = tempfile::tempdir().unwrap();
    let random = Random::from_seed(8);
    let log = EmbeddedOpLog::open(real_disk(&other), &small_options(), &random).unwrap();
    for number in 0..40_u8 {
        append(&log, LogPartition(u32::from(number) % 2), vec![number; 700])
            .await
            .unwrap();
    }
    drop(log);
    let ours = fs::read(path(1)).unwrap();
    fs::copy(other.path().join(segment_name(1)), path(1)).unwrap();
    assert_eq!(
        damage(&directory).finding,
        "it does not continue the segment before it"
    );
    fs::write(path(1), ours).unwrap();
    assert!(open(real_disk(&directory)).is_ok());
}

#[tokio::test]
async fn a_damaged_segment_header_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    log_of_segments(&directory).await;
    let path = directory.path().join(segment_name(2));
    let whole = fs::read(&path).unwrap();
    for (at, finding) in [
        (0, "it does not begin like a segment of the log"),
        (30, "its header has a wrong checksum"),
        (60, "its header has a wrong checksum"),
    ] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert_eq!(damage(&directory).finding, finding);
    }
    let mut newer = whole;
    newer[8] = 2;
    fs::write(&path, &newer).unwrap();
    let refused = open(real_disk(&directory)).map(drop);
    assert!(
        matches!(
            refused,
            Err(OpenError::UnsupportedVersion {
                version: 2,
                supported: 1,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_partition_count_is_fixed_for_life() {
    let directory = tempfile::tempdir().unwrap();
    log_of_segments(&directory).await;
    let open = |partition_count| {
        let options = EmbeddedLogOptions::new(partition_count);
        EmbeddedOpLog::open(real_disk(&directory), &options, &Random::from_seed(7)).map(drop)
    };
    let changed = open(3);
    assert!(
        matches!(
            changed,
            Err(OpenError::PartitionCountChanged {
                stored: 2,
                configured: 3
            })
        ),
        "{changed:?}"
    );
    for invalid in [0, 1_025] {
        assert!(matches!(
            open(invalid),
            Err(OpenError::InvalidPartitionCount { .. })
        ));
    }
    assert!(open(2).is_ok());
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(real_disk(&directory)).unwrap();
    assert!(matches!(
        open(real_disk(&directory)),
        Err(OpenError::Locked)
    ));
    drop(first);
    assert!(open(real_disk(&directory)).is_ok());
}

#[tokio::test]
async fn a_segment_that_was_being_begun_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    log_of_segments(&directory).await;
    let next = segment_number(&directory, usize::MAX) + 1;
    let unfinished = directory
        .path()
        .join(format!("{}.unfinished", segment_name(next)));
    fs::write(&unfinished, b"half a hea").unwrap();
    let log: Arc<dyn OpLog> = Arc::new(open(real_disk(&directory)).unwrap());
    assert!(!unfinished.exists());
    assert_eq!(read_all(&log, FIRST).await.len(), 20);
}
