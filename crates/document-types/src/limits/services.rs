//! Bounds between services: gRPC streams and the seats on them.

use std::time::Duration;

use super::{SESSION_QUEUE_COUNT_MAX, UPDATE_BYTES_MAX, VERSION_BYTES_MAX};

/// One gRPC message. A batch of updates or a version vector fits; larger things are cut.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// One message of a native client: the version of a document, or a batch.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Update bytes in one message to a gateway. A larger update is cut, so that a snapshot for one seat
/// does not hold up the others of its stream.
pub const SEAT_PIECE_BYTES_MAX: usize = 32 * 1024;
/// Bytes that are under way to one seat and not yet passed on. It is as much as a gateway holds for a
/// client that reads slowly, beside what the socket's own queue takes.
pub const SEAT_CREDIT_BYTES: usize = 128 * 1024;
/// The least that a message costs of that: what the smallest takes up in queues.
pub const SEAT_MESSAGE_COST_BYTES_MIN: usize = 512;
/// Credit that is given back together, so that small messages are not each answered by one.
pub const SEAT_CREDIT_RETURN_BYTES: usize = SEAT_CREDIT_BYTES / 8;
/// Messages that may wait for one seat, which its credit keeps to, and its last one beside them.
pub const SEAT_QUEUE_COUNT_MAX: usize = SEAT_CREDIT_BYTES / SEAT_MESSAGE_COST_BYTES_MIN + 1;
/// Batches of one seat that its room has not taken yet.
pub const SEAT_BATCHES_UNTAKEN_MAX: usize = 8;
/// Seats on one stream.
pub const SEATS_PER_STREAM_MAX: usize = 100_000;
/// Messages that wait to be written to one stream.
pub const STREAM_QUEUE_COUNT_MAX: usize = 1_024;
/// Bytes that one stream may have on its way before the receiver has read them, as HTTP/2 counts.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// How long connecting to a service may take.
pub const SERVICE_CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Silence after which a connection between services is asked whether it still lives.
pub const SERVICE_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long the answer to that may take before the connection counts as dead.
pub const SERVICE_KEEPALIVE_TIME_MAX: Duration = Duration::from_secs(3);
/// The first pause before connecting again; each next one is twice as long, with full jitter,
pub const SERVICE_RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// up to this.
pub const SERVICE_RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a join waits for a node to be connected to.
pub const NODE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a call that reads a document may take.
pub const HISTORY_CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// Text in one part of an answer.
pub const HISTORY_PART_BYTES_MAX: usize = 256 * 1024;
/// A document's text, as one answer may have it.
pub const HISTORY_TEXT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The shared secret of a deployment's services: fewer bytes could be guessed,
pub const SERVICE_TOKEN_BYTES_MIN: usize = 16;
/// and more don't fit a header well.
pub const SERVICE_TOKEN_BYTES_MAX: usize = 1024;

const _: () = {
    assert!(VERSION_BYTES_MAX < GRPC_MESSAGE_BYTES_MAX);
    // A whole update is one of a batch.
    assert!(UPDATE_BYTES_MAX < GRPC_MESSAGE_BYTES_MAX);
    assert!(VERSION_BYTES_MAX < CLIENT_MESSAGE_BYTES_MAX);
    assert!(UPDATE_BYTES_MAX < CLIENT_MESSAGE_BYTES_MAX);
    // The credit that is kept back never lacks for the next message.
    assert!(SEAT_CREDIT_RETURN_BYTES + SEAT_PIECE_BYTES_MAX <= SEAT_CREDIT_BYTES);
    assert!(SEAT_QUEUE_COUNT_MAX > SESSION_QUEUE_COUNT_MAX);
};
