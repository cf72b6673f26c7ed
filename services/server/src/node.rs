use std::net::SocketAddr;
use std::time::Duration;

use merger::{LogCheckError, check_log};
use metrics::gauge;
use service_runtime::{
    DrainReport, Health, Metrics, MetricsError, Shutdown, TaskFailure, TaskGroup,
};
use tokio::net::TcpListener;

use crate::roles::gateway::Services;
use crate::roles::log::LogError;
use crate::roles::storage::StorageError;
use crate::roles::{self, collaboration, gateway, history, log, presence, storage};
use crate::{Components, Settings};

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
    /// The data directory or the store can't be used.
    #[error("there is no storage")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operation log can't be opened.
    #[error("there is no operation log")]
    Log(#[from] LogError),
    /// The store does not go on from this log.
    #[error("the log and the store don't fit together")]
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
    health: Health,
    tasks: TaskGroup,
    shutdown: Shutdown,
    drain_time_max: Duration,
}

/// Starts all roles of a node in this process.
///
/// It listens before it does any work, so that an address that is taken is known at once, and answers
/// requests once every role has started. [`RunningNode::ready`] waits until the log is merged as well.
///
/// # Errors
/// [`StartError`]; what had started has ended again then.
pub async fn start(settings: &Settings, components: Components) -> Result<RunningNode, StartError> {
    let metrics = Metrics::install()?;
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let listener = listen(settings.listen).await?;
    let address = listener
        .local_addr()
        .map_err(listen_error(settings.listen))?;

    let (health, tasks, mut shutdown) = (Health::new(), TaskGroup::new(), Shutdown::new());
    let drain_time_max = settings.drain_time_max();
    let serving = (listener, &health, metrics);
    match start_roles(settings, &components, serving, &tasks, &mut shutdown).await {
        Ok(()) => Ok(RunningNode {
            address,
            health,
            tasks,
            shutdown,
            drain_time_max,
        }),
        Err(error) => {
            shutdown.drain(drain_time_max).await;
            Err(error)
        }
    }
}

/// Each role is built on those before it, and ends before them.
async fn start_roles(
    settings: &Settings,
    components: &Components,
    (listener, health, metrics): (TcpListener, &Health, Metrics),
    tasks: &TaskGroup,
    shutdown: &mut Shutdown,
) -> Result<(), StartError> {
    let storage = storage::open(settings, components, shutdown).await?;
    let log = log::open(settings, components, shutdown).await?;
    check_log(&settings.region, &*log, &storage.store).await?;
    roles::merger::start(
        settings, components, &storage, &log, health, tasks, shutdown,
    );
    let collaboration = collaboration::start(components, &storage, &log, tasks, shutdown);
    let presence = presence::start(tasks, shutdown);
    let history = history::start(&storage, &log);
    let services = Services {
        collaboration,
        presence,
        history,
    };
    let serving = (health, metrics);
    gateway::start(
        settings, components, services, listener, serving, tasks, shutdown,
    );
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(listen_error(address))
}

fn listen_error(address: SocketAddr) -> impl FnOnce(std::io::Error) -> StartError {
    move |source| StartError::Listen { address, source }
}

impl RunningNode {
    /// The address on which it serves; its port is the real one where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a browser on this machine finds the editor.
    pub fn editor_address(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        format!("http://{address}/")
    }

    /// Waits until every role is ready: what the log held at the start is merged.
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
