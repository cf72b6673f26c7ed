use async_trait::async_trait;
use clock::Random;
use document_types::limits::{NODE_WAIT_MAX, SERVICE_RECONNECT_PAUSE};
use document_types::{DocumentId, ErrorCode, partition_of};
use futures::future::select_all;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::callers::JoinClaim;
use super::node_link::NodeLink;
use super::seat::{self, SeatError};
use super::values::join_to_wire;
use super::{ServiceAddress, ServiceToken};
use crate::{Collaboration, JoinError, JoinRequest, Joined};

/// Collaboration on other nodes.
///
/// Any node may serve any document, since rooms are fed from the log. Which one does is chosen by
/// rendezvous hashing of the document's partition, so that a document's sessions meet in one room,
/// a node reads few partitions, and a node that comes or goes moves no other's documents.
///
/// Thaler, Ravishankar: "A Name-Based Mapping Scheme for Rendezvous", 1996.
pub struct RemoteCollaboration {
    nodes: Vec<NodeLink>,
    partition_count: u32,
    tasks: TaskTracker,
}

/// What it is made of.
pub struct RemoteCollaborationParts {
    /// The nodes, at least one.
    pub nodes: Vec<ServiceAddress>,
    /// What they have to be shown.
    pub token: ServiceToken,
    /// The log's partitions.
    pub partition_count: u32,
    /// For pauses.
    pub random: Random,
    /// Where streams and seats run.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

impl RemoteCollaboration {
    /// Begins to connect to the nodes. Joins wait a while for it.
    pub fn start(parts: RemoteCollaborationParts) -> Self {
        let mut nodes = Vec::new();
        for address in parts.nodes {
            let (token, random) = (parts.token.clone(), parts.random.fork());
            let (node, work) = NodeLink::new(address, token, random, parts.stop.clone());
            parts.tasks.spawn(work);
            nodes.push(node);
        }
        Self {
            nodes,
            partition_count: parts.partition_count,
            tasks: parts.tasks,
        }
    }

    /// Waits until a node is connected to.
    pub async fn connected(&self) {
        if self.nodes.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.nodes.iter().map(|node| Box::pin(node.opened()))).await;
    }

    /// The nodes, the one that ought to have `document` first.
    fn by_preference(&self, document: &DocumentId) -> Vec<&NodeLink> {
        let partition = partition_of(document, self.partition_count).0.to_le_bytes();
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_cached_key(|node| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&partition);
            hasher.update(node.address.to_string().as_bytes());
            *hasher.finalize().as_bytes()
        });
        nodes
    }

    /// Takes a seat on the first node that has one.
    async fn try_all(&self, request: &JoinRequest) -> Option<Result<Joined, JoinError>> {
        let mut refusal = None;
        let session = &request.session;
        let wire = join_to_wire(JoinClaim::from(request.clone()));
        for node in self.by_preference(&request.document) {
            let Some(link) = node.open() else { continue };
            match seat::take(link, wire.clone(), session.clone(), &self.tasks).await {
                Ok(joined) => return Some(Ok(joined)),
                Err(SeatError::Refused(error)) if error.code == ErrorCode::Draining => {
                    refusal = Some(Err(error));
                }
                Err(SeatError::Refused(error)) => return Some(Err(error)),
                Err(SeatError::Ended) => {}
            }
        }
        refusal
    }
}

#[async_trait]
impl Collaboration for RemoteCollaboration {
    async fn join(&self, request: JoinRequest) -> Result<Joined, JoinError> {
        let trying = async {
            loop {
                if let Some(answer) = self.try_all(&request).await {
                    return answer;
                }
                self.connected().await;
                // A stream that has just ended may be listed for a moment.
                sleep(SERVICE_RECONNECT_PAUSE).await;
            }
        };
        timeout(NODE_WAIT_MAX, trying).await.unwrap_or_else(|_| {
            Err(JoinError {
                code: ErrorCode::Unavailable,
                message: "no collaboration node can be reached".into(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn remote(nodes: &[&str]) -> RemoteCollaboration {
        RemoteCollaboration::start(RemoteCollaborationParts {
            nodes: nodes.iter().map(|node| node.parse().unwrap()).collect(),
            token: ServiceToken::parse("0123456789abcdef").unwrap(),
            partition_count: 64,
            random: Random::from_seed(1),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    fn places(nodes: &[&str]) -> BTreeMap<DocumentId, String> {
        let remote = remote(nodes);
        let ids = (0..500).map(|i| DocumentId::parse(&format!("doc_{i}")).unwrap());
        ids.map(|id| {
            let place = remote.by_preference(&id)[0].address.to_string();
            (id, place)
        })
        .collect()
    }

    #[tokio::test]
    async fn a_node_that_goes_moves_its_own_documents_only() {
        let three = places(&["http://a:1", "http://b:1", "http://c:1"]);
        let two = places(&["http://c:1", "http://a:1"]);
        for (document, place) in &three {
            if place != "http://b:1" {
                assert_eq!(two[document], *place, "{document} stays");
            }
        }
        for node in ["http://a:1", "http://b:1", "http://c:1"] {
            let count = three.values().filter(|place| *place == node).count();
            assert!((80..=260).contains(&count), "{node} has {count} of 500");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_join_without_nodes_is_refused_in_time() {
        let remote = remote(&["http://127.0.0.1:1"]);
        let request = crate::JoinRequest {
            document: DocumentId::parse("notes").unwrap(),
            session: document_types::SessionId::parse("ses_1").unwrap(),
            principal: document_types::Principal {
                user: document_types::UserId::parse("usr_a").unwrap(),
                device: document_types::DeviceId::parse("dev_a").unwrap(),
            },
            version: document_types::VersionVector::new(),
            kind: crate::WireKind::Stock,
            peer: None,
        };
        let refused = remote.join(request).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unavailable);
    }
}
