//! What services ask of one another.
//!
//! A caller holds a handle and does not know whether the service runs in its own process or
//! elsewhere. Services depend on this crate and never on each other.

mod collaboration;
pub mod grpc;
mod history;
mod presence;

pub use collaboration::{
    AckStamps, Collaboration, Credit, EveryoneWrites, JoinError, JoinRequest, Joined, PeerStanding,
    Permissions, PermissionsUnavailable, RoomHandle, RoomRequest, SessionEvent, Submission,
    SubmitError, UpdateFrame, WireKind,
};
pub use history::{CurrentState, History, HistoryError};
pub use presence::{Presence, PresenceError, PresenceEvent, PresenceJoined};
