use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use blob_store::BlobStore;
use gateway::{GatewayLimits, GatewayState, LocalPrincipals, OriginPolicy};
use service_api::grpc::{
    ConnectError, RemoteCollaboration, RemoteCollaborationParts, RemoteHistory, ServiceAddress,
    ServiceToken,
};
use service_api::{Collaboration, EveryoneWrites, History, Presence};
use service_runtime::{Health, Shutdown, TaskGroup};
use traces::Traces;

use crate::plan::Plan;
use crate::{Components, Settings, web};

/// What the gateway stands in front of.
pub struct Services {
    pub collaboration: Arc<dyn Collaboration>,
    pub presence: Arc<dyn Presence>,
    pub history: Arc<dyn History>,
}

/// Starts the gateway; the routes are for the node's listener.
pub fn start(
    settings: &Settings,
    components: &Components,
    traces: Traces,
    services: Services,
    health: &Health,
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Router {
    let sockets = tasks.sibling();
    let gateway = gateway::router(GatewayState {
        collaboration: services.collaboration,
        presence: services.presence,
        history: services.history,
        blobs: components.blobs.clone(),
        authenticator: Arc::new(LocalPrincipals),
        permissions: Arc::new(EveryoneWrites),
        origins: origins(settings),
        ids: components.ids(),
        clock: components.clock.clone(),
        traces,
        limits: GatewayLimits::default(),
        drain: sockets.stop_token(),
        sockets: sockets.tracker(),
    });
    gateway::describe_metrics();
    if let Some(blobs) = components.blobs.clone() {
        check_blobs(blobs, tasks, shutdown);
    }
    let pages = match &settings.web.directory {
        Some(directory) => web::Pages::Directory(directory.clone()),
        None => web::Pages::Embedded,
    };

    let ready = health.component("gateway", "starting");
    ready.ready();
    shutdown.register("gateway", async move || {
        // Whoever sends traffic here stops while the sockets are still told.
        ready.not_ready("draining");
        sockets.stop().await;
    });
    Router::new().merge(gateway).merge(web::router(pages))
}

/// Says in the log whether attachments can be stored. The node is ready without that.
fn check_blobs(blobs: BlobStore, tasks: &TaskGroup, shutdown: &mut Shutdown) {
    let checks = tasks.sibling();
    let stop = checks.stop_token();
    checks.spawn("blobs", async move {
        if let Some(Err(error)) = stop.run_until_cancelled(blobs.check()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                place = ?blobs,
                "attachments can't be stored at the moment; editing goes on without them"
            );
        }
        Ok::<_, Infallible>(())
    });
    shutdown.register("blobs", async move || checks.stop().await);
}

/// Collaboration on other nodes. The node is ready once it is connected to one of them.
pub fn remote_collaboration(
    (settings, plan, token): (&Settings, &Plan, &ServiceToken),
    components: &Components,
    health: &Health,
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Arc<dyn Collaboration> {
    let streams = tasks.sibling();
    let nodes = &plan.collaboration;
    let remote = Arc::new(connect((settings, nodes, token), components, &streams));
    let ready = health.component("collaboration nodes", "connecting to one of them");
    let (connecting, stop) = (remote.clone(), streams.stop_token());
    streams.spawn("collaboration nodes", async move {
        if stop
            .run_until_cancelled(connecting.connected())
            .await
            .is_some()
        {
            ready.ready();
        }
        Ok::<_, Infallible>(())
    });
    shutdown.register("collaboration nodes", async move || streams.stop().await);
    remote
}

/// Connects to collaboration nodes, now and whenever the connection is lost.
pub fn connect(
    (settings, nodes, token): (&Settings, &[ServiceAddress], &ServiceToken),
    components: &Components,
    tasks: &TaskGroup,
) -> RemoteCollaboration {
    RemoteCollaboration::start(RemoteCollaborationParts {
        nodes: nodes.to_vec(),
        token: token.clone(),
        partition_count: settings.log.partition_count,
        random: components.random.fork(),
        tasks: tasks.tracker(),
        stop: tasks.stop_token(),
    })
}

/// History on other nodes.
pub fn remote_history(plan: &Plan, token: &ServiceToken) -> Result<Arc<dyn History>, ConnectError> {
    Ok(Arc::new(RemoteHistory::new(&plan.history, token.clone())?))
}

fn origins(settings: &Settings) -> OriginPolicy {
    if settings.web.origins.is_empty() {
        OriginPolicy::SameHost
    } else {
        OriginPolicy::Exact(settings.web.origins.iter().cloned().collect())
    }
}
