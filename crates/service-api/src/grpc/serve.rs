//! One listener on which a node answers other services.

use std::io;
use std::sync::Arc;

use document_types::limits::{
    CLIENT_MESSAGE_BYTES_MAX, SERVICE_KEEPALIVE_INTERVAL, SERVICE_KEEPALIVE_TIME_MAX,
    STREAM_WINDOW_BYTES,
};
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

use super::callers::{Callers, Services};
use super::collaboration_server::collaboration_server;
use super::history::history_server;
use super::{DESCRIPTORS, ServiceToken};
use crate::{Collaboration, History};

/// What a node serves to others.
pub struct ServedServices {
    /// Its rooms, if it has any.
    pub collaboration: Option<Arc<dyn Collaboration>>,
    /// Its history, if it has that.
    pub history: Option<Arc<dyn History>>,
    /// What callers have to show.
    pub token: ServiceToken,
}

/// Why serving ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener or a connection's start failed.
    #[error("the services' listener failed")]
    Transport(#[from] tonic::transport::Error),
    /// The API's description can't be served, which is a defect of the build.
    #[error("the API has no description")]
    Description(#[from] tonic_reflection::server::Error),
}

/// What comes in at `listener`, not encrypted.
pub fn incoming(
    listener: TcpListener,
) -> impl Stream<Item = io::Result<impl ServiceConnection>> + Send + 'static {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// A connection on which services may be asked.
pub trait ServiceConnection: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static> ServiceConnection for T {}

/// Answers what comes `incoming` until `stop`; streams run in `tasks` and end with it. Health (`grpc.health.v1`)
/// and reflection are answered without a token.
///
/// # Errors
/// [`ServeError`] if the listener fails.
pub async fn serve(
    incoming: impl Stream<Item = io::Result<impl ServiceConnection>> + Send + 'static,
    services: ServedServices,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let collaboration = services
        .collaboration
        .map(|rooms| collaboration_server(Arc::new(Services(rooms)), tasks, stop.clone()))
        .map(|server| InterceptedService::new(server, services.token.demand()));
    if collaboration.is_some() {
        let name = name_of(collaboration.as_ref());
        reporter
            .set_service_status(name, tonic_health::ServingStatus::Serving)
            .await;
    }
    let history = services
        .history
        .map(|history| history_server(history, &services.token));
    if history.is_some() {
        let name = name_of(history.as_ref());
        reporter
            .set_service_status(name, tonic_health::ServingStatus::Serving)
            .await;
    }
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES)
        .http2_keepalive_interval(Some(SERVICE_KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(SERVICE_KEEPALIVE_TIME_MAX))
        .add_service(health)
        .add_service(reflection)
        .add_optional_service(collaboration)
        .add_optional_service(history)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}

/// What a gateway answers native clients on its own listener: the same service, for those whom it admits
/// itself. Streams run in `tasks` and end with `stop`.
pub fn client_routes(
    callers: Arc<dyn Callers>,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> Routes {
    let server = collaboration_server(callers, tasks, stop);
    Routes::new(server.max_decoding_message_size(CLIENT_MESSAGE_BYTES_MAX))
}

fn name_of<S: NamedService>(_service: Option<&S>) -> &'static str {
    S::NAME
}
