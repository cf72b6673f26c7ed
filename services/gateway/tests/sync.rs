//! Sockets: what the gateway says to clients, byte for byte, over real TCP.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod support;

use bytes::Bytes;
use document_types::limits::{FRAME_BYTES_MAX, REJOINS_SUGGESTED_MAX, SUBMISSIONS_WAITING_MAX};
use document_types::{BatchId, ErrorCode, Permission};
use service_api::{SessionEvent, WireKind};
use support::{Heard, Served, join_payload, subscription};
use sync_protocol::{
    JoinAnswer, JoinErrorCode, Magic, Message, RoomErrorCode, ServerText, UpdateStatus,
};

/// An update by the engine that inserts `text`.
fn update(text: &str) -> Bytes {
    let doc = loro::LoroDoc::new();
    doc.get_text("text").insert(0, text).unwrap();
    doc.commit();
    Bytes::from(doc.export(loro::ExportMode::all_updates()).unwrap())
}

#[tokio::test]
async fn our_client_is_answered_with_session_limits_and_stamps() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    let payload = join_payload("dev_a");
    client
        .send(
            &notes,
            Message::JoinRequest {
                payload,
                version: Bytes::new(),
            },
        )
        .await;
    let Message::JoinResponseOk {
        permission, extra, ..
    } = client.message(&notes).await
    else {
        panic!("joined")
    };
    assert_eq!(permission, Permission::Write);
    let answer: JoinAnswer = serde_json::from_slice(&extra).unwrap();
    assert_eq!((answer.collabedit, answer.user.as_str()), (1, "usr_local"));
    assert_eq!(answer.peer.unwrap().end, 0);
    assert_eq!(answer.limits.inserted_text_bytes_max, 16_384);
    assert_eq!(answer.trace_ratio, None);
    assert!(matches!(
        client.message(&notes).await,
        Message::DocUpdate { .. }
    ));
    assert!(matches!(client.text().await, ServerText::CaughtUp { .. }));

    client.offer(&notes, 5, vec![update("hi")]).await;
    let batch = BatchId([5; 8]);
    assert_eq!(
        client.message(&notes).await,
        Message::Ack {
            batch,
            status: UpdateStatus::Ok
        }
    );
    let ServerText::Ack {
        batch: acked,
        node,
        offset,
        hlc_first,
        hlc_last,
        ..
    } = client.text().await
    else {
        panic!("stamps")
    };
    assert_eq!((acked, node, offset), (batch, 3, 9));
    assert_eq!(hlc_first.next(), hlc_last);

    let log = served
        .rooms
        .room("notes")
        .until(|log| log.submissions.len() == 1)
        .await;
    assert_eq!(log.joins[0].kind, WireKind::CollabEdit);
    assert_eq!(log.joins[0].session, answer.session);
    assert_eq!(log.joins[0].principal.device.as_str(), "dev_a");
}

#[tokio::test]
async fn a_stock_client_hears_stock_messages_only() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.join(&notes, Bytes::new()).await;
    let room = served.rooms.room("notes");
    room.say(SessionEvent::Pulse {
        beat: 1,
        beat_ms: 60,
        typists: 5,
    })
    .await;
    client.offer(&notes, 1, vec![update("hi")]).await;
    let batch = BatchId([1; 8]);
    assert_eq!(
        client.message(&notes).await,
        Message::Ack {
            batch,
            status: UpdateStatus::Ok
        }
    );
    client.send_text("ping").await;
    assert_eq!(
        client.hear().await,
        Heard::Text("pong".into()),
        "and no text before it"
    );
}

#[tokio::test]
async fn a_beat_reaches_our_client_after_its_updates() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.join(&notes, join_payload("dev_a")).await;
    let room = served.rooms.room("notes");
    let updates = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let frame = service_api::UpdateFrame {
        updates: updates.clone(),
        received: None,
    };
    room.say(SessionEvent::Updates(frame.into())).await;
    room.say(SessionEvent::Pulse {
        beat: 9,
        beat_ms: 60,
        typists: 5,
    })
    .await;
    let Message::DocUpdate {
        updates: heard,
        batch: Some(_),
    } = client.message(&notes).await
    else {
        panic!("updates")
    };
    assert_eq!(heard, updates);
    let beat = ServerText::Pulse {
        document: notes.document.clone(),
        beat: 9,
        beat_ms: 60,
        typists: 5,
    };
    assert_eq!(client.text().await, beat);
}

#[tokio::test]
async fn documents_of_one_socket_do_not_wait_for_one_another() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let (stuck, notes) = (
        subscription(Magic::Loro, "stuck"),
        subscription(Magic::Loro, "notes"),
    );
    client.join(&stuck, Bytes::new()).await;
    client.join(&notes, Bytes::new()).await;
    for batch in 0..u8::try_from(SUBMISSIONS_WAITING_MAX).unwrap() {
        client
            .offer(&stuck, batch, vec![update("never taken")])
            .await;
    }
    client.offer(&notes, 9, vec![update("taken")]).await;
    let batch = BatchId([9; 8]);
    assert_eq!(
        client.message(&notes).await,
        Message::Ack {
            batch,
            status: UpdateStatus::Ok
        }
    );
}

#[tokio::test]
async fn a_reader_is_refused_without_asking_the_room() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "read-only");
    assert_eq!(
        client.join(&notes, join_payload("dev_a")).await,
        Permission::Read
    );
    client.offer(&notes, 1, vec![update("hi")]).await;
    let batch = BatchId([1; 8]);
    let status = UpdateStatus::PermissionDenied;
    assert_eq!(client.message(&notes).await, Message::Ack { batch, status });
    assert!(matches!(
        client.text().await,
        ServerText::Nack {
            code: ErrorCode::PermissionDenied,
            ..
        }
    ));
    assert!(
        served
            .rooms
            .room("read-only")
            .log
            .borrow()
            .submissions
            .is_empty()
    );
}

#[tokio::test]
async fn a_fragmented_update_arrives_whole() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.join(&notes, Bytes::new()).await;
    let whole = update(&"a long text ".repeat(30_000));
    let (batch, pieces) = (BatchId([4; 8]), whole.chunks(50_000).count() as u64);
    let total_bytes = whole.len() as u64;
    let header = Message::FragmentHeader {
        batch,
        fragment_count: pieces,
        total_bytes,
    };
    client.send(&notes, header).await;
    for (index, piece) in (0..).zip(whole.chunks(50_000)) {
        let bytes = whole.slice_ref(piece);
        client
            .send(
                &notes,
                Message::Fragment {
                    batch,
                    index,
                    bytes,
                },
            )
            .await;
    }
    assert_eq!(
        client.message(&notes).await,
        Message::Ack {
            batch,
            status: UpdateStatus::Ok
        }
    );
    let log = served
        .rooms
        .room("notes")
        .until(|log| log.submissions.len() == 1)
        .await;
    assert_eq!(log.submissions[0].updates, [whole]);
}

#[tokio::test]
async fn refused_joins_say_why() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let join = |payload: &'static [u8], version: &'static [u8]| Message::JoinRequest {
        payload: Bytes::from_static(payload),
        version: Bytes::from_static(version),
    };
    let cases = [
        (
            Magic::Loro,
            "denied",
            join(b"", b""),
            JoinErrorCode::AuthFailed,
            None,
        ),
        (
            Magic::Loro,
            "notes",
            join(b"", b"\xff"),
            JoinErrorCode::VersionUnknown,
            None,
        ),
        (
            Magic::Yjs,
            "notes",
            join(b"", b""),
            JoinErrorCode::AppError,
            Some("unsupported_version"),
        ),
        (
            Magic::Loro,
            "notes",
            join(br#"{"collabedit":2}"#, b""),
            JoinErrorCode::AppError,
            Some("unsupported_version"),
        ),
        (
            Magic::Loro,
            "notes",
            join(br#"{"collabedit":1}"#, b""),
            JoinErrorCode::AppError,
            Some("protocol_violation"),
        ),
    ];
    for (magic, document, request, expected, expected_app_code) in cases {
        let subscription = subscription(magic, document);
        client.send(&subscription, request).await;
        let Message::JoinError { code, app_code, .. } = client.message(&subscription).await else {
            panic!("refused")
        };
        assert_eq!(
            (code, app_code.as_deref()),
            (expected, expected_app_code),
            "{document}"
        );
    }
}

#[tokio::test]
async fn what_may_pass_closes_a_stock_socket_and_is_told_to_ours() {
    let served = Served::start().await;
    let gone = subscription(Magic::Loro, "unavailable");
    let join = |payload| Message::JoinRequest {
        payload,
        version: Bytes::new(),
    };
    let mut ours = served.connect().await;
    ours.send(&gone, join(join_payload("dev_a"))).await;
    let Message::JoinError { app_code, .. } = ours.message(&gone).await else {
        panic!("refused")
    };
    assert_eq!(app_code.as_deref(), Some("unavailable"));
    let mut stock = served.connect().await;
    stock.send(&gone, join(Bytes::new())).await;
    assert_eq!(stock.hear().await, Heard::Closed(1013));
}

#[tokio::test]
async fn presence_that_is_down_leaves_the_socket_open() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let presence = subscription(Magic::Ephemeral, "unavailable");
    let (payload, version) = (Bytes::new(), Bytes::new());
    client
        .send(&presence, Message::JoinRequest { payload, version })
        .await;
    assert!(matches!(
        client.message(&presence).await,
        Message::JoinError { .. }
    ));
    client
        .join(&subscription(Magic::Loro, "notes"), Bytes::new())
        .await;
}

#[tokio::test]
async fn presence_goes_both_ways_and_is_acknowledged() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for magic in [Magic::Ephemeral, Magic::EphemeralPersisted] {
        let presence = subscription(magic, "notes");
        client.join(&presence, Bytes::new()).await;
        client
            .offer(&presence, 1, vec![Bytes::from_static(b"here")])
            .await;
        let mut heard = [
            client.message(&presence).await,
            client.message(&presence).await,
        ];
        heard.sort_by_key(|message| matches!(message, Message::DocUpdate { .. }));
        let (batch, status) = (BatchId([1; 8]), UpdateStatus::Ok);
        assert_eq!(heard[0], Message::Ack { batch, status });
        let Message::DocUpdate { updates, .. } = &heard[1] else {
            panic!("what it shows")
        };
        assert_eq!(updates[..], [Bytes::from_static(b"here")]);
        client.send(&presence, Message::Leave).await;
    }
}

#[tokio::test]
async fn a_slow_consumer_loses_its_stream_and_joins_again() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.join(&notes, Bytes::new()).await;
    let (code, message) = (ErrorCode::SlowConsumer, "too slow".to_owned());
    served
        .rooms
        .room("notes")
        .say(SessionEvent::Closed { code, message })
        .await;
    let Message::RoomError { code, message } = client.message(&notes).await else {
        panic!("out")
    };
    assert_eq!(code, RoomErrorCode::RejoinSuggested);
    assert_eq!(message, "slow_consumer: too slow");
    client.join(&notes, Bytes::new()).await;
    client.offer(&notes, 1, vec![update("back")]).await;
    assert!(matches!(client.message(&notes).await, Message::Ack { .. }));
}

#[tokio::test]
async fn a_stock_client_is_told_to_rejoin_only_so_often() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    let room = served.rooms.room("notes");
    for round in 0..=REJOINS_SUGGESTED_MAX {
        client.join(&notes, Bytes::new()).await;
        let (batch, code) = (BatchId([1; 8]), ErrorCode::MissingDependency);
        room.say(SessionEvent::Nack {
            batch,
            code,
            message: "early".into(),
        })
        .await;
        let status = UpdateStatus::AppError;
        assert_eq!(client.message(&notes).await, Message::Ack { batch, status });
        let Message::RoomError { code, .. } = client.message(&notes).await else {
            panic!("out")
        };
        let expected = if round < REJOINS_SUGGESTED_MAX {
            RoomErrorCode::RejoinSuggested
        } else {
            RoomErrorCode::Evicted
        };
        assert_eq!(code, expected, "round {round}");
    }
}

#[tokio::test]
async fn leaving_and_joining_at_once_keeps_the_last_word() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.join(&notes, Bytes::new()).await;
    for _ in 0..20 {
        client.send(&notes, Message::Leave).await;
        client.join(&notes, Bytes::new()).await;
    }
    client.offer(&notes, 1, vec![update("still here")]).await;
    assert!(matches!(client.message(&notes).await, Message::Ack { .. }));
    let log = served
        .rooms
        .room("notes")
        .until(|log| log.leaves == 20)
        .await;
    assert_eq!(log.joins.len(), 21);
}

#[tokio::test]
async fn updates_for_what_is_not_joined_are_refused_and_no_more() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.offer(&notes, 1, vec![update("early")]).await;
    let (batch, status) = (BatchId([1; 8]), UpdateStatus::AppError);
    assert_eq!(client.message(&notes).await, Message::Ack { batch, status });
    client.join(&notes, Bytes::new()).await;
}

#[tokio::test]
async fn a_client_of_protocol_v0_is_answered_in_its_dialect() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let notes = subscription(Magic::Loro, "notes");
    client.join(&notes, Bytes::new()).await;
    let v0 = |updates| Message::DocUpdate {
        updates,
        batch: None,
    };
    client.send(&notes, v0(vec![update("hi")])).await;
    client
        .send(&notes, v0(vec![Bytes::from_static(b"garbage")]))
        .await;
    // The first has no ack. A refusal has the type that is a room error in v1.
    let Message::RoomError { message, .. } = client.message(&notes).await else {
        panic!("refused")
    };
    assert_eq!(message, "bad");
    let (code, message) = (ErrorCode::Suspended, "enough".to_owned());
    served
        .rooms
        .room("notes")
        .say(SessionEvent::Closed { code, message })
        .await;
    assert!(matches!(
        client.message(&notes).await,
        Message::RoomError { .. }
    ));
    assert_eq!(
        client.hear().await,
        Heard::Closed(4403),
        "it can't know otherwise"
    );
}

#[tokio::test]
async fn violations_close_the_socket_for_good() {
    let served = Served::start().await;
    let huge_count = b"%LOR\x05notes\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    for garbage in [
        &b""[..],
        b"%LOR",
        b"nonsense",
        b"%LOR\x05notes\x09",
        &huge_count[..],
    ] {
        let mut client = served.connect().await;
        client.send_bytes(Bytes::copy_from_slice(garbage)).await;
        let Heard::Closed(code) = client.hear().await else {
            panic!("closed")
        };
        assert!((4400..4500).contains(&code), "{code} after {garbage:?}");
    }
    let mut client = served.connect().await;
    client.send_text("neither ping nor pong").await;
    assert_eq!(client.hear().await, Heard::Closed(4400));
    let mut client = served.connect().await;
    client
        .send_bytes(Bytes::from(vec![b'x'; FRAME_BYTES_MAX + 1]))
        .await;
    assert_eq!(client.hear().await, Heard::Closed(4413));
}
