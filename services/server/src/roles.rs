//! The parts of a node, one file each: how each is put together, and how it ends.

pub mod collaboration;
mod connections;
pub mod gateway;
pub mod history;
pub mod http;
pub mod life;
pub mod log;
pub mod merger;
pub mod presence;
pub mod services;
pub mod storage;
pub mod traces;
