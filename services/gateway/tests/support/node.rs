use std::sync::Arc;

use clock::Random;
use service_api::grpc::{
    RemoteCollaboration, RemoteCollaborationParts, RemoteHistory, ServedServices, ServiceAddress,
    ServiceToken, incoming, serve,
};
use service_api::{Collaboration, History};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Rooms;

/// A node that serves rooms over gRPC on a port of its own.
pub struct Node {
    address: ServiceAddress,
    token: ServiceToken,
    tasks: TaskTracker,
    stop: CancellationToken,
    _serving: JoinSet<()>,
}

impl Node {
    pub async fn start(rooms: Arc<Rooms>) -> Self {
        let token = ServiceToken::parse("a-token-for-tests-alone").unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let services = ServedServices {
            collaboration: Some(rooms.clone()),
            history: Some(rooms),
            token: token.clone(),
        };
        let serving = serve(incoming(listener), services, tasks.clone(), stop.clone());
        let mut tasks_of_node = JoinSet::new();
        tasks_of_node.spawn(async move { serving.await.unwrap() });
        Self {
            address: address.parse().unwrap(),
            token,
            tasks,
            stop,
            _serving: tasks_of_node,
        }
    }

    /// Handles of a gateway elsewhere.
    pub fn handles(&self) -> (Arc<dyn Collaboration>, Arc<dyn History>) {
        let collaboration = RemoteCollaboration::start(RemoteCollaborationParts {
            nodes: vec![self.address.clone()],
            token: self.token.clone(),
            partition_count: 16,
            random: Random::from_seed(2),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
        });
        let history =
            RemoteHistory::new(std::slice::from_ref(&self.address), self.token.clone()).unwrap();
        (Arc::new(collaboration), Arc::new(history))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
