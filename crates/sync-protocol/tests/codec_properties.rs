//! The codec against arbitrary bytes and against the published implementation.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use bytes::Bytes;
use document_types::limits::FRAME_BYTES_MAX;
use document_types::{BatchId, DocumentId, Permission};
use proptest::prelude::*;
use sync_protocol::{
    DecodeError, Frame, JoinErrorCode, Magic, Message, RoomErrorCode, Subscription, UpdateStatus,
};

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn any_batch() -> impl Strategy<Value = BatchId> {
    any::<[u8; 8]>().prop_map(BatchId)
}

fn any_message() -> impl Strategy<Value = Message> {
    let join_error = prop_oneof![
        ".{0,20}".prop_map(|message| (JoinErrorCode::AuthFailed, message, None, None)),
        (".{0,20}", any_bytes()).prop_map(|(message, version)| {
            (JoinErrorCode::VersionUnknown, message, Some(version), None)
        }),
        (".{0,20}", "[a-z_]{0,20}").prop_map(|(message, app_code)| {
            (JoinErrorCode::AppError, message, None, Some(app_code))
        }),
    ];
    let status = (0_u8..=255).prop_map(UpdateStatus::from_byte);
    prop_oneof![
        (any_bytes(), any_bytes())
            .prop_map(|(payload, version)| Message::JoinRequest { payload, version }),
        (any::<bool>(), any_bytes(), any_bytes()).prop_map(|(writes, version, extra)| {
            let permission = if writes {
                Permission::Write
            } else {
                Permission::Read
            };
            Message::JoinResponseOk {
                permission,
                version,
                extra,
            }
        }),
        join_error.prop_map(|(code, message, receiver_version, app_code)| {
            Message::JoinError {
                code,
                message,
                receiver_version,
                app_code,
            }
        }),
        (prop::collection::vec(any_bytes(), 0..5), any_batch()).prop_map(|(updates, batch)| {
            Message::DocUpdate {
                updates,
                batch: Some(batch),
            }
        }),
        (any_batch(), any::<u64>(), any::<u64>()).prop_map(
            |(batch, fragment_count, total_bytes)| {
                Message::FragmentHeader {
                    batch,
                    fragment_count,
                    total_bytes,
                }
            }
        ),
        (any_batch(), any::<u64>(), any_bytes()).prop_map(|(batch, index, bytes)| {
            Message::Fragment {
                batch,
                index,
                bytes,
            }
        }),
        (0_u8..3, ".{0,20}").prop_map(|(code, message)| Message::RoomError {
            code: RoomErrorCode::from_byte(code),
            message
        }),
        Just(Message::Leave),
        (any_batch(), status).prop_map(|(batch, status)| Message::Ack { batch, status }),
    ]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let magic = prop::sample::select(&Magic::ALL[..]);
    (magic, "[a-zä0-9/ ]{1,40}", any_message()).prop_map(|(magic, document, message)| {
        let document = DocumentId::parse(&document).unwrap();
        Frame {
            subscription: Subscription { magic, document },
            message,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(frame in any_frame()) {
        prop_assert_eq!(Frame::decode(&frame.encode().unwrap()), Ok(frame));
    }

    #[test]
    fn the_published_implementation_agrees(frame in any_frame()) {
        let ours = frame.encode().unwrap();
        let theirs = loro_protocol::decode(&ours).unwrap();
        prop_assert_eq!(loro_protocol::encode(&theirs).unwrap(), &ours[..]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Frame::decode(&Bytes::from(bytes));
    }

    #[test]
    fn a_frame_with_any_bytes_changed_or_cut_is_read_or_refused(
        frame in any_frame(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame.encode().unwrap().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = Bytes::from(bytes);
        let _ = Frame::decode(&whole);
        let _ = Frame::decode(&whole.slice(..end.index(whole.len())));
    }

    #[test]
    fn what_the_published_implementation_refuses_is_refused(
        frame in any_frame(),
        end in any::<prop::sample::Index>(),
    ) {
        let whole = frame.encode().unwrap();
        let cut = whole.slice(..end.index(whole.len()));
        // Updates without a batch id are protocol v0, which the published v1 does not read.
        let is_v0 = matches!(
            Frame::decode(&cut),
            Ok(Frame { message: Message::DocUpdate { batch: None, .. }, .. })
        );
        if loro_protocol::decode(&cut).is_err() && !is_v0 {
            prop_assert!(Frame::decode(&cut).is_err());
        }
    }
}

#[test]
fn a_frame_over_the_limit_is_neither_written_nor_read() {
    let document = DocumentId::parse("d").unwrap();
    let update = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    let frame = Frame {
        subscription: Subscription {
            magic: Magic::Loro,
            document,
        },
        message: Message::DocUpdate {
            updates: vec![update.clone()],
            batch: Some(BatchId([0; 8])),
        },
    };
    assert!(frame.encode().is_err());
    let large = Bytes::from(vec![b'%'; FRAME_BYTES_MAX + 1]);
    let bytes = large.len();
    assert_eq!(
        Frame::decode(&large),
        Err(DecodeError::FrameTooLarge { bytes })
    );
}
