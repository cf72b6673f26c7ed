use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue, header};
use document_types::{DeviceId, ErrorCode, Principal, UserId};
use sync_protocol::ClientPayload;

/// Says who a client acts for.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The principal of a request or a join, from what the connection came with and what the client
    /// says of itself. A client's word counts for its device only where the credential allows it.
    ///
    /// # Errors
    /// [`AuthenticationError`] if the client is nobody here.
    async fn authenticate(
        &self,
        credentials: &Credentials,
        payload: &ClientPayload,
    ) -> Result<Principal, AuthenticationError>;
}

/// Why a client is nobody here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed with {code}: {message}")]
pub struct AuthenticationError {
    /// What kind of failure; [`ErrorCode::Unavailable`] if it could not be decided.
    pub code: ErrorCode,
    /// For the person.
    pub message: String,
}

/// What a connection came with. Cookies are not among it: a page of another origin would send them
/// along.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The `Authorization` header.
    pub authorization: Option<HeaderValue>,
}

impl Credentials {
    /// The credentials among `headers`.
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            authorization: headers.get(header::AUTHORIZATION).cloned(),
        }
    }
}

/// One user for everybody, without a login: for development and for machines of one's own.
///
/// The user is `usr_local`. A CRDT peer id belongs to a user and a device for ever, so devices have
/// to be told apart: our clients say which they are, and are believed. Stock clients can't say, and
/// keep their peer id over reconnects; they are all the one device `dev_stock`, since a device that
/// lasted only as long as its connection would lock every stock client out of its own peer id at
/// the first reconnect.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalPrincipals;

#[async_trait]
impl Authenticator for LocalPrincipals {
    async fn authenticate(
        &self,
        _credentials: &Credentials,
        payload: &ClientPayload,
    ) -> Result<Principal, AuthenticationError> {
        let device = match payload {
            ClientPayload::CollabEdit(payload) => payload.device.clone(),
            ClientPayload::Stock => DeviceId::parse("dev_stock").expect("a short plain text"),
        };
        Ok(Principal {
            user: UserId::parse("usr_local").expect("a short plain text"),
            device,
        })
    }
}
