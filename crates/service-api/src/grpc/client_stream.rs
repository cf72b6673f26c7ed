//! A native client's stream to a gateway.

use std::future::Future;
use std::io;
use std::sync::Arc;

use document_types::{DeviceId, DocumentId, ErrorCode, PeerId, SessionId, VersionVector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;

use super::endpoint::endpoint;
use super::node_link::{ConnectError, OpenLink, open};
use super::seat::{self, SeatError};
use super::values::client_join_to_wire;
use crate::{JoinError, Joined};

/// A stream that carries any number of documents. Clones are the same one.
#[derive(Clone)]
pub struct ClientStream {
    link: Arc<OpenLink>,
    tasks: TaskTracker,
}

/// What a client says of itself when it joins a document.
#[derive(Clone, Debug)]
pub struct ClientJoin {
    /// The document.
    pub document: DocumentId,
    /// The client's own name for its stay; the gateway gives the connection another.
    pub session: SessionId,
    /// The installation.
    pub device: DeviceId,
    /// What the replica knows.
    pub version: VersionVector,
    /// The peer id that it will write under.
    pub peer: Option<PeerId>,
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
        let ends = EndOnDrop(link.clone());
        let reading = async move { ends.0.read(responses).await };
        let tasks = TaskTracker::new();
        Ok((Self { link, tasks }, reading))
    }

    /// Joins a document, as [`crate::Collaboration::join`] does.
    ///
    /// # Errors
    /// [`JoinError`]; [`ErrorCode::Unavailable`] if the stream has ended.
    pub async fn join(&self, join: &ClientJoin) -> Result<Joined, JoinError> {
        let wire = client_join_to_wire(join);
        let taking = seat::take(self.link.clone(), wire, &join.session, &self.tasks);
        taking.await.map_err(|error| match error {
            SeatError::Refused(error) => error,
            SeatError::Ended => JoinError {
                code: ErrorCode::Unavailable,
                message: "the stream has ended".into(),
            },
        })
    }
}

/// However the reading ends, the seats learn of it.
struct EndOnDrop(Arc<OpenLink>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
