//! Who is in a document and where: the port [`PresenceStore`] and its adapters, the embedded
//! one and Redis.
//!
//! Presence is worth nothing two seconds later, so nothing here is durable and nothing here waits
//! for the log. What sessions show are the engine's encoded ephemeral entries, which are taken apart
//! ([`decode_entries`]) only as far as it takes to keep the newest of each key and to take them away
//! when their session is gone.

pub mod conformance;
mod embedded;
mod entry;
mod mailbox;
mod port;
mod redis;
mod session_entries;

pub use embedded::EmbeddedPresenceStore;
pub use entry::{EntriesError, Entry, decode_entries, decode_entries_of_many, encode_entries};
pub use port::{News, PresenceStore, PresenceStoreError, Seat};
pub use redis::{RedisAddress, RedisAddressError, RedisPresenceStore};
pub use session_entries::{SessionEntries, merge_newest};
