//! Our values as the wire has them, and back. What does not parse is the sender's defect.

use document_types::{
    BatchId, DeviceId, DocumentId, ErrorCode, HlcTimestamp, LogOffset, NodeId, OpId, PeerId,
    SessionId, UserId, VersionVector,
};

use super::callers::{JoinClaim, optional};
use super::v1;
use crate::{AckStamps, WireKind};

/// A message is not what `proto/collabedit/v1` describes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed: {0}")]
pub(super) struct Malformed(pub(super) String);

pub(super) fn version_to_wire(version: &VersionVector) -> v1::VersionVector {
    let entries = version
        .iter()
        .map(|(peer, end)| v1::PeerEnd { peer: peer.0, end });
    v1::VersionVector {
        entries: entries.collect(),
    }
}

pub(super) fn version_from_wire(version: Option<v1::VersionVector>) -> VersionVector {
    let entries = version.unwrap_or_default().entries;
    entries
        .into_iter()
        .map(|entry| (PeerId(entry.peer), entry.end))
        .collect()
}

pub(super) fn frontiers_to_wire(frontiers: &[OpId]) -> Vec<v1::OpId> {
    let ids = frontiers.iter().map(|id| v1::OpId {
        peer: id.peer.0,
        counter: id.counter,
    });
    ids.collect()
}

pub(super) fn frontiers_from_wire(frontiers: &[v1::OpId]) -> Vec<OpId> {
    let ids = frontiers.iter().map(|id| OpId {
        peer: PeerId(id.peer),
        counter: id.counter,
    });
    ids.collect()
}

pub(super) fn document_from_wire(id: &str) -> Result<DocumentId, Malformed> {
    DocumentId::parse(id).map_err(|error| Malformed(error.to_string()))
}

pub(super) fn batch_from_wire(batch: &[u8]) -> Result<BatchId, Malformed> {
    let batch = batch
        .try_into()
        .map_err(|_| Malformed("a batch's id has 8 bytes".into()))?;
    Ok(BatchId(batch))
}

pub(super) fn join_to_wire(claim: JoinClaim) -> v1::Join {
    let (session, user) = (claim.session, claim.user);
    v1::Join {
        document: claim.document.to_string(),
        session: session.map(|id| id.to_string()).unwrap_or_default(),
        principal: Some(v1::Principal {
            user: user.map(|id| id.to_string()).unwrap_or_default(),
            device: claim.device.to_string(),
        }),
        version: Some(version_to_wire(&claim.version)),
        hears_pulse: claim.kind == WireKind::CollabEdit,
        peer: claim.peer.map(|peer| peer.0),
    }
}

pub(super) fn join_from_wire(join: v1::Join) -> Result<JoinClaim, Malformed> {
    let principal = join
        .principal
        .ok_or_else(|| Malformed("a join has a principal".into()))?;
    Ok(JoinClaim {
        document: document_from_wire(&join.document)?,
        session: optional(&join.session, SessionId::parse)?,
        user: optional(&principal.user, UserId::parse)?,
        device: DeviceId::parse(&principal.device).map_err(|error| Malformed(error.to_string()))?,
        version: version_from_wire(join.version),
        kind: if join.hears_pulse {
            WireKind::CollabEdit
        } else {
            WireKind::Stock
        },
        peer: join.peer.map(PeerId),
    })
}

pub(super) fn stamps_to_wire(stamps: &AckStamps) -> v1::AckStamps {
    v1::AckStamps {
        hlc_first: stamps.first.as_u64(),
        hlc_last: stamps.last.as_u64(),
        node: stamps.node.0,
        offset: stamps.offset.0,
    }
}

pub(super) fn stamps_from_wire(stamps: &v1::AckStamps) -> AckStamps {
    AckStamps {
        first: HlcTimestamp::from_u64(stamps.hlc_first),
        last: HlcTimestamp::from_u64(stamps.hlc_last),
        node: NodeId(stamps.node),
        offset: LogOffset(stamps.offset),
    }
}

impl From<ErrorCode> for v1::ErrorCode {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidUpdate => Self::InvalidUpdate,
            ErrorCode::TooLarge => Self::TooLarge,
            ErrorCode::DocumentTooLarge => Self::DocumentTooLarge,
            ErrorCode::PermissionDenied => Self::PermissionDenied,
            ErrorCode::ForeignPeer => Self::ForeignPeer,
            ErrorCode::Equivocation => Self::Equivocation,
            ErrorCode::MissingDependency => Self::MissingDependency,
            ErrorCode::RateLimited => Self::RateLimited,
            ErrorCode::FragmentTimeout => Self::FragmentTimeout,
            ErrorCode::Suspended => Self::Suspended,
            ErrorCode::SlowConsumer => Self::SlowConsumer,
            ErrorCode::Unavailable => Self::Unavailable,
            ErrorCode::Draining => Self::Draining,
            ErrorCode::Overloaded => Self::Overloaded,
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::UnsupportedVersion => Self::UnsupportedVersion,
            ErrorCode::ProtocolViolation => Self::ProtocolViolation,
            ErrorCode::Internal => Self::Internal,
        }
    }
}

/// A code's number; one of a newer version reads as our defect, which callers retry.
pub(super) fn code_from_wire(number: i32) -> ErrorCode {
    ErrorCode::ALL
        .into_iter()
        .find(|code| v1::ErrorCode::from(*code) as i32 == number)
        .unwrap_or(ErrorCode::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_number_of_its_own() {
        for code in ErrorCode::ALL {
            assert_eq!(code_from_wire(v1::ErrorCode::from(code) as i32), code);
        }
        assert_eq!(code_from_wire(0), ErrorCode::Internal);
        assert_eq!(code_from_wire(99), ErrorCode::Internal);
    }

    #[test]
    fn a_join_comes_back_as_itself() {
        let claim = JoinClaim {
            document: DocumentId::parse("notes").unwrap(),
            session: Some(SessionId::parse("ses_1").unwrap()),
            user: Some(UserId::parse("usr_a").unwrap()),
            device: DeviceId::parse("dev_a").unwrap(),
            version: [(PeerId(7), 3), (PeerId(u64::MAX), u32::MAX)]
                .into_iter()
                .collect(),
            kind: WireKind::CollabEdit,
            peer: Some(PeerId(7)),
        };
        let of_a_client = JoinClaim {
            session: None,
            user: None,
            ..claim.clone()
        };
        for claim in [claim, of_a_client] {
            let back = join_from_wire(join_to_wire(claim.clone())).unwrap();
            assert_eq!(format!("{back:?}"), format!("{claim:?}"));
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        assert!(join_from_wire(v1::Join::default()).is_err());
        assert!(batch_from_wire(&[1; 7]).is_err());
    }
}
