use std::convert::Infallible;
use std::io;

use axum::Router;
use axum::serve::ListenerExt;
use document_types::limits::{SOCKET_PING_INTERVAL, SOCKET_SILENCE_MAX};
use service_runtime::{Health, Metrics, Shutdown, TaskGroup};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

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

    /// Serves `routes`, health and metrics on `listener`.
    pub fn serve(
        &self,
        settings: &Settings,
        listener: TcpListener,
        routes: Router,
        (health, metrics): (&Health, Metrics),
    ) {
        let routes = routes.merge(health.router()).merge(metrics.router());
        let routes = host_guard::guard(routes, settings.listen.ip());
        let stopped = self.group.stop_token().cancelled_owned();
        let listener = listener.tap_io(|stream| {
            if let Err(error) = settle(stream) {
                tracing::debug!(error = &error as &dyn std::error::Error, "a socket may lag");
            }
        });
        let serving = axum::serve(listener, routes).with_graceful_shutdown(stopped);
        self.group.spawn("http", async move { serving.await });
        let upkeep = upkeep(metrics, self.group.stop_token());
        self.group.spawn("metrics upkeep", upkeep);
    }
}

/// A frame is written whole, so there is nothing for the kernel to wait for. And it is the kernel that
/// notices the end of a client that says nothing and is gone, where no protocol does: on gRPC streams.
fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(SOCKET_SILENCE_MAX)
        .with_interval(SOCKET_PING_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

async fn upkeep(metrics: Metrics, stop: CancellationToken) -> Result<(), Infallible> {
    stop.run_until_cancelled(metrics.upkeep()).await;
    Ok(())
}
