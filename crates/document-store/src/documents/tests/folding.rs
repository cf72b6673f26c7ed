use document_types::VersionVector;
use document_types::limits::{
    FOLD_AGE_MAX, FOLD_TAIL_BYTES_MIN, FOLD_UPDATES_MAX, ORPHAN_CHUNK_AGE_MAX,
};

use super::*;
use crate::keyspace::{Key, UpdateSequence};

over_both! {
    a_fold_takes_the_tail_up_and_the_next_begins_with_it
    the_last_two_snapshots_stay_and_the_tail_of_the_newer_one
    of_two_folds_at_once_one_counts
    an_unfinished_fold_is_swept_after_an_hour
    a_snapshot_of_many_pieces_is_read_back_and_checked
    a_fold_is_due_by_count_size_and_age
}

async fn stored_updates(store: &DocumentStore) -> usize {
    let all = Key::updates(&document(), UpdateSequence(0), UpdateSequence(u64::MAX));
    count_keys(store, all).await
}

async fn snapshot_keys(store: &DocumentStore, number: u128) -> usize {
    count_keys(store, Key::snapshot(&document(), snapshot_id(number))).await
}

async fn a_fold_takes_the_tail_up_and_the_next_begins_with_it(store: DocumentStore) {
    assert_eq!(
        fold(&store, snapshot_id(1)).await,
        None,
        "there is no document"
    );
    append_ops(&store, 1, 10).await;
    assert_eq!(fold(&store, snapshot_id(1)).await, Some(FoldOutcome::Done));
    assert_eq!(fold(&store, snapshot_id(2)).await, None, "there is no tail");
    append_ops(&store, 2, 5).await;

    let input = store.begin_fold(&document()).await.unwrap().unwrap();
    assert_eq!(input.started_from, Some(snapshot_id(1)));
    assert_eq!(unfold(input.snapshot.clone().unwrap()).len(), 10);
    assert_eq!(input.tail.len(), 5);
    let expected: VersionVector = [(PeerId(1), 10), (PeerId(2), 5)].into_iter().collect();
    assert_eq!(input.version, expected);

    // While the fold works, the tail grows; it stays the tail.
    append_ops(&store, 3, 1).await;
    let bytes = fold_bytes(&input);
    store
        .write_snapshot(&document(), snapshot_id(3), &bytes, &input.version, 0)
        .await
        .unwrap();
    let folded = FoldedSnapshot::new(snapshot_id(3), &bytes);
    let done = store
        .finish_fold(&document(), &input, folded)
        .await
        .unwrap();
    assert_eq!(done, FoldOutcome::Done);
    let again = store
        .finish_fold(&document(), &input, folded)
        .await
        .unwrap();
    assert_eq!(
        again,
        FoldOutcome::Done,
        "asking again after an unknown result is harmless"
    );
    let head = store.head(&document()).await.unwrap().unwrap();
    let tail_bytes = small(3, 0, 1).to_wire().encoded_len() as u64;
    assert_eq!((head.tail_count(), head.tail_bytes()), (1, tail_bytes));
    assert_eq!(
        HlcTimestamp::from_u64(head.tail_since_hlc),
        small(3, 0, 1).stamp.hlc
    );
}

async fn the_last_two_snapshots_stay_and_the_tail_of_the_newer_one(store: DocumentStore) {
    for number in 1..=4 {
        append_ops(&store, 1, 10).await;
        assert_eq!(
            fold(&store, snapshot_id(number)).await,
            Some(FoldOutcome::Done)
        );
        // What the snapshot before this one does not hold can still be read as updates.
        assert_eq!(stored_updates(&store).await, 10);
        assert!(snapshot_keys(&store, number).await > 0);
        assert_eq!(snapshot_keys(&store, number - 1).await > 0, number > 1);
        if number > 2 {
            assert_eq!(snapshot_keys(&store, number - 2).await, 0);
        }
    }
    let head = store.head(&document()).await.unwrap().unwrap();
    assert_eq!((head.folded_to().0, head.trimmed_to().0), (40, 30));
    assert_eq!(head.tail_since_hlc, 0);
}

async fn of_two_folds_at_once_one_counts(store: DocumentStore) {
    append_ops(&store, 1, 10).await;
    let slow = store.begin_fold(&document()).await.unwrap().unwrap();
    append_ops(&store, 1, 10).await;
    assert_eq!(fold(&store, snapshot_id(1)).await, Some(FoldOutcome::Done));
    let bytes = fold_bytes(&slow);
    store
        .write_snapshot(&document(), snapshot_id(2), &bytes, &slow.version, 0)
        .await
        .unwrap();
    let folded = FoldedSnapshot::new(snapshot_id(2), &bytes);
    let outcome = store.finish_fold(&document(), &slow, folded).await.unwrap();
    assert_eq!(outcome, FoldOutcome::Superseded);
    assert_eq!(
        snapshot_keys(&store, 2).await,
        0,
        "what it wrote is removed"
    );
    let head = store.head(&document()).await.unwrap().unwrap();
    assert_eq!(head.folded_to(), UpdateSequence(20));
    assert!(snapshot_keys(&store, 1).await > 0);
}

async fn an_unfinished_fold_is_swept_after_an_hour(store: DocumentStore) {
    append_ops(&store, 1, 1).await;
    fold(&store, snapshot_id(1)).await;
    append_ops(&store, 1, 1).await;
    fold(&store, snapshot_id(2)).await;
    append_ops(&store, 1, 1).await;
    let input = store.begin_fold(&document()).await.unwrap().unwrap();
    let bytes = fold_bytes(&input);
    let begun_ms = 10_000_000;
    store
        .write_snapshot(
            &document(),
            snapshot_id(3),
            &bytes,
            &input.version,
            begun_ms,
        )
        .await
        .unwrap();
    let hour_ms = u64::try_from(ORPHAN_CHUNK_AGE_MAX.as_millis()).unwrap();
    assert_eq!(
        store
            .sweep_snapshots(&document(), begun_ms + hour_ms)
            .await
            .unwrap(),
        0
    );
    assert!(snapshot_keys(&store, 3).await > 0);
    assert_eq!(
        store
            .sweep_snapshots(&document(), begun_ms + hour_ms + 1)
            .await
            .unwrap(),
        1
    );
    assert_eq!(snapshot_keys(&store, 3).await, 0);
    assert!(snapshot_keys(&store, 1).await > 0 && snapshot_keys(&store, 2).await > 0);
    // The fold that was thought dead comes to its end, and learns that it is too late.
    let folded = FoldedSnapshot::new(snapshot_id(3), &bytes);
    let outcome = store
        .finish_fold(&document(), &input, folded)
        .await
        .unwrap();
    assert_eq!(outcome, FoldOutcome::Superseded);
    assert_eq!(fold(&store, snapshot_id(4)).await, Some(FoldOutcome::Done));
}

async fn a_snapshot_of_many_pieces_is_read_back_and_checked(store: DocumentStore) {
    append_ops(&store, 1, 1).await;
    let input = store.begin_fold(&document()).await.unwrap().unwrap();
    let bytes: Bytes = (0..3_000_000_u32)
        .map(|at| at.to_le_bytes()[at as usize % 3])
        .collect();
    let version: VersionVector = (1..=20_000).map(|peer| (PeerId(peer), 7)).collect();
    let id = snapshot_id(1);
    store
        .write_snapshot(&document(), id, &bytes, &version, 0)
        .await
        .unwrap();
    let folded = FoldedSnapshot::new(id, &bytes);
    store
        .finish_fold(&document(), &input, folded)
        .await
        .unwrap();
    append_ops(&store, 30_000, 1).await;
    let input = store.begin_fold(&document()).await.unwrap().unwrap();
    assert_eq!(input.snapshot, Some(bytes));
    assert_eq!(input.version.len(), 20_001);

    let transaction = store.kv.begin().await.unwrap();
    transaction.set(&Key::SnapshotBytes(document(), id, 3).pack(), b"damage");
    transaction.commit().await.unwrap();
    let refused = store.begin_fold(&document()).await;
    let Err(StoreError::Corrupt { source, .. }) = refused else {
        panic!("it is damaged")
    };
    assert!(matches!(
        source,
        CorruptValue::Digest | CorruptValue::Incomplete
    ));
}

async fn a_fold_is_due_by_count_size_and_age(store: DocumentStore) {
    let written_ms = small(1, 0, 1).stamp.hlc.millis();
    let head = append_ops(&store, 1, 1).await;
    let age_ms = u64::try_from(FOLD_AGE_MAX.as_millis()).unwrap();
    assert!(!head.fold_is_due(written_ms + age_ms - 1));
    assert!(head.fold_is_due(written_ms + age_ms));
    fold(&store, snapshot_id(1)).await;
    let head = store.head(&document()).await.unwrap().unwrap();
    assert!(!head.fold_is_due(u64::MAX), "there is nothing to fold");
    let head = append_ops(&store, 1, u32::try_from(FOLD_UPDATES_MAX).unwrap()).await;
    assert!(head.fold_is_due(0));
    fold(&store, snapshot_id(2)).await;
    let large = vec![0; usize::try_from(FOLD_TAIL_BYTES_MIN).unwrap()];
    let large = update(span(2, 0, 1), &[], Bytes::from(large));
    let next = store.load_admission(&document()).await.unwrap().applied[&source("local")].0 + 1;
    let head = append(&store, &[admitted(next, vec![large])]).await;
    assert!(head.fold_is_due(0));
}
