use proptest::prelude::*;

use super::*;

fn document() -> impl Strategy<Value = DocumentId> {
    "[ -~ä\u{10ffff}]{1,30}".prop_map(|text| DocumentId::parse(&text).unwrap())
}

fn log_source() -> impl Strategy<Value = LogSource> {
    ("[a-z0-9-]{1,12}", any::<u32>()).prop_map(|(region, partition)| LogSource {
        region: RegionId::parse(&region).unwrap(),
        partition: LogPartition(partition),
    })
}

fn sequence() -> impl Strategy<Value = UpdateSequence> {
    any::<u64>().prop_map(UpdateSequence)
}

fn snapshot() -> impl Strategy<Value = SnapshotId> {
    any::<u128>().prop_map(|id| SnapshotId(Uuid::from_u128(id)))
}

fn peer() -> impl Strategy<Value = PeerId> {
    any::<u64>().prop_map(PeerId)
}

fn pending_id() -> impl Strategy<Value = PendingId> {
    (log_source(), any::<u64>(), any::<u32>()).prop_map(|(source, offset, index)| PendingId {
        source,
        offset: LogOffset(offset),
        index,
    })
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just(Key::Format),
        document().prop_map(Key::Listing),
        document().prop_map(Key::Head),
        (document(), peer()).prop_map(|(d, p)| Key::VectorEnd(d, p)),
        (document(), peer()).prop_map(|(d, p)| Key::Peer(d, p)),
        (document(), peer(), any::<u32>()).prop_map(|(d, p, end)| Key::Span(d, p, end)),
        (document(), log_source()).prop_map(|(d, s)| Key::Applied(d, s)),
        (document(), sequence(), any::<u32>()).prop_map(|(d, s, part)| Key::Update(d, s, part)),
        (document(), pending_id(), any::<u32>()).prop_map(|(d, id, p)| Key::Pending(d, id, p)),
        (document(), snapshot()).prop_map(|(d, id)| Key::SnapshotStarted(d, id)),
        (document(), snapshot(), any::<u32>()).prop_map(|(d, id, n)| Key::SnapshotBytes(d, id, n)),
        (document(), snapshot(), any::<u32>()).prop_map(|(d, id, n)| Key::SnapshotVector(d, id, n)),
        (document(), sequence()).prop_map(|(d, s)| Key::Archive(d, s)),
        log_source().prop_map(|source| Key::Log(source.region)),
        log_source().prop_map(Key::Merged),
        any::<u32>().prop_map(|node| Key::Node(NodeId(node))),
    ]
}

proptest! {
    #[test]
    fn every_key_reads_back_as_itself(key in key()) {
        prop_assert_eq!(Key::unpack(&key.pack()).unwrap(), key);
    }

    #[test]
    fn different_keys_have_different_bytes(one in key(), other in key()) {
        prop_assert_eq!(one == other, one.pack() == other.pack());
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_are_a_key(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        // Not each key has one encoding only, so the bytes need not come back; it must not panic.
        if let Ok(key) = Key::unpack(&bytes) {
            prop_assert_eq!(Key::unpack(&key.pack()).unwrap(), key);
        }
    }

    #[test]
    fn updates_sort_by_sequence_and_part(
        document in document(),
        one in (sequence(), any::<u32>()),
        other in (sequence(), any::<u32>()),
    ) {
        let pack = |(sequence, part)| Key::Update(document.clone(), sequence, part).pack();
        prop_assert_eq!(one.cmp(&other), pack(one).cmp(&pack(other)));
    }

    #[test]
    fn a_document_keeps_to_its_own_ranges(key in key(), document in document(), id in snapshot()) {
        let bytes = key.pack();
        let here = |other: &DocumentId| *other == document;
        prop_assert_eq!(
            Key::vector_ends(&document).contains(&bytes),
            matches!(&key, Key::VectorEnd(other, _) if here(other))
        );
        prop_assert_eq!(
            Key::all_pending(&document).contains(&bytes),
            matches!(&key, Key::Pending(other, ..) if here(other))
        );
        prop_assert_eq!(Key::listings(None).contains(&bytes), matches!(&key, Key::Listing(_)));
        prop_assert!(Key::snapshot_vector(&document, id)
            .contains(&Key::SnapshotVector(document.clone(), id, 0).pack()));
        prop_assert!(!Key::snapshots(&document, Some(id))
            .contains(&Key::SnapshotBytes(document.clone(), id, 7).pack()));
    }

    #[test]
    fn ranges_end_where_they_should(
        document in document(), peer in peer(), end in 1_u32..u32::MAX, from in any::<u64>(),
    ) {
        let span = |end| Key::Span(document.clone(), peer, end).pack();
        prop_assert!(!Key::spans_after(&document, peer, end).contains(&span(end)));
        prop_assert!(Key::spans_after(&document, peer, end).contains(&span(end + 1)));
        prop_assert!(Key::spans_after(&document, peer, 0).contains(&span(end)));
        let range = Key::updates(&document, UpdateSequence(from), UpdateSequence(from.saturating_add(1)));
        let first = Key::Update(document.clone(), UpdateSequence(from), 9).pack();
        prop_assert_eq!(range.contains(&first), from < u64::MAX);
    }
}

#[test]
fn keys_are_what_the_contract_says() {
    // A change here is a new keyspace: what is stored would not be found again.
    let document = DocumentId::parse("doc_1").unwrap();
    assert_eq!(
        Key::Update(document.clone(), UpdateSequence(258), 0).pack(),
        b"\x02document\0\x02doc_1\0\x02update\0\x16\x01\x02\x14"
    );
    assert_eq!(
        Key::VectorEnd(document, PeerId(u64::MAX)).pack(),
        b"\x02document\0\x02doc_1\0\x02vv\0\x1c\xff\xff\xff\xff\xff\xff\xff\xff"
    );
}
