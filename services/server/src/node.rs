use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use document_store::{DocumentStore, StoreError};
use merger::{LogCheckError, check_logs};
use metrics::gauge;
use op_log::RegionalLogs;
use presence_store::PresenceStoreError;
use service_api::grpc::ConnectError;
use service_api::{Collaboration, History};
use service_runtime::tls::CertificateError;
use service_runtime::{
    DrainReport, Health, Metrics, MetricsError, Shutdown, TaskFailure, TaskGroup,
};
use tokio::net::TcpListener;
use traces::Traces;

use crate::plan::{Plan, PlanError, Role};
use crate::roles::gateway::Services;
use crate::roles::http::Http;
use crate::roles::log::LogError;
use crate::roles::storage::StorageError;
use crate::roles::{self, collaboration, gateway, history, life, log, presence, storage};
use crate::{Components, ComponentsError, Settings};

/// Always 1; the label `version` says which version of this program runs.
const BUILD_INFO: &str = "collabedit_build_info";

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// See [`MetricsError`].
    #[error("there are no metrics")]
    Metrics(#[from] MetricsError),
    /// See [`PlanError`].
    #[error("the settings make no node")]
    Plan(#[from] PlanError),
    /// See [`ComponentsError`].
    #[error("the node was not put together for its roles")]
    Components(#[from] ComponentsError),
    /// The node's new life can't be written down.
    #[error("the node can't begin a new life")]
    Life(#[from] StoreError),
    /// The data directory or the store can't be used.
    #[error("there is no storage")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operation log can't be opened.
    #[error("there is no operation log")]
    Log(#[from] LogError),
    /// The Redis for presence can't be used at all.
    #[error("there is no presence")]
    Presence(#[from] PresenceStoreError),
    /// A certificate can't be used.
    #[error("there is no TLS")]
    Certificate(#[from] CertificateError),
    /// The nodes of other services can't be asked.
    #[error("other nodes can't be asked")]
    Connect(#[from] ConnectError),
    /// The store does not go on from these logs.
    #[error("the logs and the store don't fit together")]
    LogCheck(#[from] LogCheckError),
}

impl From<StorageError> for StartError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Box::new(error))
    }
}

/// A node that runs.
pub struct RunningNode {
    address: SocketAddr,
    has_editor: bool,
    scheme: &'static str,
    services_scheme: &'static str,
    services_address: Option<SocketAddr>,
    health: Health,
    tasks: TaskGroup,
    shutdown: Shutdown,
    drain_time_max: Duration,
}

/// Starts the roles of a node in this process.
///
/// It listens before it does any work, so that an address that is taken is known at once, and answers
/// requests once every role has started. [`RunningNode::ready`] waits until the roles are ready as well.
///
/// # Errors
/// [`StartError`]; what had started has ended again then.
pub async fn start(settings: &Settings, components: Components) -> Result<RunningNode, StartError> {
    let plan = Plan::of(settings)?;
    let metrics = Metrics::install()?;
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let listeners = Listeners::open(settings).await?;
    let (address, services_address) = (listeners.address, listeners.services_address);

    let mut node = RunningNode {
        address,
        has_editor: plan.has(Role::Gateway),
        scheme: scheme(plan.certificate.is_some()),
        services_scheme: scheme(plan.services_certificate.is_some()),
        services_address,
        health: Health::new(),
        tasks: TaskGroup::new(),
        shutdown: Shutdown::new(),
        drain_time_max: settings.drain_time_max(),
    };
    let starting = Starting {
        settings,
        components: &components,
        plan: &plan,
    };
    match starting.start_roles(listeners, metrics, &mut node).await {
        Ok(()) => Ok(node),
        Err(error) => {
            node.shutdown().await;
            Err(error)
        }
    }
}

/// What a node starts from.
struct Starting<'a> {
    settings: &'a Settings,
    components: &'a Components,
    plan: &'a Plan,
}

/// The services of this process.
#[derive(Default)]
struct Local {
    collaboration: Option<Arc<dyn Collaboration>>,
    history: Option<Arc<dyn History>>,
}

impl Starting<'_> {
    /// Each role is built on those before it, and ends before them.
    async fn start_roles(
        &self,
        listeners: Listeners,
        metrics: Metrics,
        node: &mut RunningNode,
    ) -> Result<(), StartError> {
        let traces = roles::traces::start(
            self.settings,
            self.components,
            self.plan,
            &node.tasks,
            &mut node.shutdown,
        );
        let http = Http::register(&node.tasks, &mut node.shutdown);
        let served = roles::services::Services::register(&node.tasks, &mut node.shutdown);
        let local = if self.plan.is_stateful() {
            self.start_stateful(&traces, node).await?
        } else {
            Local::default()
        };
        let routes = if self.plan.has(Role::Gateway) {
            self.start_gateway(&local, traces, node)?
        } else {
            Router::new()
        };
        if let (Some(listener), Some(token)) = (listeners.services, &self.plan.token) {
            let listener = (listener, self.plan.services_certificate.as_ref());
            served.serve(listener, local.collaboration, local.history, token)?;
        }
        http.serve(
            self.settings,
            (listeners.http, self.plan.certificate.as_ref()),
            routes,
            (&node.health, metrics),
        )?;
        Ok(())
    }

    /// The roles that read the log and the store.
    async fn start_stateful(
        &self,
        traces: &Traces,
        node: &mut RunningNode,
    ) -> Result<Local, StartError> {
        let (settings, components) = (self.settings, self.components);
        let store = storage::open(settings, components, &mut node.shutdown).await?;
        let logs = log::open(settings, components, &mut node.shutdown).await?;
        check_logs(&logs, &store).await?;
        let state: (&RegionalLogs, &DocumentStore) = (&logs, &store);
        let mut local = Local::default();
        if self.plan.has(Role::Merger) {
            let (health, tasks) = (&node.health, &node.tasks);
            roles::merger::start(
                settings,
                components,
                traces,
                state,
                health,
                tasks,
                &mut node.shutdown,
            )?;
        }
        if self.plan.has(Role::Collaboration) {
            let life = life::begin(settings, components, &store).await?;
            let (tasks, shutdown) = (&node.tasks, &mut node.shutdown);
            let place = (settings, self.plan);
            let rooms =
                collaboration::start(place, components, traces, life, state, tasks, shutdown)?;
            local.collaboration = Some(rooms);
        }
        if self.plan.has(Role::History) {
            local.history = Some(history::start(state));
        }
        Ok(local)
    }

    /// The gateway, over this node's services or over others', whichever the settings name.
    fn start_gateway(
        &self,
        local: &Local,
        traces: Traces,
        node: &mut RunningNode,
    ) -> Result<Router, StartError> {
        let (settings, components) = (self.settings, self.components);
        let presence = presence::start(settings, self.plan, &node.tasks, &mut node.shutdown)?;
        let token = || self.plan.token.as_ref().ok_or(PlanError::NoToken);
        let collaboration = match &local.collaboration {
            Some(local) if self.plan.collaboration.is_empty() => local.clone(),
            _ => gateway::remote_collaboration(
                (settings, self.plan, token()?),
                components,
                &node.health,
                &node.tasks,
                &mut node.shutdown,
            ),
        };
        let history = match &local.history {
            Some(local) if self.plan.history.is_empty() => local.clone(),
            _ => gateway::remote_history(self.plan, token()?)?,
        };
        let services = Services {
            collaboration,
            presence,
            history,
        };
        let (health, tasks) = (&node.health, &node.tasks);
        Ok(gateway::start(
            settings,
            components,
            traces,
            services,
            health,
            tasks,
            &mut node.shutdown,
        ))
    }
}

/// The addresses on which a node is spoken to.
struct Listeners {
    http: TcpListener,
    address: SocketAddr,
    services: Option<TcpListener>,
    services_address: Option<SocketAddr>,
}

impl Listeners {
    async fn open(settings: &Settings) -> Result<Self, StartError> {
        let (http, address) = listen(settings.listen).await?;
        let (services, services_address) = match settings.services.listen {
            Some(address) => {
                let (listener, address) = listen(address).await?;
                (Some(listener), Some(address))
            }
            None => (None, None),
        };
        Ok(Self {
            http,
            address,
            services,
            services_address,
        })
    }
}

fn scheme(is_encrypted: bool) -> &'static str {
    if is_encrypted { "https" } else { "http" }
}

/// A listener, and its address with the real port.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl RunningNode {
    /// The address on which it serves; its port is the real one where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where other nodes ask its services, if they can.
    pub fn services_url(&self) -> Option<String> {
        let address = self.services_address?;
        Some(format!("{}://{address}", self.services_scheme))
    }

    /// Where it says whether it is ready.
    pub fn readiness_url(&self) -> String {
        format!("{}://{}/readyz", self.scheme, self.address)
    }

    /// Where a browser on this machine finds the editor, on a node with a gateway.
    pub fn editor_url(&self) -> Option<String> {
        if !self.has_editor {
            return None;
        }
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        Some(format!("{}://{address}/", self.scheme))
    }

    /// Waits until every role is ready: what the log held at the start is merged, others are reached.
    pub async fn ready(&self) {
        self.health.ready().await;
    }

    /// Waits until a part of the node fails, for ever if none does.
    pub async fn failed(&self) -> TaskFailure {
        self.tasks.failed().await
    }

    /// Ends the node in order: sockets are told, rooms answer what they were offered, the log is
    /// merged, the store is synced.
    pub async fn shutdown(self) -> DrainReport {
        self.shutdown.drain(self.drain_time_max).await
    }
}
