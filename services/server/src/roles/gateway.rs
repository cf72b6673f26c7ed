use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use gateway::{GatewayLimits, GatewayState, LocalPrincipals, OriginPolicy};
use service_api::{Collaboration, EveryoneWrites, History, Presence};
use service_runtime::{Health, Metrics, Shutdown, TaskGroup};
use tokio::net::TcpListener;

use crate::{Components, Settings, host_guard, web};

/// What the gateway stands in front of.
pub struct Services {
    pub collaboration: Arc<dyn Collaboration>,
    pub presence: Arc<dyn Presence>,
    pub history: Arc<dyn History>,
}

/// Serves pages, sockets, health and metrics on `listener`.
pub fn start(
    settings: &Settings,
    components: &Components,
    services: Services,
    listener: TcpListener,
    (health, metrics): (&Health, Metrics),
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) {
    let (http, sockets) = (tasks.sibling(), tasks.sibling());
    let gateway = gateway::router(GatewayState {
        collaboration: services.collaboration,
        presence: services.presence,
        history: services.history,
        authenticator: Arc::new(LocalPrincipals),
        permissions: Arc::new(EveryoneWrites),
        origins: origins(settings),
        ids: components.ids(),
        clock: components.clock.clone(),
        limits: GatewayLimits::default(),
        drain: sockets.stop_token(),
        sockets: sockets.tracker(),
    });
    gateway::describe_metrics();
    let pages = match &settings.web.directory {
        Some(directory) => web::Pages::Directory(directory.clone()),
        None => web::Pages::Embedded,
    };
    let routes = Router::new()
        .merge(gateway)
        .merge(health.router())
        .merge(metrics.router())
        .merge(web::router(pages));
    let routes = host_guard::guard(routes, settings.listen.ip());

    let stopped = http.stop_token().cancelled_owned();
    // A frame is written whole, so there is nothing for the kernel to wait for.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "a socket may lag");
        }
    });
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stopped);
    http.spawn("http", async move { serving.await });
    http.spawn("metrics upkeep", upkeep(metrics, http.stop_token()));

    let ready = health.component("gateway", "starting");
    ready.ready();
    shutdown.register("gateway", async move || {
        // Whoever sends traffic here stops while the sockets are still told.
        ready.not_ready("draining");
        sockets.stop().await;
        http.stop().await;
    });
}

fn origins(settings: &Settings) -> OriginPolicy {
    if settings.web.origins.is_empty() {
        OriginPolicy::SameHost
    } else {
        OriginPolicy::Exact(settings.web.origins.iter().cloned().collect())
    }
}

async fn upkeep(
    metrics: Metrics,
    stop: tokio_util::sync::CancellationToken,
) -> Result<(), std::convert::Infallible> {
    stop.run_until_cancelled(metrics.upkeep()).await;
    Ok(())
}
