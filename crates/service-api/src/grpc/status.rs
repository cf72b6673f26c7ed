//! Error codes on gRPC: one mapping to its status codes, with our code and advice in the details
//! (`google.rpc.ErrorInfo`), and the way back.

use std::collections::HashMap;

use document_types::ErrorCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Whose codes the reasons are.
const DOMAIN: &str = "collabedit";

/// A refusal as gRPC has it.
pub(super) fn refusal_status(code: ErrorCode, message: &str) -> Status {
    let advice = ("advice".to_owned(), code.advice().as_str().to_owned());
    let reason = code.as_str().to_uppercase();
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::from([advice]));
    Status::with_error_details(status_code(code), message, details)
}

/// What a call's failure is to its caller, whether one of ours refused it or something in between.
pub(super) fn refusal_of(status: &Status) -> (ErrorCode, String) {
    let ours = status
        .get_details_error_info()
        .filter(|info| info.domain == DOMAIN)
        .and_then(|info| ErrorCode::from_name(&info.reason.to_lowercase()));
    let code = ours.unwrap_or_else(|| match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::Unimplemented => ErrorCode::UnsupportedVersion,
        Code::ResourceExhausted => ErrorCode::Overloaded,
        Code::InvalidArgument => ErrorCode::ProtocolViolation,
        Code::Internal | Code::DataLoss => ErrorCode::Internal,
        _ => ErrorCode::Unavailable,
    });
    (code, status.message().to_owned())
}

fn status_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidUpdate | ErrorCode::ProtocolViolation | ErrorCode::TooLarge => {
            Code::InvalidArgument
        }
        ErrorCode::DocumentTooLarge | ErrorCode::Equivocation | ErrorCode::MissingDependency => {
            Code::FailedPrecondition
        }
        ErrorCode::PermissionDenied | ErrorCode::ForeignPeer | ErrorCode::Suspended => {
            Code::PermissionDenied
        }
        ErrorCode::RateLimited | ErrorCode::Overloaded => Code::ResourceExhausted,
        ErrorCode::FragmentTimeout => Code::DeadlineExceeded,
        ErrorCode::SlowConsumer => Code::Aborted,
        ErrorCode::Unavailable | ErrorCode::Draining => Code::Unavailable,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::UnsupportedVersion => Code::Unimplemented,
        ErrorCode::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_as_itself() {
        for code in ErrorCode::ALL {
            let status = refusal_status(code, "because");
            assert_eq!(refusal_of(&status), (code, "because".to_owned()));
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.metadata["advice"], code.advice().as_str());
        }
    }

    #[test]
    fn what_others_refuse_has_a_code_too() {
        let (code, _) = refusal_of(&Status::unavailable("a proxy says so"));
        assert_eq!(code, ErrorCode::Unavailable);
        let (code, _) = refusal_of(&Status::unimplemented("an old server"));
        assert_eq!(code, ErrorCode::UnsupportedVersion);
    }
}
