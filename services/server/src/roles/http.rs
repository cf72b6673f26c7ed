use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::ListenerExt;
use document_types::limits::{SOCKET_PING_INTERVAL, SOCKET_SILENCE_MAX};
use service_runtime::tls::{Certificate, CertificateError, TlsListener};
use service_runtime::{Health, Metrics, Shutdown, TaskGroup};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connections::serve;
use crate::{Settings, host_guard};

/// The listener for clients, or on a node without a gateway for health and metrics alone. It ends
/// after whatever is registered later, so that health is told until then.
pub struct Http {
    group: TaskGroup,
}

impl Http {
    /// Registers the end of it.
    pub fn register(tasks: &TaskGroup, shutdown: &mut Shutdown) -> Self {
        let group = tasks.sibling();
        let ending = group.clone();
        shutdown.register("http", async move || ending.stop().await);
        Self { group }
    }

    /// Serves `routes`, health and metrics on `listener`, over TLS if there is a certificate.
    pub fn serve(
        &self,
        settings: &Settings,
        (listener, certificate): (TcpListener, Option<&Arc<Certificate>>),
        routes: Router,
        (health, metrics): (&Health, Metrics),
    ) -> Result<(), CertificateError> {
        let routes = routes.merge(health.router()).merge(metrics.router());
        let routes = host_guard::guard(routes, settings.listen.ip());
        let group = self.group.clone();
        match certificate {
            None => {
                let listener = listener.tap_io(|stream| settle(stream));
                self.group.spawn("http", serve(listener, routes, group));
            }
            Some(certificate) => {
                let config = certificate.server_config(&["h2", "http/1.1"])?;
                let listener =
                    TlsListener::new(listener, config).tap_io(|stream| settle(stream.get_ref().0));
                let routes = routes.layer(from_fn(stay_with_tls));
                self.group.spawn("https", serve(listener, routes, group));
                keep_current(&self.group, certificate);
            }
        }
        let upkeep = upkeep(metrics, self.group.stop_token());
        self.group.spawn("metrics upkeep", upkeep);
        Ok(())
    }
}

/// Looks for renewed certificates in the background.
pub fn keep_current(group: &TaskGroup, certificate: &Arc<Certificate>) {
    let (certificate, stop) = (certificate.clone(), group.stop_token());
    group.spawn("certificate", async move {
        stop.run_until_cancelled(certificate.keep_current()).await;
        Ok::<_, Infallible>(())
    });
}

/// Tells browsers to come here over TLS alone from now on (RFC 6797).
async fn stay_with_tls(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let a_year = HeaderValue::from_static("max-age=31536000");
    let headers = response.headers_mut();
    headers.insert(header::STRICT_TRANSPORT_SECURITY, a_year);
    response
}

/// A frame is written whole, so there is nothing for the kernel to wait for. And it is the kernel that
/// notices the end of a client that says nothing and is gone, where no protocol does: on gRPC streams.
fn settle(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(SOCKET_SILENCE_MAX)
        .with_interval(SOCKET_PING_INTERVAL);
    let settled = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = settled {
        tracing::debug!(error = &error as &dyn std::error::Error, "a socket may lag");
    }
}

async fn upkeep(metrics: Metrics, stop: CancellationToken) -> Result<(), Infallible> {
    stop.run_until_cancelled(metrics.upkeep()).await;
    Ok(())
}
