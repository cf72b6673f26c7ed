use std::sync::Arc;

use service_api::grpc::{ServedServices, ServiceToken, serve};
use service_api::{Collaboration, History};
use service_runtime::{Shutdown, TaskGroup};
use tokio::net::TcpListener;

/// The listener for other services. It ends after whatever is registered later, so that rooms still
/// answer over it while they close.
pub struct Services {
    group: TaskGroup,
}

impl Services {
    /// Registers the end of it.
    pub fn register(tasks: &TaskGroup, shutdown: &mut Shutdown) -> Self {
        let group = tasks.sibling();
        let ending = group.clone();
        shutdown.register("services", async move || ending.stop().await);
        Self { group }
    }

    /// Serves what this node has on `listener`.
    pub fn serve(
        &self,
        listener: TcpListener,
        collaboration: Option<Arc<dyn Collaboration>>,
        history: Option<Arc<dyn History>>,
        token: &ServiceToken,
    ) {
        let services = ServedServices {
            collaboration,
            history,
            token: token.clone(),
        };
        let (tasks, stop) = (self.group.tracker(), self.group.stop_token());
        let serving = serve(listener, services, tasks, stop);
        self.group.spawn("services", serving);
    }
}
