use super::*;

fn segment_count(directory: &TempDir) -> usize {
    real_disk(directory).list().unwrap().len()
}

#[tokio::test]
async fn segments_below_all_trim_points_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(real_disk(&directory)).unwrap();
    for number in 0..100_u8 {
        append(&log, FIRST, vec![number; 700]).await.unwrap();
    }
    append(&log, SECOND, "holds the last segments")
        .await
        .unwrap();
    for number in 100..200_u8 {
        append(&log, FIRST, vec![number; 700]).await.unwrap();
    }
    let all_count = segment_count(&directory);
    log.trim(FIRST, LogOffset(200)).await.unwrap();
    let held_count = segment_count(&directory);
    assert!(held_count < all_count / 2 + 3 && held_count > all_count / 3);
    log.trim(SECOND, LogOffset(1)).await.unwrap();
    assert_eq!(segment_count(&directory), 1);

    // Everything was trimmed, but nothing forgotten.
    for _restart in 0..2 {
        log.close();
        let log = open(real_disk(&directory)).unwrap();
        assert_eq!(log.trim_point(FIRST).await.unwrap(), LogOffset(200));
        assert_eq!(log.tail(FIRST).await.unwrap(), LogOffset(200));
        assert_eq!(log.tail(SECOND).await.unwrap(), LogOffset(1));
    }
    let log = open(real_disk(&directory)).unwrap();
    assert_eq!(append(&log, FIRST, "next").await.unwrap(), LogOffset(200));
}

#[tokio::test]
async fn a_segment_trimmed_while_it_was_written_to_goes_when_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(real_disk(&directory)).unwrap();
    for number in 0..200_u64 {
        append(&log, FIRST, vec![7; 700]).await.unwrap();
        log.trim(FIRST, LogOffset(number + 1)).await.unwrap();
        assert!(
            segment_count(&directory) <= 2,
            "a trimmed log does not grow"
        );
    }
}

#[tokio::test]
async fn a_reader_is_not_disturbed_by_the_removal_of_what_it_reads() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(real_disk(&directory)).unwrap();
    for number in 0..100_u8 {
        append(&log, FIRST, vec![number; 700]).await.unwrap();
    }
    drop(log);
    let log: Arc<dyn OpLog> = Arc::new(open(real_disk(&directory)).unwrap());
    let trimming = async {
        for end in 1..=100 {
            log.trim(FIRST, LogOffset(end)).await.unwrap();
        }
    };
    let reading = async {
        let mut next = LogOffset(0);
        while next < LogOffset(100) {
            match log
                .read(
                    FIRST,
                    next,
                    ReadLimit {
                        entries_max: 3,
                        bytes_max: 10_000,
                    },
                )
                .await
            {
                Ok(entries) => {
                    for entry in entries {
                        assert_eq!(entry.record[0], u8::try_from(entry.offset.0).unwrap());
                        next = entry.offset.next();
                    }
                }
                Err(crate::ReadError::Trimmed { trim_point }) => next = trim_point,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    futures::join!(trimming, reading);
}
