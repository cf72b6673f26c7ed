//! The Rust client of CollabEdit: connect, edit, subscribe, reconnect.
//!
//! A [`Client`] keeps one connection and comes back by itself when it is lost. A [`Document`] is a
//! full replica: edits are in it at once, also without a network, and are sent until the server has
//! acknowledged that they are durable.
//!
//! ```no_run
//! use collabedit_sdk::{Client, DocumentEvent, DocumentId, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Options::new("http://127.0.0.1:8787"))?;
//! let notes = client.open(&DocumentId::parse("notes")?)?;
//! notes.wait_caught_up().await?;
//!
//! notes.insert(0, "Hello. ")?;
//! notes.wait_acknowledged().await?;
//!
//! let mut events = notes.subscribe();
//! while let Ok(event) = events.recv().await {
//!     if let DocumentEvent::Changed(change) = event {
//!         println!("somebody else did {change:?}; the text is {:?}", notes.text()?);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # What it takes care of
//! - **When to commit.** While few people type, an edit becomes an operation and goes out at once.
//!   While many do, the server's room beats, and a client commits right after it has imported the
//!   beat's updates. That keeps history close to a line, and everybody's imports cheap.
//! - **Large edits.** A long text goes out in updates of at most 16 KiB of inserted text, since the
//!   engine's imports cost time in the square of it.
//! - **Lost connections.** Reconnecting pauses 2, 4, 8 … 30 seconds with full jitter. What was not
//!   acknowledged is offered again, unless the server's version already has it; the server lets
//!   nothing in twice.
//! - **Refusals.** A refused operation would wedge a replica, since all later ones build on it. The
//!   replica is replaced by one without it that has taken over everything else, under a new peer id,
//!   and the application gets a [`RecoveryCopy`] of the old one.
//! - **A failing engine.** A panic in an import costs the replica, not the process: it is loaded
//!   again, and own operations are put back.

mod backoff;
mod client;
mod connection;
mod content;
mod document;
mod endpoint;
mod error;
mod event;
mod options;
mod outbox;
mod recovery;
mod registry;
mod replica;
mod text_change;
mod trust;

pub use client::Client;
pub use document::{Document, Mark, TextEdit};
pub use document_types::{
    Advice, CounterSpan, DeviceId, Digest, DocumentId, ErrorCode, OpId, PeerId, VersionVector,
};
pub use endpoint::{Connector, Stream, TcpConnector};
pub use error::{ClosedError, ConnectError, EditError, OpenError, ReadError};
pub use event::{Acknowledged, Committed, DocumentEvent, RecoveryCopy, Stamps, Standing, Status};
pub use options::Options;
pub use text_change::{LengthMismatch, TextChange, TextStep};
pub use trust::Trust;
