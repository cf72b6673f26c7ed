//! Among the cursors.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use document_types::BatchId;
use document_types::limits::{PRESENCE_BYTES_PER_SESSION_MAX, PRESENCE_UPDATE_INTERVAL};
use loro::awareness::EphemeralStore;
use sync_protocol::{Magic, Message, Subscription};
use tokio::time::Instant;

use crate::door::{Door, subscription};

const TIMEOUT_MS: i64 = 30_000;

async fn show(door: &mut Door, room: &Subscription, entries: Vec<u8>) -> anyhow::Result<()> {
    let message = Message::DocUpdate {
        updates: vec![entries.into()],
        batch: Some(BatchId([0; 8])),
    };
    door.frame(room, message).await
}

/// Two in one presence, each with an engine's store.
async fn two(server: SocketAddr, name: &str) -> anyhow::Result<(Subscription, [Door; 2])> {
    let room = subscription(Magic::Ephemeral, name)?;
    let mut doors = [
        Door::open(server, &format!("{name}_a")).await?,
        Door::open(server, &format!("{name}_b")).await?,
    ];
    for door in &mut doors {
        door.join(&room).await?;
    }
    Ok((room, doors))
}

pub async fn presence_without_bounds(server: SocketAddr) -> anyhow::Result<()> {
    let (room, [mut sender, mut reader]) = two(server, "large").await?;
    let sent = EphemeralStore::new(TIMEOUT_MS);
    sent.set("large", "x".repeat(PRESENCE_BYTES_PER_SESSION_MAX));
    show(&mut sender, &room, sent.encode("large")).await?;
    sent.set("small", 1);
    show(&mut sender, &room, sent.encode("small")).await?;
    let seen = EphemeralStore::new(TIMEOUT_MS);
    while seen.get("small").is_none() {
        read(&mut reader, &seen).await?;
    }
    ensure!(seen.get("large").is_none(), "it was passed on");
    Ok(())
}

/// However often somebody moves a cursor, the others hear of it at their own pace.
pub async fn a_flood_of_cursors(server: SocketAddr) -> anyhow::Result<()> {
    const MOVES: i64 = 400;
    let (room, [mut sender, mut reader]) = two(server, "cursors").await?;
    let sent = EphemeralStore::new(TIMEOUT_MS);
    let began = Instant::now();
    for at in 1..=MOVES {
        sent.set("cursor", at);
        show(&mut sender, &room, sent.encode("cursor")).await?;
    }
    let seen = EphemeralStore::new(TIMEOUT_MS);
    let mut messages = 0;
    while seen.get("cursor") != Some(MOVES.into()) {
        read(&mut reader, &seen).await?;
        messages += 1;
    }
    let passed = began.elapsed() + Duration::from_millis(1);
    let most = passed.as_millis() / PRESENCE_UPDATE_INTERVAL.as_millis() + 2;
    ensure!(messages <= most, "{messages} messages in {passed:?}");
    Ok(())
}

async fn read(door: &mut Door, seen: &EphemeralStore) -> anyhow::Result<()> {
    if let Message::DocUpdate { updates, .. } = door.hear().await?.message {
        for entries in updates {
            seen.apply(&entries).map_err(anyhow::Error::msg)?;
        }
    }
    Ok(())
}
