//! A document's state, read on another node.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use document_types::limits::{
    HISTORY_CALL_TIME_MAX, HISTORY_PART_BYTES_MAX, HISTORY_TEXT_BYTES_MAX, SERVICE_CONNECT_TIME_MAX,
};
use document_types::{Digest, DocumentId, ErrorCode};
use futures::{Stream, stream};
use tokio::time::timeout;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::status::{refusal_of, refusal_status};
use super::v1::history_service_client::HistoryServiceClient;
use super::v1::history_service_server::{HistoryService, HistoryServiceServer};
use super::v1::{CurrentVersion, GetCurrentRequest, GetCurrentResponse};
use super::values::{
    document_from_wire, frontiers_from_wire, frontiers_to_wire, version_from_wire, version_to_wire,
};
use super::{ConnectError, ServiceAddress, ServiceToken};
use crate::{CurrentState, History, HistoryError};

/// Serves `history` to whoever shows `token`.
pub(super) fn history_server(
    history: Arc<dyn History>,
    token: &ServiceToken,
) -> InterceptedService<
    HistoryServiceServer<impl HistoryService>,
    impl tonic::service::Interceptor + Clone + Send + Sync + 'static,
> {
    InterceptedService::new(
        HistoryServiceServer::new(Server { history }),
        token.demand(),
    )
}

struct Server {
    history: Arc<dyn History>,
}

#[tonic::async_trait]
impl HistoryService for Server {
    type GetCurrentStream = Pin<Box<dyn Stream<Item = Result<GetCurrentResponse, Status>> + Send>>;

    async fn get_current(
        &self,
        request: Request<GetCurrentRequest>,
    ) -> Result<Response<Self::GetCurrentStream>, Status> {
        let document = document_from_wire(&request.get_ref().document)
            .map_err(|error| refusal_status(ErrorCode::NotFound, &error.to_string()))?;
        let state = self.history.current(&document).await;
        let state = state.map_err(|error| refusal_status(error.code, &error.message))?;
        Ok(Response::new(Box::pin(stream::iter(parts(state).map(Ok)))))
    }
}

/// The answer's parts, cut between characters.
fn parts(state: CurrentState) -> impl Iterator<Item = GetCurrentResponse> + Send {
    let mut version = Some(CurrentVersion {
        version: Some(version_to_wire(&state.version)),
        frontiers: frontiers_to_wire(&state.frontiers),
        state_hash: state.state_hash.0.to_vec().into(),
    });
    let (text, mut start) = (state.text, 0);
    std::iter::from_fn(move || {
        if start == text.len() && version.is_none() {
            return None;
        }
        let end = text.floor_char_boundary(start + HISTORY_PART_BYTES_MAX);
        let part = GetCurrentResponse {
            version: version.take(),
            text: text[start..end].to_owned(),
        };
        start = end;
        Some(part)
    })
}

/// History on other nodes: each is as good as another.
pub struct RemoteHistory {
    token: ServiceToken,
    channel: Channel,
}

impl RemoteHistory {
    /// Calls are spread over `nodes`. It connects with the first call.
    ///
    /// # Errors
    /// If there is TLS, and nobody to trust.
    pub fn new(nodes: &[ServiceAddress], token: ServiceToken) -> Result<Self, ConnectError> {
        let endpoints: Result<Vec<_>, _> = nodes.iter().map(ServiceAddress::endpoint).collect();
        let channel = Channel::balance_list(endpoints?.into_iter());
        Ok(Self { token, channel })
    }

    async fn ask(
        &self,
        request: GetCurrentRequest,
    ) -> Result<Streaming<GetCurrentResponse>, HistoryError> {
        let mut client =
            HistoryServiceClient::with_interceptor(self.channel.clone(), self.token.show());
        let mut request = Request::new(request);
        request.set_timeout(HISTORY_CALL_TIME_MAX);
        let answer = client.get_current(request).await;
        Ok(answer.map_err(|status| failed(&status))?.into_inner())
    }

    async fn call(&self, document: &DocumentId) -> Result<CurrentState, HistoryError> {
        let document = document.to_string();
        let mut parts = self.ask(GetCurrentRequest { document }).await?;
        let mut version = None;
        let mut text = String::new();
        while let Some(part) = parts.message().await.map_err(|status| failed(&status))? {
            version = version.or(part.version);
            text.push_str(&part.text);
            if text.len() > HISTORY_TEXT_BYTES_MAX {
                let message = "the text is longer than an answer may be".to_owned();
                let code = ErrorCode::DocumentTooLarge;
                return Err(HistoryError { code, message });
            }
        }
        let malformed = || HistoryError {
            code: ErrorCode::Internal,
            message: "the answer has no version".into(),
        };
        let version = version.ok_or_else(malformed)?;
        Ok(CurrentState {
            text,
            version: version_from_wire(version.version),
            frontiers: frontiers_from_wire(&version.frontiers),
            state_hash: Digest::from_slice(&version.state_hash).ok_or_else(malformed)?,
        })
    }
}

/// Whether there is a history node at `address` that takes `token`.
///
/// # Errors
/// What is wrong.
pub async fn check_history(
    address: &ServiceAddress,
    token: &ServiceToken,
) -> Result<(), HistoryError> {
    let remote = RemoteHistory::new(std::slice::from_ref(address), token.clone());
    let remote = remote.map_err(|error| HistoryError {
        code: ErrorCode::Unavailable,
        message: error.to_string(),
    })?;
    let nothing = GetCurrentRequest::default();
    let asking = timeout(SERVICE_CONNECT_TIME_MAX, remote.ask(nothing)).await;
    match asking {
        // A document without a name is the one thing that it has not.
        Ok(Err(error)) if error.code == ErrorCode::NotFound => Ok(()),
        Ok(answer) => answer.map(|_| ()),
        Err(_) => Err(HistoryError {
            code: ErrorCode::Unavailable,
            message: "the node does not answer in time".into(),
        }),
    }
}

#[async_trait]
impl History for RemoteHistory {
    async fn current(&self, document: &DocumentId) -> Result<CurrentState, HistoryError> {
        let answer = timeout(HISTORY_CALL_TIME_MAX, self.call(document)).await;
        answer.unwrap_or_else(|_| {
            Err(HistoryError {
                code: ErrorCode::Unavailable,
                message: "no history node answers in time".into(),
            })
        })
    }
}

fn failed(status: &Status) -> HistoryError {
    let (code, message) = refusal_of(status);
    HistoryError { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for text in [String::new(), "ä€😀".repeat(100_000)] {
            let state = CurrentState {
                text: text.clone(),
                version: [(document_types::PeerId(1), 2)].into_iter().collect(),
                frontiers: Vec::new(),
                state_hash: Digest([7; 32]),
            };
            let parts: Vec<_> = parts(state).collect();
            assert_eq!(
                parts.iter().filter(|part| part.version.is_some()).count(),
                1
            );
            assert!(
                parts
                    .iter()
                    .all(|part| part.text.len() <= HISTORY_PART_BYTES_MAX)
            );
            let whole: String = parts.iter().map(|part| part.text.as_str()).collect();
            assert_eq!(whole, text);
        }
    }
}
