//! On a socket, before anything is a document.

use std::net::SocketAddr;

use anyhow::{bail, ensure};
use bytes::Bytes;
use document_types::limits::{
    CLIENT_TEXT_BYTES_MAX, DOCUMENTS_PER_SOCKET_MAX, FRAGMENTS_PER_BATCH_MAX, FRAME_BYTES_MAX,
    JOIN_PAYLOAD_BYTES_MAX, SOCKET_MESSAGES_PER_SECOND_MAX,
};
use document_types::{BatchId, ErrorCode};
use futures::SinkExt;
use hostile::fetch_metrics;
use sync_protocol::{CloseCode, Magic, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite;

use crate::door::{Answer, Door, subscription};

pub async fn a_socket_that_joins_nothing(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "nothing").await?;
    door.is_closed_by(CloseCode::NO_JOIN.0).await
}

pub async fn garbage(server: SocketAddr) -> anyhow::Result<()> {
    for garbage in [&b""[..], b"%LOR", b"nonsense", b"%LOR\x05notes\x09"] {
        let mut door = Door::open(server, "garbage").await?;
        door.send(Bytes::copy_from_slice(garbage)).await?;
        door.is_closed_with(ErrorCode::ProtocolViolation).await?;
    }
    Ok(())
}

pub async fn a_frame_without_bounds(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "frame").await?;
    // The server may close before all of it is sent.
    let _ = door.send(vec![b'x'; FRAME_BYTES_MAX + 1]).await;
    door.is_closed_with(ErrorCode::TooLarge).await
}

/// Nobody has agreed on compression, with which a few bytes may become very many.
pub async fn a_compressed_frame(server: SocketAddr) -> anyhow::Result<()> {
    let door = Door::open(server, "compressed").await?;
    let mut stream = door.socket.into_inner();
    // The last of a message, compressed, binary; masked, one byte.
    stream
        .write_all(&[0b1100_0010, 0b1000_0001, 0, 0, 0, 0, b'x'])
        .await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // A close frame, or the end.
    ensure!(answer.is_empty() || answer[0] == 0x88, "{answer:?}");
    Ok(())
}

pub async fn a_text_without_bounds(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "text").await?;
    let text = "x".repeat(CLIENT_TEXT_BYTES_MAX + 1);
    door.socket.send(tungstenite::Message::text(text)).await?;
    door.is_closed_with(ErrorCode::TooLarge).await
}

pub async fn a_join_without_bounds(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "join").await?;
    let name = "x".repeat(JOIN_PAYLOAD_BYTES_MAX);
    let room = subscription(Magic::Loro, "abused")?;
    door.ask_in(&room, None, &name).await?;
    is_refused(&mut door).await
}

pub async fn one_socket_in_every_document(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "everywhere").await?;
    for number in 0..=DOCUMENTS_PER_SOCKET_MAX {
        let room = subscription(Magic::Ephemeral, &format!("everywhere-{number}"))?;
        door.ask_in(&room, None, "Mallory").await?;
    }
    is_refused(&mut door).await
}

/// Waits for a join to be refused, or the whole socket.
async fn is_refused(door: &mut Door) -> anyhow::Result<()> {
    loop {
        match door.hear().await {
            Ok(frame) => {
                if matches!(frame.message, Message::JoinError { .. }) {
                    return Ok(());
                }
            }
            Err(error) if error.to_string().contains("closed") => return Ok(()),
            Err(error) => bail!(error),
        }
    }
}

pub async fn fragments_of_one_byte(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "fragments").await?;
    let room = subscription(Magic::Loro, "fragments")?;
    door.join(&room).await?;
    let header = Message::FragmentHeader {
        batch: BatchId([1; 8]),
        fragment_count: FRAGMENTS_PER_BATCH_MAX + 1,
        total_bytes: FRAGMENTS_PER_BATCH_MAX + 1,
    };
    door.frame(&room, header).await?;
    match door.answer().await {
        Ok(Answer::Refused(ErrorCode::TooLarge | ErrorCode::ProtocolViolation)) => Ok(()),
        Err(error) if error.to_string().contains("closed") => Ok(()),
        other => bail!("{other:?}"),
    }
}

pub async fn fragments_that_never_come(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "half").await?;
    let room = subscription(Magic::Loro, "half")?;
    door.join(&room).await?;
    let header = Message::FragmentHeader {
        batch: BatchId([1; 8]),
        fragment_count: 2,
        total_bytes: 20_000,
    };
    door.frame(&room, header).await?;
    let answer = door.answer().await?;
    ensure!(
        answer == Answer::Refused(ErrorCode::FragmentTimeout),
        "{answer:?}"
    );
    Ok(())
}

/// They are read no faster than anybody may send them, so that the sender waits and nobody else.
pub async fn a_flood_of_messages(server: SocketAddr) -> anyhow::Result<()> {
    let mut door = Door::open(server, "flood").await?;
    door.join(&subscription(Magic::Ephemeral, "flood")?).await?;
    for _ in 0..3 * SOCKET_MESSAGES_PER_SECOND_MAX {
        door.socket.feed(tungstenite::Message::text("ping")).await?;
    }
    door.socket.flush().await?;
    loop {
        let metrics = fetch_metrics(server).await?;
        let slowed = metrics
            .iter()
            .find(|line| line.contains("gateway_slowed_reads"));
        if slowed.is_some_and(|line| !line.ends_with(" 0")) {
            return Ok(());
        }
        tokio::time::sleep(crate::LOOK_AGAIN).await;
    }
}
