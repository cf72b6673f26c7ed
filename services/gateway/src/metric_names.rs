//! Every metric of the gateway, with its meaning.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Sockets and native clients' streams that are open.
pub(crate) const CONNECTIONS_OPEN: &str = "collabedit_gateway_connections_open";
/// Upgrades by `outcome`: `accepted`, or the error code they were refused with.
pub(crate) const UPGRADES: &str = "collabedit_gateway_upgrades_total";
/// Documents and presences that sockets have joined, by `kind`.
pub(crate) const SUBSCRIPTIONS_OPEN: &str = "collabedit_gateway_subscriptions_open";
/// Messages by `direction`: `in` or `out`.
pub(crate) const MESSAGES: &str = "collabedit_gateway_messages_total";
/// Payload bytes of messages by `direction`.
pub(crate) const MESSAGE_BYTES: &str = "collabedit_gateway_message_bytes_total";
/// Clients that read too slowly, by `level`: `document` lost its stream, `socket` was closed.
pub(crate) const SLOW_CONSUMERS: &str = "collabedit_gateway_slow_consumers_total";
/// Refusals by `code` and by `place`: `join`, `batch`, `room` or `socket`.
pub(crate) const REFUSALS: &str = "collabedit_gateway_refusals_total";
/// Sockets whose reading was slowed down for sending too much.
pub(crate) const SLOWED_READS: &str = "collabedit_gateway_slowed_reads_total";
/// Clients that could not use what they were sent.
pub(crate) const COMPLAINTS: &str = "collabedit_gateway_complaints_total";

/// Attachments that were offered, by `outcome`: `stored`, or the error code they were refused with.
pub(crate) const ATTACHMENTS: &str = "collabedit_gateway_attachments_total";
/// Bytes of attachments by `direction`.
pub(crate) const ATTACHMENT_BYTES: &str = "collabedit_gateway_attachment_bytes_total";

/// From the receipt of a batch to the bytes of its acknowledgement on the socket.
pub(crate) const ACK_MS: &str = "collabedit_gateway_ack_ms";
/// From the receipt of an update to its bytes on another socket, for the oldest update of each frame.
pub(crate) const DELIVERY_MS: &str = "collabedit_gateway_delivery_ms";

/// Tells the installed recorder what each metric means. Call it once, after installing one.
pub fn describe_metrics() {
    describe_gauge!(
        CONNECTIONS_OPEN,
        Unit::Count,
        "Sockets and streams that are open"
    );
    describe_counter!(
        UPGRADES,
        Unit::Count,
        "Upgrades, accepted or refused with a code"
    );
    describe_gauge!(
        SUBSCRIPTIONS_OPEN,
        Unit::Count,
        "Documents and presences joined by sockets"
    );
    describe_counter!(MESSAGES, Unit::Count, "WebSocket messages in and out");
    describe_counter!(
        MESSAGE_BYTES,
        Unit::Bytes,
        "Payload of WebSocket messages in and out"
    );
    describe_counter!(SLOW_CONSUMERS, Unit::Count, "Clients that read too slowly");
    describe_counter!(REFUSALS, Unit::Count, "Refusals by error code and place");
    describe_counter!(
        SLOWED_READS,
        Unit::Count,
        "Messages after which a socket was read slower"
    );
    describe_counter!(
        ATTACHMENTS,
        Unit::Count,
        "Attachments that were offered, stored or refused with a code"
    );
    describe_counter!(
        ATTACHMENT_BYTES,
        Unit::Bytes,
        "Attachments that were stored and given out"
    );
    describe_histogram!(
        ACK_MS,
        Unit::Milliseconds,
        "From a batch's receipt to its acknowledgement on the socket"
    );
    describe_histogram!(
        DELIVERY_MS,
        Unit::Milliseconds,
        "From an update's receipt to its bytes on another socket"
    );
    describe_counter!(
        COMPLAINTS,
        Unit::Count,
        "Messages that a client could not use"
    );
}
