//! The wire between a client and the gateway: `loro-protocol` v1 frames, what CollabEdit adds to
//! them for clients that announce themselves, and what one socket may do. No I/O, no clock.
//!
//! The way in is [`Session`]: it takes a socket's messages and says what they ask for, or how they
//! break the protocol. The way out is [`Speaker`]: it says a room's events to one client in the
//! client's own dialect. Between them lie the codec ([`Frame`]), the negotiated additions
//! ([`ClientPayload`], [`JoinAnswer`], [`ServerText`], [`ClientText`]) and the one table that maps
//! error codes to the wire ([`WireRefusal`]).
//!
//! Source: the protocol's specification and both published implementations at
//! <https://github.com/loro-dev/protocol>.

mod decode;
mod encode;
mod fragments;
mod frame;
mod join;
mod refusal;
mod session;
mod speaker;
mod text;
mod traces;
mod version_encoding;

pub use decode::DecodeError;
pub use encode::EncodeError;
pub use fragments::{FragmentOutcome, FragmentRefusal, Reassembly};
pub use frame::{
    Frame, JoinErrorCode, Magic, Message, RoomErrorCode, Subscription, UpdateStatus, WireMessage,
};
pub use join::{
    ClientPayload, Feature, JoinAnswer, JoinLimits, JoinPayload, PayloadError, PeerAnswer,
};
pub use refusal::{CloseCode, WireRefusal};
pub use session::{Batch, Received, Request, Session, Violation};
pub use speaker::{Dialect, PutOut, Speaker, Stamps};
pub use text::{ClientText, ServerText, TextError};
pub use traces::TraceReport;
pub use version_encoding::{VersionError, decode_version, encode_version};
