use document_types::limits::{MERGE_TRANSACTION_BYTES_MAX, SPAN_DIGESTS_COUNT_MAX};

use super::*;
use crate::keyspace::{Key, PendingId};

over_both! {
    what_was_appended_is_loaded
    an_append_from_another_state_is_refused
    another_source_moves_the_state_too
    what_the_fold_cannot_have_let_in_is_refused
    an_update_waits_and_is_let_in
    large_updates_and_long_batches_are_split_and_read_back
    only_what_is_new_in_an_update_counts
    spans_are_found_where_they_overlap
    documents_are_listed_once
    a_degraded_document_goes_on_merging
}

async fn what_was_appended_is_loaded(store: DocumentStore) {
    let depends = update(span(2, 0, 4), &[(1, 4)], Bytes::from_static(b"on top"));
    let records = [
        admitted(7, vec![small(1, 0, 3), small(1, 3, 5)]),
        admitted(9, vec![depends]),
    ];
    let head = append(&store, &records).await;
    let loaded = store.load_admission(&document()).await.unwrap();
    assert_eq!(loaded.head, head);
    assert_eq!(
        loaded.position(&source("local")).applied,
        Some(LogOffset(9))
    );
    assert_eq!(
        loaded.admission.version(),
        &[(PeerId(1), 5), (PeerId(2), 4)].into_iter().collect()
    );
    assert_eq!(loaded.admission.owner(PeerId(1)), Some(&author(1)));
    assert_eq!(loaded.admission.owner(PeerId(3)), None);
    assert_eq!(
        (head.update_count, head.operation_count, head.append_count),
        (3, 9, 1)
    );
    assert_eq!(
        head.known_frontiers(),
        Some(vec![OpId {
            peer: PeerId(2),
            counter: 3
        }])
    );
    assert_eq!(
        store.version_vector(&document()).await.unwrap(),
        *loaded.admission.version()
    );
}

async fn an_append_from_another_state_is_refused(store: DocumentStore) {
    let from = source("local");
    let stale = store
        .load_admission(&document())
        .await
        .unwrap()
        .position(&from);
    append(&store, &[admitted(0, vec![small(1, 0, 1)])]).await;
    let again = store
        .append(
            &document(),
            &from,
            stale,
            &[admitted(0, vec![small(1, 0, 1)])],
        )
        .await;
    assert!(matches!(again, Ok(AppendOutcome::PositionMoved)));
    let head = store.head(&document()).await.unwrap().unwrap();
    assert_eq!((head.update_count, head.append_count), (1, 1));
}

async fn another_source_moves_the_state_too(store: DocumentStore) {
    // Two mergers know the same empty document. One source's record has peer 1's first operations,
    // the other's has different ones under the same peer. Only one of them may be let in.
    let (here, there) = (source("here"), source("there"));
    let loaded = store.load_admission(&document()).await.unwrap();
    let (at_here, at_there) = (loaded.position(&here), loaded.position(&there));
    let first = store
        .append(
            &document(),
            &here,
            at_here,
            &[admitted(0, vec![small(1, 0, 2)])],
        )
        .await;
    assert!(matches!(first, Ok(AppendOutcome::Appended { .. })));
    let other = update(span(1, 0, 1), &[], Bytes::from_static(b"other content"));
    let second = store
        .append(&document(), &there, at_there, &[admitted(0, vec![other])])
        .await;
    assert!(matches!(second, Ok(AppendOutcome::PositionMoved)));
}

async fn what_the_fold_cannot_have_let_in_is_refused(store: DocumentStore) {
    let from = source("local");
    append(&store, &[admitted(4, vec![small(1, 0, 3)])]).await;
    let position = store
        .load_admission(&document())
        .await
        .unwrap()
        .position(&from);
    for (start, end) in [(4, 5), (0, 3), (1, 2)] {
        let records = [admitted(5, vec![small(1, start, end)])];
        let refused = store.append(&document(), &from, position, &records).await;
        assert!(matches!(
            refused,
            Err(AppendError::NotContiguous { end: 3, .. })
        ));
    }
    let records = [admitted(3, vec![small(1, 3, 4)])];
    let refused = store.append(&document(), &from, position, &records).await;
    assert!(matches!(
        refused,
        Err(AppendError::OutOfOrder {
            offset: LogOffset(3)
        })
    ));
    let head = store.head(&document()).await.unwrap().unwrap();
    assert_eq!(
        head.update_count, 1,
        "a refused append leaves nothing behind"
    );
}

async fn an_update_waits_and_is_let_in(store: DocumentStore) {
    // It waits in three parts.
    let large = update(span(2, 0, 1), &[(1, 0)], Bytes::from(vec![9; 200_000]));
    let waiting = RecordOutcome {
        offset: LogOffset(0),
        waiting: vec![WaitingUpdate {
            index: 5,
            update: large.clone(),
        }],
        ..RecordOutcome::default()
    };
    let head = append(&store, &[waiting]).await;
    assert_eq!((head.pending_count, head.update_count), (1, 0));
    assert_eq!(count_keys(&store, Key::all_pending(&document())).await, 3);
    let loaded = store.load_admission(&document()).await.unwrap();
    let id = PendingId {
        source: source("local"),
        offset: LogOffset(0),
        index: 5,
    };
    assert_eq!(loaded.waiting, [(id.clone(), large.clone())]);

    let mut comes = admitted(1, vec![small(1, 0, 1)]);
    comes.admitted.push(Admitted {
        update: large,
        waited_as: Some(id),
    });
    let head = append(&store, &[comes]).await;
    assert_eq!((head.pending_count, head.update_count), (0, 2));
    assert_eq!(count_keys(&store, Key::all_pending(&document())).await, 0);
    let loaded = store.load_admission(&document()).await.unwrap();
    assert!(loaded.waiting.is_empty());
}

async fn large_updates_and_long_batches_are_split_and_read_back(store: DocumentStore) {
    let sizes = [
        1_000_000, 0, 90_000, 89_000, 400_000, 400_000, 400_000, 1, 700_000,
    ];
    let records: Vec<_> = (0..)
        .zip(sizes)
        .map(|(number, size)| {
            let payload = Bytes::from(vec![u8::try_from(number).unwrap(); size]);
            let at = u32::try_from(number).unwrap();
            admitted(number, vec![update(span(1, at, at + 1), &[], payload)])
        })
        .collect();
    let head = append(&store, &records).await;
    let bytes: usize = sizes.iter().sum();
    assert!(head.append_count as usize > bytes / MERGE_TRANSACTION_BYTES_MAX);
    let input = store.begin_fold(&document()).await.unwrap().unwrap();
    let expected: Vec<_> = records
        .iter()
        .map(|record| record.admitted[0].update.clone())
        .collect();
    assert_eq!(input.tail, expected);
    assert_eq!(head.update_bytes, head.tail_bytes());
}

async fn only_what_is_new_in_an_update_counts(store: DocumentStore) {
    append(&store, &[admitted(0, vec![small(1, 0, 5)])]).await;
    let head = append(&store, &[admitted(1, vec![small(1, 3, 8)])]).await;
    assert_eq!((head.update_count, head.operation_count), (2, 8));
    let spans = store
        .span_digests(&document(), span(1, 0, 8))
        .await
        .unwrap();
    let found: Vec<_> = spans.iter().map(|known| known.span).collect();
    assert_eq!(found, [span(1, 0, 5), span(1, 5, 8)]);
    assert_eq!(spans[1].digest, small(1, 3, 8).digest);
}

async fn spans_are_found_where_they_overlap(store: DocumentStore) {
    append_ops(&store, 1, 3).await;
    append(
        &store,
        &[admitted(1, vec![small(1, 3, 10), small(2, 0, 4)])],
    )
    .await;
    let spans = async |start, end| {
        let known = store
            .span_digests(&document(), span(1, start, end))
            .await
            .unwrap();
        known
            .iter()
            .map(|known| (known.span.start, known.span.end))
            .collect::<Vec<_>>()
    };
    assert_eq!(spans(0, 1).await, [(0, 1)]);
    assert_eq!(spans(1, 4).await, [(1, 2), (2, 3), (3, 10)]);
    assert_eq!(spans(9, 20).await, [(3, 10)]);
    assert_eq!(spans(10, 20).await, []);
    let many = u32::try_from(SPAN_DIGESTS_COUNT_MAX).unwrap() + 10;
    let updates = (10..many).map(|at| small(1, at, at + 1)).collect();
    append(&store, &[admitted(2, updates)]).await;
    let found = spans(0, many).await;
    assert_eq!(found.len() as u32, many - 10 + 4);
    assert!(found.windows(2).all(|pair| pair[0].1 == pair[1].0));
}

async fn documents_are_listed_once(store: DocumentStore) {
    let from = source("local");
    let names: Vec<_> = (0..25)
        .map(|n| DocumentId::parse(&format!("doc_{n:02}")).unwrap())
        .collect();
    for name in &names {
        for number in 0..2 {
            let at = store.load_admission(name).await.unwrap().position(&from);
            let record = admitted(number, vec![small(1, number as u32, number as u32 + 1)]);
            store.append(name, &from, at, &[record]).await.unwrap();
        }
    }
    let mut listed: Vec<DocumentId> = Vec::new();
    loop {
        let page = store.list_documents(listed.last(), 10).await.unwrap();
        let complete = page.len() < 10;
        listed.extend(page);
        if complete {
            break;
        }
    }
    assert_eq!(listed, names);
}

async fn a_degraded_document_goes_on_merging(store: DocumentStore) {
    append_ops(&store, 1, 1).await;
    assert!(
        store
            .mark_degraded(&document(), "it panicked", 5)
            .await
            .unwrap()
    );
    assert!(!store.mark_degraded(&document(), "again", 6).await.unwrap());
    let head = append_ops(&store, 1, 1).await;
    assert_eq!(head.degraded.unwrap().reason, "it panicked");
    assert_eq!(head.update_count, 2);
    assert!(store.clear_degraded(&document()).await.unwrap());
    assert!(!store.clear_degraded(&document()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_the_store_finds_too_large_is_split_in_order() {
    let simulated = SimulatedStore::new();
    let small_transactions = Faults {
        transaction_bytes_max: 20_000,
        ..Faults::NONE
    };
    let kv = simulated.handle(Random::from_seed(1), small_transactions);
    let store = DocumentStore::open(Arc::new(kv.clone()), Random::from_seed(1))
        .await
        .unwrap();
    let records: Vec<_> = (0..64)
        .map(|number| {
            let at = u32::try_from(number).unwrap();
            let payload = Bytes::from(vec![0; 5_000]);
            admitted(number, vec![update(span(1, at, at + 1), &[], payload)])
        })
        .collect();
    let head = append(&store, &records).await;
    assert_eq!(head.update_count, 64);
    assert!(kv.fault_counts().too_large > 0);
    assert!(head.append_count >= 64 * 5_000 / 20_000);

    let one_too_large = admitted(
        64,
        vec![update(span(1, 64, 65), &[], Bytes::from(vec![0; 50_000]))],
    );
    let from = source("local");
    let at = store
        .load_admission(&document())
        .await
        .unwrap()
        .position(&from);
    let refused = store.append(&document(), &from, at, &[one_too_large]).await;
    let Err(AppendError::Store(StoreError::Kv(error))) = refused else {
        panic!("it does not fit")
    };
    assert!(matches!(error, KvError::TransactionTooLarge { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_newer_keyspace_is_refused() {
    let kv = Arc::new(SimulatedStore::new().handle(Random::from_seed(1), Faults::NONE));
    let transaction = kv.begin().await.unwrap();
    set_message(&*transaction, &Key::Format, &Format { version: 2 });
    transaction.commit().await.unwrap();
    let refused = DocumentStore::open(kv, Random::from_seed(1)).await;
    assert!(matches!(
        refused.err(),
        Some(StoreError::NewerKeyspace { found: 2, known: 1 })
    ));
}
