//! The published Rust client of protocol v0, unchanged, with the engine's own documents.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod support;

use std::sync::Arc;

use loro::LoroDoc;
use loro_websocket_client::LoroWebsocketClient;
use support::{Served, room_text};
use tokio::sync::Mutex;

/// Waits until a document holds `text`, however it comes.
async fn holds(doc: &Mutex<LoroDoc>, text: &str) {
    loop {
        let (changed, change) = tokio::sync::oneshot::channel();
        let changed = std::sync::Mutex::new(Some(changed));
        let subscription = {
            let doc = doc.lock().await;
            if room_text(&doc) == text {
                return;
            }
            doc.subscribe_root(Arc::new(move |_| {
                if let Some(changed) = changed.lock().unwrap().take() {
                    let _ = changed.send(());
                }
            }))
        };
        let _ = change.await;
        drop(subscription);
    }
}

#[tokio::test]
async fn two_v0_clients_see_each_others_edits() {
    let served = Served::start().await;
    let mut docs = Vec::new();
    let mut clients = Vec::new();
    for peer in [1, 2] {
        let doc = LoroDoc::new();
        doc.set_peer_id(peer).unwrap();
        let doc = Arc::new(Mutex::new(doc));
        let client = LoroWebsocketClient::connect(&served.url()).await.unwrap();
        let room = client.join_loro("shared", doc.clone()).await.unwrap();
        docs.push(doc);
        clients.push((client, room));
    }
    {
        let doc = docs[0].lock().await;
        doc.get_text("text").insert(0, "hello").unwrap();
        doc.commit();
    }
    holds(&docs[1], "hello").await;
    {
        let doc = docs[1].lock().await;
        doc.get_text("text").insert(5, " there").unwrap();
        doc.commit();
    }
    holds(&docs[0], "hello there").await;
    let log = served
        .rooms
        .room("shared")
        .until(|log| log.submissions.len() == 2)
        .await;
    assert_eq!(log.joins[0].principal.device, log.joins[1].principal.device);
    assert_eq!(log.joins[0].principal.device.as_str(), "dev_stock");
}

#[tokio::test]
async fn a_v0_client_catches_up_at_its_join() {
    let served = Served::start().await;
    // Larger than a frame, so that it comes in fragments.
    let text = "0123456789abcdef".repeat(40_000);
    served.rooms.room("long").put(&text);
    let doc = Arc::new(Mutex::new(LoroDoc::new()));
    let client = LoroWebsocketClient::connect(&served.url()).await.unwrap();
    let _room = client.join_loro("long", doc.clone()).await.unwrap();
    holds(&doc, &text).await;
}

#[tokio::test]
async fn a_v0_client_that_may_not_join_is_told() {
    let served = Served::start().await;
    let doc = Arc::new(Mutex::new(LoroDoc::new()));
    let client = LoroWebsocketClient::connect(&served.url()).await.unwrap();
    let refused = client
        .join_loro("denied", doc)
        .await
        .err()
        .expect("refused");
    assert!(refused.to_string().contains("not here"), "{refused}");
}
