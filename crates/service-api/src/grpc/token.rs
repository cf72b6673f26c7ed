use std::fmt;

use document_types::ErrorCode;
use document_types::limits::{SERVICE_TOKEN_BYTES_MAX, SERVICE_TOKEN_BYTES_MIN};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::status::refusal_status;

const HEADER: &str = "authorization";

/// The secret that the services of a deployment share, and that each call between them carries.
#[derive(Clone)]
pub struct ServiceToken {
    header: MetadataValue<Ascii>,
    digest: blake3::Hash,
}

/// A text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It could be guessed, or is too long for a header.
    #[error(
        "a service token has from {SERVICE_TOKEN_BYTES_MIN} to {SERVICE_TOKEN_BYTES_MAX} bytes, this one has {0}"
    )]
    Length(usize),
    /// It can't stand in a header.
    #[error("a service token has visible ASCII characters only")]
    Characters,
}

impl ServiceToken {
    /// The token `text`, without white space around it.
    ///
    /// # Errors
    /// [`TokenError`] if it can't be one.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if !(SERVICE_TOKEN_BYTES_MIN..=SERVICE_TOKEN_BYTES_MAX).contains(&text.len()) {
            return Err(TokenError::Length(text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        let mut header: MetadataValue<Ascii> = format!("Bearer {text}")
            .parse()
            .map_err(|_| TokenError::Characters)?;
        header.set_sensitive(true);
        let digest = blake3::hash(header.as_bytes());
        Ok(Self { header, digest })
    }

    /// Puts the token into every call.
    pub(super) fn show(&self) -> impl Interceptor + Clone + Send + Sync + 'static {
        let header = self.header.clone();
        move |mut request: Request<()>| {
            request.metadata_mut().insert(HEADER, header.clone());
            Ok(request)
        }
    }

    /// Refuses every call without it.
    pub(super) fn demand(&self) -> impl Interceptor + Clone + Send + Sync + 'static {
        let expected = self.digest;
        move |request: Request<()>| {
            let shown = request.metadata().get(HEADER);
            // Digests are compared in constant time.
            if shown.is_some_and(|shown| blake3::hash(shown.as_bytes()) == expected) {
                Ok(request)
            } else {
                Err(unauthenticated())
            }
        }
    }
}

fn unauthenticated() -> Status {
    let message = "the call has no service token, or not this deployment's";
    let refusal = refusal_status(ErrorCode::PermissionDenied, message);
    Status::with_details(
        tonic::Code::Unauthenticated,
        message,
        refusal.details().to_vec().into(),
    )
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_needs_the_same_token() {
        let token = ServiceToken::parse("0123456789abcdef\n").unwrap();
        let other = ServiceToken::parse("0123456789abcdeF").unwrap();
        let shown = token.show().call(Request::new(())).unwrap();
        assert!(token.demand().call(shown).is_ok());
        let shown = other.show().call(Request::new(())).unwrap();
        let refused = token.demand().call(shown).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        assert!(token.demand().call(Request::new(())).is_err());
    }

    #[test]
    fn what_could_be_guessed_is_no_token() {
        assert_eq!(
            ServiceToken::parse(" short ").unwrap_err(),
            TokenError::Length(5)
        );
        let spaced = ServiceToken::parse("with a space in between").unwrap_err();
        assert_eq!(spaced, TokenError::Characters);
        assert_eq!(
            format!("{:?}", ServiceToken::parse(&"x".repeat(16))),
            "Ok(ServiceToken)"
        );
    }
}
