//! What a socket may do and what it hears, message by message: the session and the speaker without
//! a network.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::time::Duration;

use bytes::Bytes;
use document_types::limits::{
    DOCUMENTS_PER_SOCKET_MAX, FRAGMENT_REASSEMBLY_TIMEOUT, FRAME_OUT_PAYLOAD_BYTES,
    TRACES_WAITING_MAX,
};
use document_types::{BatchId, DocumentId, ErrorCode, TraceContext, VersionVector};
use proptest::prelude::*;
use sync_protocol::{
    ClientPayload, Dialect, FragmentOutcome, Frame, JoinErrorCode, Magic, Message, Reassembly,
    Received, Request, RoomErrorCode, ServerText, Session, Speaker, Subscription, TraceReport,
    UpdateStatus, WireMessage,
};

const BATCH: BatchId = BatchId([7; 8]);
const OURS: &[u8] = br#"{"collabedit":1,"device":"dev_a","features":["pulse","stamps"]}"#;

fn subscription(magic: Magic, document: &str) -> Subscription {
    Subscription {
        magic,
        document: DocumentId::parse(document).unwrap(),
    }
}

fn notes() -> Subscription {
    subscription(Magic::Loro, "notes")
}

fn receive_at(
    session: &mut Session,
    now: Duration,
    of: &Subscription,
    message: Message,
) -> Received {
    let frame = Frame {
        subscription: of.clone(),
        message,
    };
    session
        .receive_binary(&frame.encode().unwrap(), now)
        .unwrap()
}

fn receive(session: &mut Session, of: &Subscription, message: Message) -> Received {
    receive_at(session, Duration::ZERO, of, message)
}

fn join(session: &mut Session, of: &Subscription, payload: &'static [u8]) -> Received {
    let (payload, version) = (Bytes::from_static(payload), Bytes::new());
    receive(session, of, Message::JoinRequest { payload, version })
}

fn update(batch: Option<BatchId>) -> Message {
    Message::DocUpdate {
        updates: vec![Bytes::from_static(b"update")],
        batch,
    }
}

fn said(message: &WireMessage) -> Message {
    let WireMessage::Binary(bytes) = message else {
        panic!("expected a frame: {message:?}")
    };
    Frame::decode(bytes).unwrap().message
}

fn status(message: &WireMessage) -> UpdateStatus {
    let Message::Ack {
        batch: BATCH,
        status,
    } = said(message)
    else {
        panic!("an ack of it")
    };
    status
}

#[test]
fn a_joined_document_takes_batches_until_it_is_left() {
    let mut session = Session::new();
    let received = join(&mut session, &notes(), b"");
    let (payload, version) = (ClientPayload::Stock, VersionVector::new());
    let request = Request::Join {
        subscription: notes(),
        payload,
        version,
    };
    assert_eq!(
        received,
        Received {
            replies: vec![],
            request: Some(request)
        }
    );

    let received = receive(&mut session, &notes(), update(Some(BATCH)));
    let Some(Request::Offer { batch, .. }) = received.request else {
        panic!("offered")
    };
    assert_eq!((batch.id, batch.dialect), (BATCH, Dialect::V1));

    let received = receive(&mut session, &notes(), Message::Leave);
    assert_eq!(
        received.request,
        Some(Request::Leave {
            subscription: notes()
        })
    );
    let received = receive(&mut session, &notes(), update(Some(BATCH)));
    assert_eq!(received.request, None);
    assert_eq!(status(&received.replies[0]), UpdateStatus::AppError);
    assert_eq!(
        receive(&mut session, &notes(), Message::Leave),
        Received::default()
    );
}

#[test]
fn a_document_and_its_presence_are_two_things() {
    let mut session = Session::new();
    let presence = subscription(Magic::Ephemeral, "notes");
    join(&mut session, &presence, b"");
    assert_eq!(
        receive(&mut session, &notes(), update(Some(BATCH))).request,
        None
    );
    assert!(
        receive(&mut session, &presence, update(Some(BATCH)))
            .request
            .is_some()
    );
}

#[test]
fn our_client_is_told_what_lies_behind_a_refusal() {
    let mut session = Session::new();
    join(&mut session, &notes(), OURS);
    session.forget(&notes());
    let received = receive(&mut session, &notes(), update(Some(BATCH)));
    let [ack, WireMessage::Text(text)] = &received.replies[..] else {
        panic!("ack and nack")
    };
    assert_eq!(status(ack), UpdateStatus::AppError);
    let nack: ServerText = serde_json::from_str(text).unwrap();
    assert!(matches!(
        nack,
        ServerText::Nack {
            code: ErrorCode::Unavailable,
            batch: BATCH,
            ..
        }
    ));
}

#[test]
fn fragments_that_stay_away_are_answered_and_forgotten() {
    let mut session = Session::new();
    join(&mut session, &notes(), b"");
    let header = Message::FragmentHeader {
        batch: BATCH,
        fragment_count: 2,
        total_bytes: 4,
    };
    receive_at(&mut session, Duration::from_secs(1), &notes(), header);
    let deadline = session.next_deadline().unwrap();
    assert_eq!(
        deadline,
        Duration::from_secs(1) + FRAGMENT_REASSEMBLY_TIMEOUT
    );
    let replies = session.expire(deadline);
    assert_eq!(status(&replies[0]), UpdateStatus::FragmentTimeout);
    let late = Message::Fragment {
        batch: BATCH,
        index: 0,
        bytes: Bytes::from_static(b"ab"),
    };
    assert_eq!(receive(&mut session, &notes(), late), Received::default());
}

#[test]
fn a_version_that_cannot_be_read_asks_for_an_empty_one() {
    let mut session = Session::new();
    let version = Bytes::from_static(b"\xff\xff");
    let request = Message::JoinRequest {
        payload: Bytes::new(),
        version,
    };
    let received = receive(&mut session, &notes(), request);
    assert_eq!(received.request, None);
    let Message::JoinError { code, .. } = said(&received.replies[0]) else {
        panic!("refused")
    };
    assert_eq!(code, JoinErrorCode::VersionUnknown);
    assert!(join(&mut session, &notes(), b"").request.is_some());
}

#[test]
fn a_socket_joins_only_so_many_documents() {
    let mut session = Session::new();
    for number in 0..DOCUMENTS_PER_SOCKET_MAX {
        let document = subscription(Magic::Loro, &number.to_string());
        assert!(join(&mut session, &document, b"").request.is_some());
    }
    let received = join(&mut session, &notes(), b"");
    assert_eq!(received.request, None);
    let again = subscription(Magic::Loro, "0");
    assert!(
        join(&mut session, &again, b"").request.is_some(),
        "what is joined may join anew"
    );
    session.forget(&again);
    assert!(join(&mut session, &notes(), b"").request.is_some());
}

#[test]
fn a_trace_goes_with_its_batch_and_the_oldest_are_forgotten() {
    let mut session = Session::new();
    join(&mut session, &notes(), OURS);
    let id = |number: usize| BatchId((number as u64).to_be_bytes());
    let trace = |number: usize| format!("00-{number:032x}-{number:016x}-01");
    for number in 1..=TRACES_WAITING_MAX + 1 {
        let (batch, traceparent) = (id(number), trace(number));
        let text = format!(
            r#"{{"type":"trace","document":"notes","batch":"{batch}","traceparent":"{traceparent}"}}"#
        );
        assert_eq!(session.receive_text(&text).unwrap(), Received::default());
    }
    let mut traced = |number| {
        let received = receive(&mut session, &notes(), update(Some(id(number))));
        let Some(Request::Offer { batch, .. }) = received.request else {
            panic!("offered")
        };
        batch.trace
    };
    let context = |number: usize| TraceContext::parse(&trace(number));
    assert_eq!(traced(1), None);
    assert_eq!(traced(2), context(2));
    assert_eq!(traced(2), None, "once");
    let last = TRACES_WAITING_MAX + 1;
    assert!(context(last).is_some() && traced(last) == context(last));
}

#[test]
fn a_client_says_of_joined_documents_how_long_its_batches_took() {
    let mut session = Session::new();
    let text =
        r#"{"type":"traced","document":"notes","batch":"0707070707070707","answered_us":900}"#;
    let ignored = session.receive_text(text).unwrap();
    assert_eq!(ignored, Received::default(), "it is not joined");
    join(&mut session, &notes(), OURS);
    let report = TraceReport {
        batch: BATCH,
        waited: None,
        answered: Duration::from_micros(900),
    };
    let traced = Request::Traced {
        subscription: notes(),
        report,
    };
    assert_eq!(session.receive_text(text).unwrap().request, Some(traced));
    let malformed = text.replace("900", "-900");
    assert!(session.receive_text(&malformed).is_err());
}

#[test]
fn keepalive_is_answered_and_never_counts_as_a_message() {
    let mut session = Session::new();
    let pong = WireMessage::Text("pong".into());
    assert_eq!(session.receive_text("ping").unwrap().replies, [pong]);
    assert_eq!(session.receive_text("pong").unwrap(), Received::default());
    assert!(!session.has_joined_once());
}

#[test]
fn a_batch_without_an_id_turns_the_session_to_protocol_v0() {
    let mut session = Session::new();
    join(&mut session, &notes(), b"");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let received = receive(&mut session, &notes(), update(None));
        let Some(Request::Offer { batch, .. }) = received.request else {
            panic!("offered")
        };
        assert_eq!(batch.dialect, Dialect::V0);
        ids.push(batch.id);
    }
    assert_ne!(ids[0], ids[1]);

    let mut speaker = Speaker::new(notes());
    speaker.client_speaks(Dialect::V0);
    assert!(speaker.acknowledged(ids[0], None).is_empty());
    let refusal = speaker.refused(ids[1], ErrorCode::InvalidUpdate, "bad");
    let [WireMessage::Binary(bytes)] = &refusal[..] else {
        panic!("one frame")
    };
    // As protocol v0 has it: type 6, status 4, text.
    assert_eq!(bytes[..], *b"%LOR\x05notes\x06\x04\x03bad");
    assert!(speaker.put_out(ErrorCode::Suspended, "").closes_socket);
}

#[test]
fn our_clients_may_be_told_to_rejoin_for_ever() {
    let mut speaker = Speaker::new(notes());
    speaker.client_joins(true, vec![]);
    for _ in 0..100 {
        let put_out = speaker.put_out(ErrorCode::SlowConsumer, "too slow");
        let Message::RoomError { code, .. } = said(&put_out.messages[0]) else {
            panic!("out")
        };
        assert_eq!(code, RoomErrorCode::RejoinSuggested);
    }
}

proptest! {
    #[test]
    fn updates_of_any_size_arrive_in_order(
        sizes in prop::collection::vec(
            prop_oneof![0_usize..200, FRAME_OUT_PAYLOAD_BYTES - 2..3 * FRAME_OUT_PAYLOAD_BYTES],
            0..12,
        )
    ) {
        let updates: Vec<Bytes> = (1_u8..)
            .zip(sizes)
            .map(|(number, bytes)| Bytes::from(vec![number; bytes]))
            .collect();
        let mut speaker = Speaker::new(notes());
        let mut reassembly = Reassembly::from_server();
        let mut arrived = Vec::new();
        for message in speaker.updates(&updates) {
            prop_assert!(message.len() <= FRAME_OUT_PAYLOAD_BYTES + 1_024, "small frames only");
            match said(&message) {
                Message::DocUpdate { updates, batch: Some(_) } => arrived.extend(updates),
                Message::FragmentHeader { batch, fragment_count, total_bytes } => reassembly
                    .begin(&notes(), batch, fragment_count, total_bytes, Duration::ZERO)
                    .unwrap(),
                Message::Fragment { batch, index, bytes } => {
                    match reassembly.add(&notes(), batch, index, &bytes) {
                        FragmentOutcome::Complete(whole) => arrived.push(whole),
                        FragmentOutcome::Pending => {}
                        other => panic!("{other:?}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(arrived, updates);
    }

    #[test]
    fn a_session_takes_any_bytes_or_calls_them_a_violation(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8)
    ) {
        let mut session = Session::new();
        join(&mut session, &notes(), b"");
        for message in messages {
            let _ = session.receive_binary(&Bytes::from(message), Duration::ZERO);
        }
    }
}
