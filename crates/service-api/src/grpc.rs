//! The same services over gRPC (`proto/collabedit/v1`): what a node serves to others, and handles
//! that callers hold in place of local ones.
//!
//! ```text
//!   gateway: RemoteCollaboration ── one stream a node, many seats ──► CollaborationServer: the node's rooms
//!            RemoteHistory ──────── one call a document ────────────► HistoryServer
//!   native client: ClientStream ─── the same stream ────────────────► the gateway, which knows who it is
//! ```
//!
//! Services show each other the shared [`ServiceToken`]. The streams are plain: encrypt them below, or keep
//! them in a network of their own.

mod callers;
mod client_stream;
mod collaboration_server;
mod endpoint;
mod history;
mod node_link;
mod remote_collaboration;
mod seat;
mod seat_messages;
mod serve;
mod status;
mod token;
mod values;

/// What `prost` and `tonic` make of `proto/collabedit/v1`, where everything is described.
#[allow(missing_docs, clippy::all, clippy::unwrap_used)]
mod v1 {
    tonic::include_proto!("collabedit.v1");
}

/// The API's description as a serialised `FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("collabedit.v1");

pub use callers::{Caller, Callers, JoinClaim};
pub use client_stream::ClientStream;
pub use endpoint::{AddressError, ServiceAddress};
pub use history::{RemoteHistory, check_history};
pub use node_link::{ConnectError, check_collaboration};
pub use remote_collaboration::{RemoteCollaboration, RemoteCollaborationParts};
pub use serve::{ServeError, ServedServices, ServiceConnection, client_routes, incoming, serve};
pub use token::{ServiceToken, TokenError};

/// Streams that are open to this node.
pub const STREAMS_OPEN: &str = "collabedit_service_streams_open";
/// Seats that others have in rooms of this node.
pub const SEATS_OPEN: &str = "collabedit_service_seats_open";
/// Collaboration nodes that this gateway is connected to.
pub const NODES_CONNECTED: &str = "collabedit_gateway_nodes_connected";
