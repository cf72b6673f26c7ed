//! The gateway's suites once more, with the rooms and the history on a node that is spoken to over
//! gRPC: a client can't tell where they are.
#![allow(clippy::duplicate_mod)] // Each suite brings its support along, as it does on its own.

#[path = "lifetime.rs"]
mod lifetime;
#[path = "native_clients.rs"]
mod native_clients;
#[path = "stock_client.rs"]
mod stock_client;
#[path = "sync.rs"]
mod sync;
#[path = "traced.rs"]
mod traced;
