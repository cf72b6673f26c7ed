//! The smallest run: one node, two clients, nothing goes wrong.

use std::time::Duration;

use crate::client::{Client, ClientParts, Command};
use crate::cluster::{Cluster, ClusterParts, START_MS};
use crate::history::History;
use crate::ports::Ports;
use crate::trace::Trace;
use clock::{IdSource, Random, SimulatedClock};
use document_types::{DeviceId, DocumentId, Principal, UserId};
use service_api::WireKind;

#[tokio::test(start_paused = true)]
async fn two_clients_of_one_node_converge() {
    let random = Random::from_seed(1);
    let trace = Trace::begin();
    let history = History::default();
    let cluster = Cluster::new(ClusterParts {
        node_count: 1,
        partition_count: 1,
        random: &random,
        trace: trace.clone(),
        history: history.clone(),
        ports: Ports::default(),
    });
    cluster.start_node(0);
    cluster.start_merger();
    let document = DocumentId::parse("doc_1").unwrap();
    let clients: Vec<_> = (0..2)
        .map(|number| {
            let clock = std::sync::Arc::new(SimulatedClock::starting_at(START_MS));
            Client::start(ClientParts {
                name: format!("client{number}"),
                principal: Principal {
                    user: UserId::parse(&format!("usr_{number}")).unwrap(),
                    device: DeviceId::parse("dev_1").unwrap(),
                },
                document: document.clone(),
                node: 0,
                kind: WireKind::CollabEdit,
                random: random.fork(),
                ids: IdSource::new(clock, random.fork()),
                cluster: cluster.clone(),
                history: history.clone(),
                trace: trace.clone(),
            })
        })
        .collect();
    for client in &clients {
        client.tell(Command::GoOnline).await;
    }
    for i in 0..20 {
        clients[i % 2]
            .tell(Command::Insert {
                place: 0x8000_0000,
                count: 1,
            })
            .await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (a, b) = (clients[0].report().await, clients[1].report().await);
    println!("{}", trace.text());
    assert_eq!(history.facts().violations, Vec::<String>::new());
    assert_eq!(a, b);
    assert_eq!(crate::replica::parse(&a.text).unwrap().len(), 20);
    assert!(cluster.is_merged().await);
}
