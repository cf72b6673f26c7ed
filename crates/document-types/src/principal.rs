use crate::{DeviceId, UserId};

/// What a principal may do with a document, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read the document and its history.
    Read,
    /// Read and change the document.
    Write,
}

/// Who a session acts for. It comes from authentication, never from what a client claims.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// The person.
    pub user: UserId,
    /// The installation the person writes from. A CRDT peer is bound to user and device.
    pub device: DeviceId,
}
