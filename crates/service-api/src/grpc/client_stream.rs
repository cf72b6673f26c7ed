//! A native client's stream to a gateway.

use std::future::Future;
use std::io;
use std::sync::Arc;

use document_types::{ErrorCode, SessionId};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;

use super::callers::JoinClaim;
use super::endpoint::endpoint;
use super::node_link::{ConnectError, OpenLink, open};
use super::seat::{self, SeatError};
use super::values::join_to_wire;
use crate::{JoinError, Joined};

/// A stream that carries any number of documents. Clones are the same one.
#[derive(Clone)]
pub struct ClientStream {
    link: Arc<OpenLink>,
    tasks: TaskTracker,
}

impl ClientStream {
    /// Opens a stream to the gateway at `uri`, on a connection that `dial` makes, with `credential` as
    /// the bearer token. The future that comes with it carries what arrives, and ends with the stream,
    /// saying how; seats do nothing unless it runs.
    ///
    /// # Errors
    /// [`ConnectError`] says what is wrong.
    pub async fn open<Dial, Dialing, Connection>(
        uri: Uri,
        credential: Option<&str>,
        dial: Dial,
    ) -> Result<(Self, impl Future<Output = String> + Send + 'static), ConnectError>
    where
        Dial: Fn() -> Dialing + Send + 'static,
        Dialing: Future<Output = io::Result<Connection>> + Send + 'static,
        Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let header: Option<MetadataValue<Ascii>> = match credential {
            Some(credential) => {
                let header = format!("Bearer {credential}").parse();
                let mut header: MetadataValue<_> = header.map_err(|_| ConnectError::Credential)?;
                header.set_sensitive(true);
                Some(header)
            }
            None => None,
        };
        let dial = tower::service_fn(move |_: Uri| {
            let dialing = dial();
            async move { dialing.await.map(TokioIo::new) }
        });
        let channel = endpoint(uri).connect_with_connector(dial).await?;
        let (link, responses) = open(channel, move |mut request: Request<()>| {
            if let Some(header) = &header {
                request
                    .metadata_mut()
                    .insert("authorization", header.clone());
            }
            Ok(request)
        })
        .await?;
        let tasks = TaskTracker::new();
        let reading = link.clone().read(responses);
        Ok((Self { link, tasks }, reading))
    }

    /// Joins a document, as [`crate::Collaboration::join`] does. `session` is the client's own name for its
    /// stay; the gateway gives the connection another.
    ///
    /// # Errors
    /// [`JoinError`]; [`ErrorCode::Unavailable`] if the stream has ended.
    pub async fn join(&self, session: SessionId, claim: JoinClaim) -> Result<Joined, JoinError> {
        let taking = seat::take(self.link.clone(), join_to_wire(claim), session, &self.tasks);
        taking.await.map_err(|error| match error {
            SeatError::Refused(error) => error,
            SeatError::Ended => JoinError {
                code: ErrorCode::Unavailable,
                message: "the stream has ended".into(),
            },
        })
    }
}
