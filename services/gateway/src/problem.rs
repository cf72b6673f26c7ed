use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use document_types::ErrorCode;
use serde_json::json;

/// A failure as an HTTP answer, `application/problem+json` (RFC 9457) with our code and advice.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: ErrorCode,
    pub(crate) detail: String,
    pub(crate) retry_after: Option<Duration>,
}

impl Problem {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }

    fn status(&self) -> StatusCode {
        match self.code {
            ErrorCode::InvalidUpdate | ErrorCode::ProtocolViolation => StatusCode::BAD_REQUEST,
            ErrorCode::UnsupportedVersion => StatusCode::NOT_ACCEPTABLE,
            ErrorCode::TooLarge | ErrorCode::DocumentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::PermissionDenied | ErrorCode::ForeignPeer | ErrorCode::Suspended => {
                StatusCode::FORBIDDEN
            }
            ErrorCode::Equivocation | ErrorCode::MissingDependency => StatusCode::CONFLICT,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::FragmentTimeout | ErrorCode::SlowConsumer => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Unavailable | ErrorCode::Draining | ErrorCode::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = json!({
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": self.code.as_str(),
            "advice": self.code.advice().as_str(),
            "detail": self.detail,
        });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(retry_after) = self.retry_after {
            // Whole seconds, rounded up: earlier than told would be refused again.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
