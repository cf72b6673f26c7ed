//! The gateway: WebSocket sessions between clients and the services behind. It holds no document
//! state; it admits sockets, speaks the wire protocol, and drops the stream of whoever reads too
//! slowly.
//!
//! One socket is one task ([`socket`]) with a reader and a writer in it, and one task for each
//! document or presence that the socket joined ([`document_task`], [`presence_task`]). Between them
//! run bounded queues only:
//!
//! ```text
//!   socket ─► reader ─► document task ─► room        a full room queue slows down this reader
//!   socket ◄─ writer ◄─ document task ◄─ room        a full socket makes the room drop the stream
//! ```
//!
//! So a document whose room is slow holds up the others on its socket only once several of its own
//! batches wait, and a client that reads slowly holds up nobody.

mod admission;
mod attachments;
mod authenticator;
mod document_task;
mod document_text;
mod followed;
mod joining;
mod metric_names;
mod native_clients;
mod origin;
mod presence_task;
mod problem;
mod queue;
mod rate;
mod reader;
mod request;
mod router;
mod socket;
mod state;
mod upgrade;
mod writer;

pub use authenticator::{AuthenticationError, Authenticator, Credentials, LocalPrincipals};
pub use metric_names::describe_metrics;
pub use origin::OriginPolicy;
pub use router::router;
pub use state::{GatewayLimits, GatewayState};
