//! In a document, with what our own clients send as well.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use document_types::limits::UPDATE_BYTES_MAX;
use document_types::{ErrorCode, PeerId};
use loro::{ExportMode, LoroDoc};
use sync_protocol::{Magic, Subscription};

use crate::door::{Answer, Door, subscription};

/// What a replica sends that has typed one text after the other.
fn updates(peer: PeerId, texts: &[&str]) -> anyhow::Result<Vec<Bytes>> {
    let replica = LoroDoc::new();
    replica.set_peer_id(peer.0)?;
    let mut updates = Vec::new();
    for text in texts {
        let known = replica.oplog_vv();
        replica.get_text("content").insert(0, text)?;
        replica.commit();
        updates.push(replica.export(ExportMode::updates(&known))?.into());
    }
    Ok(updates)
}

async fn enter(server: SocketAddr, name: &str, room: &Subscription) -> anyhow::Result<Door> {
    let mut door = Door::open(server, name).await?;
    door.join(room).await?;
    Ok(door)
}

async fn is_refused(
    door: &mut Door,
    room: &Subscription,
    update: Bytes,
    code: ErrorCode,
) -> anyhow::Result<()> {
    let answer = door.offer(room, update).await?;
    ensure!(answer == Answer::Refused(code), "{answer:?}");
    Ok(())
}

pub async fn somebody_elses_name(server: SocketAddr) -> anyhow::Result<()> {
    let room = subscription(Magic::Loro, "names")?;
    let peer = PeerId(1);
    let theirs = updates(peer, &["theirs", "more"])?;
    let mut owner = enter(server, "owner", &room).await?;
    let taken = owner.offer(&room, theirs[0].clone()).await?;
    ensure!(taken == Answer::Taken, "{taken:?}");
    let mut thief = enter(server, "thief", &room).await?;
    is_refused(&mut thief, &room, theirs[1].clone(), ErrorCode::ForeignPeer).await
}

pub async fn another_history(server: SocketAddr) -> anyhow::Result<()> {
    let room = subscription(Magic::Loro, "histories")?;
    let peer = PeerId(2);
    let mut door = enter(server, "two_histories", &room).await?;
    for (text, answer) in [
        ("once", Answer::Taken),
        // Another text of the same length has the same ids.
        ("else", Answer::Refused(ErrorCode::Equivocation)),
    ] {
        let update = updates(peer, &[text])?.remove(0);
        let answered = door.offer(&room, update).await?;
        ensure!(answered == answer, "{answered:?}");
    }
    Ok(())
}

pub async fn an_update_that_is_none(server: SocketAddr) -> anyhow::Result<()> {
    let room = subscription(Magic::Loro, "none")?;
    let mut door = enter(server, "none", &room).await?;
    let mut broken = updates(PeerId(3), &["broken"])?.remove(0).to_vec();
    if let Some(last) = broken.last_mut() {
        *last ^= 1;
    }
    for update in [Bytes::from(broken), Bytes::from_static(b"no update at all")] {
        is_refused(&mut door, &room, update, ErrorCode::InvalidUpdate).await?;
    }
    Ok(())
}

/// It waits for what it builds on, for a while.
pub async fn an_update_on_nothing(server: SocketAddr) -> anyhow::Result<()> {
    let room = subscription(Magic::Loro, "nothing")?;
    let mut door = enter(server, "on_nothing", &room).await?;
    let second = updates(PeerId(4), &["missing", "on it"])?.remove(1);
    is_refused(&mut door, &room, second, ErrorCode::MissingDependency).await
}

pub async fn an_update_without_bounds(server: SocketAddr) -> anyhow::Result<()> {
    let room = subscription(Magic::Loro, "bounds")?;
    let mut door = enter(server, "without_bounds", &room).await?;
    // More text than one import may insert, whose cost grows with the square of it.
    let long = "x".repeat(UPDATE_BYTES_MAX / 8);
    let update = updates(PeerId(5), &[&long])?.remove(0);
    let answer = door.offer(&room, update).await?;
    // It is cut into pieces, or refused; nobody imports it as it is.
    ensure!(
        matches!(answer, Answer::Taken | Answer::Refused(ErrorCode::TooLarge)),
        "{answer:?}"
    );
    Ok(())
}
