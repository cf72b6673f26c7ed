use document_types::{Advice, ErrorCode};

use crate::frame::{JoinErrorCode, RoomErrorCode, UpdateStatus};

/// A WebSocket close code, RFC 6455 section 7.4. Stock clients come back after any of ours but those
/// from 4400 to 4499; they also stay away after 1008 and 1011, which are therefore never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The other side is silent, or goes.
    pub const GOING_AWAY: Self = Self(1001);
    /// The server restarts: come back at once, elsewhere.
    pub const RESTARTING: Self = Self(1012);
    /// Come back later.
    pub const TRY_LATER: Self = Self(1013);
    /// No join came in time. A stock client connects again when it has something to join.
    pub const NO_JOIN: Self = Self(4408);
}

/// How an error code reads in each place where the stock protocol has room for one. This is the one
/// table from codes to the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireRefusal {
    /// In an ack of a refused batch.
    pub status: UpdateStatus,
    /// In the answer to a refused join.
    pub join: JoinErrorCode,
    /// In a notice that a room was left.
    pub room: RoomErrorCode,
    /// In the close frame, where the whole socket is refused.
    pub close: CloseCode,
}

impl WireRefusal {
    /// How `code` reads.
    pub fn of(code: ErrorCode) -> Self {
        let (status, close) = match code {
            ErrorCode::InvalidUpdate | ErrorCode::Equivocation => {
                (UpdateStatus::InvalidUpdate, CloseCode(4422))
            }
            ErrorCode::TooLarge | ErrorCode::DocumentTooLarge => {
                (UpdateStatus::PayloadTooLarge, CloseCode(4413))
            }
            ErrorCode::PermissionDenied | ErrorCode::ForeignPeer | ErrorCode::Suspended => {
                (UpdateStatus::PermissionDenied, CloseCode(4403))
            }
            ErrorCode::RateLimited => (UpdateStatus::RateLimited, CloseCode::TRY_LATER),
            ErrorCode::FragmentTimeout => (UpdateStatus::FragmentTimeout, CloseCode::TRY_LATER),
            ErrorCode::Draining => (UpdateStatus::AppError, CloseCode::RESTARTING),
            ErrorCode::MissingDependency
            | ErrorCode::SlowConsumer
            | ErrorCode::Unavailable
            | ErrorCode::Overloaded
            | ErrorCode::Internal => (UpdateStatus::AppError, CloseCode::TRY_LATER),
            ErrorCode::NotFound => (UpdateStatus::AppError, CloseCode(4404)),
            ErrorCode::UnsupportedVersion => (UpdateStatus::AppError, CloseCode(4406)),
            ErrorCode::ProtocolViolation => (UpdateStatus::InvalidUpdate, CloseCode(4400)),
        };
        let join = match status {
            UpdateStatus::PermissionDenied => JoinErrorCode::AuthFailed,
            _ => JoinErrorCode::AppError,
        };
        let room = match code.advice() {
            Advice::Retry | Advice::Rejoin => RoomErrorCode::RejoinSuggested,
            Advice::Fix | Advice::GiveUp => RoomErrorCode::Evicted,
        };
        Self {
            status,
            join,
            room,
            close,
        }
    }
}

/// Whether a stock client's refused batch is mended by its joining again. Stock clients never send
/// a batch twice, but a join makes them send all that the server lacks: what was only early or
/// unlucky then goes in, and foreign spans are cut off.
pub(crate) fn stock_rejoin_mends(code: ErrorCode) -> bool {
    matches!(code.advice(), Advice::Retry | Advice::Rejoin) || code == ErrorCode::ForeignPeer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::from_name("too_purple"), None);
    }

    #[test]
    fn stock_clients_come_back_exactly_after_what_may_pass() {
        for code in ErrorCode::ALL {
            let CloseCode(close) = WireRefusal::of(code).close;
            let stays_away = (4400..=4499).contains(&close) || close == 1008 || close == 1011;
            let passes = matches!(code.advice(), Advice::Retry | Advice::Rejoin);
            assert_eq!(stays_away, !passes, "{code}");
        }
    }

    #[test]
    fn no_refusal_reads_as_an_ack() {
        for code in ErrorCode::ALL {
            assert_ne!(WireRefusal::of(code).status, UpdateStatus::Ok);
        }
    }
}
