//! Native clients on gRPC streams: the same rooms as behind sockets, and the same at the door.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod support;

use std::time::Duration;

use bytes::Bytes;
use document_types::{BatchId, DeviceId, DocumentId, ErrorCode, PeerId, SessionId, VersionVector};
use gateway::{GatewayLimits, GatewayState};
use loro::{ExportMode, LoroDoc};
use service_api::grpc::{ClientStream, ConnectError, JoinClaim};
use service_api::{JoinError, Joined, SessionEvent, Submission, WireKind};
use support::Served;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Longer than anything here takes.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A client's stream, read in the background; how it ended comes out of the set.
async fn open(served: &Served) -> Result<(ClientStream, JoinSet<String>), ConnectError> {
    let address = served.address;
    let uri = format!("http://{address}").parse().unwrap();
    let dial = move || TcpStream::connect(address);
    let (stream, reading) = ClientStream::open(uri, None, dial).await?;
    let mut running = JoinSet::new();
    running.spawn(reading);
    Ok((stream, running))
}

async fn join(stream: &ClientStream, document: &str) -> Result<Joined, JoinError> {
    let claim = JoinClaim {
        document: DocumentId::parse(document).unwrap(),
        session: None,
        user: None,
        device: DeviceId::parse("dev_mine").unwrap(),
        version: VersionVector::new(),
        kind: WireKind::CollabEdit,
        peer: Some(PeerId(7)),
    };
    stream
        .join(SessionId::parse("ses_own").unwrap(), claim)
        .await
}

#[tokio::test]
async fn a_client_is_who_the_gateway_knows_it_is() {
    let served = Served::start().await;
    let (stream, _running) = open(&served).await.unwrap();
    let joined = join(&stream, "notes").await.unwrap();
    let room = served.rooms.room("notes");
    let log = room.until(|log| !log.joins.is_empty()).await;
    let joined_as = &log.joins[0];
    assert_eq!(joined_as.principal.user.as_str(), "usr_local");
    assert_eq!(joined_as.principal.device.as_str(), "dev_mine");
    assert_ne!(joined_as.session.as_str(), "ses_own");
    assert_eq!(joined_as.peer, Some(PeerId(7)));
    drop(joined);
    timeout(TIME_MAX, room.until(|log| log.leaves == 1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refused_join_ends_its_seat_and_no_other() {
    let served = Served::start().await;
    let (stream, _running) = open(&served).await.unwrap();
    let refused = join(&stream, "denied").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    let mut joined = join(&stream, "notes").await.unwrap();
    for is_expected in [
        |event: &SessionEvent| matches!(event, SessionEvent::Updates(_)),
        |event: &SessionEvent| matches!(event, SessionEvent::CaughtUp),
    ] {
        let event = timeout(TIME_MAX, joined.events.recv()).await.unwrap();
        assert!(event.as_ref().is_some_and(is_expected), "{event:?}");
    }
    let doc = LoroDoc::new();
    // More than one message takes.
    doc.get_text("text")
        .insert(0, &"0123456789abcde\n".repeat(40_000))
        .unwrap();
    let update = doc.export(ExportMode::all_updates()).unwrap();
    let submission = Submission {
        batch: BatchId([1; 8]),
        updates: vec![Bytes::from(update)],
        trace: None,
        received: Instant::now(),
    };
    joined.room.submit(submission).await.unwrap();
    let event = timeout(TIME_MAX, joined.events.recv()).await.unwrap();
    let Some(SessionEvent::Ack { batch, .. }) = event else {
        panic!("not acknowledged but {event:?}")
    };
    assert_eq!(batch, BatchId([1; 8]));
}

#[tokio::test]
async fn a_full_gateway_takes_no_stream() {
    let full = |state: &mut GatewayState| {
        state.limits = GatewayLimits {
            connections_count_max: 0,
            ..GatewayLimits::default()
        };
    };
    let served = Served::with(full).await;
    let Err(ConnectError::Refused(status)) = open(&served).await else {
        panic!("a full gateway takes no more")
    };
    assert!(
        status.message().contains("too many connections"),
        "{status}"
    );
}

#[tokio::test]
async fn a_gateway_that_drains_ends_its_streams() {
    let served = Served::start().await;
    let (stream, mut running) = open(&served).await.unwrap();
    let joined = join(&stream, "notes").await.unwrap();
    served.drain.cancel();
    let ended = timeout(TIME_MAX, running.join_next()).await.unwrap();
    assert!(ended.is_some());
    served.sockets.close();
    timeout(TIME_MAX, served.sockets.wait()).await.unwrap();
    drop(joined);
    let refused = join(&stream, "notes").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(open(&served).await.is_err(), "nobody comes in any more");
}
