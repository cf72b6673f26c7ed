use futures::future::join_all;
use futures::poll;

use super::*;
use crate::{AppendError, ReadError, TrimError};

#[tokio::test]
async fn after_a_failed_sync_the_log_stops() {
    let directory = tempfile::tempdir().unwrap();
    let disk = faulty_disk(&directory, FaultyDiskOptions::new(5));
    let log = open(Arc::clone(&disk) as _).unwrap();
    append(&log, FIRST, "durable").await.unwrap();
    let mut waiting = log.read(FIRST, LogOffset(1), ReadLimit::default());
    assert!(poll!(&mut waiting).is_pending());

    disk.fail_sync_after(0);
    let in_the_group = append(&log, FIRST, "lost or not").await;
    assert!(
        matches!(in_the_group, Err(AppendError::Unknown(_))),
        "{in_the_group:?}"
    );
    for _ in 0..3 {
        // The disk would answer Ok now: the log must not ask.
        let later = append(&log, SECOND, "later").await;
        assert!(matches!(later, Err(AppendError::Failed(_))), "{later:?}");
    }
    assert!(matches!(waiting.await, Err(ReadError::Unavailable(_))));
    let trim = log.trim(FIRST, LogOffset(1)).await;
    assert!(matches!(trim, Err(TrimError::Unavailable(_))), "{trim:?}");
    let durable = log
        .read(FIRST, LogOffset(0), ReadLimit::default())
        .await
        .unwrap();
    assert_eq!(
        durable.len(),
        1,
        "what is durable can still be read, and nothing else"
    );

    disk.crash().unwrap();
    drop(log);
    let log: Arc<dyn OpLog> = Arc::new(open(disk).unwrap());
    let found = read_all(&log, FIRST).await;
    assert_eq!(found[0].record, "durable");
    assert!(found.len() == 1 || found[1].record == "lost or not");
    assert_eq!(read_all(&log, SECOND).await, []);
}

/// After a failed sync the operating system may show pages as written that are not. A process that
/// restarts on the same machine reads them, and must not hand them on before they really are.
#[tokio::test]
async fn a_group_that_only_looks_written_is_written_again() {
    for seed in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let disk = faulty_disk(&directory, FaultyDiskOptions::new(seed));
        let log = open(Arc::clone(&disk) as _).unwrap();
        append(&log, FIRST, vec![1; 5_000]).await.unwrap();
        disk.fail_sync_after(0);
        append(&log, FIRST, vec![2; 5_000]).await.unwrap_err();
        drop(log);

        let log: Arc<dyn OpLog> = Arc::new(open(Arc::clone(&disk) as _).unwrap());
        let read = read_all(&log, FIRST).await;
        assert_eq!(read.len(), 2);
        disk.crash().unwrap();
        drop(log);
        let log: Arc<dyn OpLog> = Arc::new(open(disk).unwrap());
        assert_eq!(read_all(&log, FIRST).await, read, "seed {seed}");
    }
}

#[tokio::test]
async fn a_full_disk_fails_appends_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let disk = faulty_disk(&directory, FaultyDiskOptions::new(5));
    let log = open(Arc::clone(&disk) as _).unwrap();
    let mut written_count = 0;
    disk.set_full(true);
    let error = loop {
        match append(&log, FIRST, vec![1; 10_000]).await {
            Ok(_) => written_count += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, AppendError::Failed(_)) && error.is_retryable(),
        "{error:?}"
    );

    // Trimming works nonetheless, and appending does once there is room.
    log.trim(FIRST, LogOffset(written_count)).await.unwrap();
    disk.set_full(false);
    assert_eq!(
        append(&log, FIRST, "room").await.unwrap(),
        LogOffset(written_count)
    );
    disk.crash().unwrap();
    drop(log);
    let log: Arc<dyn OpLog> = Arc::new(open(disk).unwrap());
    assert_eq!(
        log.trim_point(FIRST).await.unwrap(),
        LogOffset(written_count)
    );
    assert_eq!(read_all(&log, FIRST).await.len(), 1);
}

#[tokio::test]
async fn closing_writes_what_is_enqueued_and_refuses_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(real_disk(&directory)).unwrap();
    let enqueued: Vec<_> = (0..100).map(|_| append(&log, FIRST, "enqueued")).collect();
    let waiting = log.read(SECOND, LogOffset(0), ReadLimit::default());
    log.close();
    for result in join_all(enqueued).await {
        result.unwrap();
    }
    assert!(matches!(waiting.await, Err(ReadError::Closed)));
    assert!(matches!(
        append(&log, FIRST, "late").await,
        Err(AppendError::Closed)
    ));
    assert!(matches!(log.tail(FIRST).await, Err(ReadError::Closed)));
    assert!(matches!(
        log.trim(FIRST, LogOffset(1)).await,
        Err(TrimError::Closed)
    ));
    // The directory is free although the closed log is still there.
    let next: Arc<dyn OpLog> = Arc::new(open(real_disk(&directory)).unwrap());
    assert_eq!(read_all(&next, FIRST).await.len(), 100);
}
