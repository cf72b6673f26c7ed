use document_types::limits::JOIN_TIME_MAX;
use document_types::{ErrorCode, Permission, VersionVector};
use service_api::PresenceJoined;
use tokio::time::timeout;

use crate::joining::{Command, Join, Seat, TaskEnd};
use crate::queue::Receiver;
use crate::state::Refusal;
use crate::writer::SocketClosed;

/// One joined presence of one socket. While the socket is slow, what others show waits with the
/// presence service, which keeps the newest of it.
pub(crate) async fn run(
    mut seat: Box<Seat>,
    join: Box<Join>,
    mut commands: Receiver<Command>,
) -> TaskEnd {
    let PresenceJoined { mut events } = match Box::pin(enter(&mut seat, *join)).await {
        Ok(joined) => joined,
        Err(refused) => return Box::pin(seat.refuse_join(refused)).await,
    };
    let presence = seat.gateway.state.presence.clone();
    let document = seat.subscription().document.clone();
    loop {
        let sent = tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Offer(batch, ..)) => {
                    seat.speaker.client_speaks(batch.dialect);
                    for entries in batch.updates {
                        presence.update(&document, &seat.session, entries).await;
                    }
                    // Stock clients keep what they sent until it is acknowledged.
                    seat.outbox.send_presence(seat.speaker.accepted(batch.id)).await
                }
                Some(Command::Complain(_) | Command::Traced(_)) => Ok(()),
                None => break,
            },
            event = events.recv() => match event {
                Some(event) => {
                    let messages = seat.speaker.updates(&[event.entries]);
                    seat.outbox.send_presence(messages).await
                }
                None => {
                    let gone = seat.put_out(ErrorCode::Unavailable, "presence is gone");
                    return Box::pin(gone).await;
                }
            },
        };
        if sent == Err(SocketClosed) {
            break;
        }
    }
    presence.leave(&document, &seat.session).await;
    seat.left()
}

async fn enter(seat: &mut Seat, join: Join) -> Result<PresenceJoined, Refusal> {
    let principal = seat.identify(&join.payload).await?;
    let document = seat.subscription().document.clone();
    seat.gateway.permission(&principal, &document).await?;
    let joined = timeout(
        JOIN_TIME_MAX,
        seat.gateway.state.presence.join(&document, &seat.session),
    )
    .await
    .map_err(|_| ErrorCode::Unavailable)
    .and_then(|joined| joined.map_err(|error| error.code))
    .map_err(|code| Refusal::new(code, "presence can't be joined"))?;
    let answer = seat.answer(&join.payload, &principal, None);
    // Presence has no version; the empty vector stands for it, since no bytes would mean no state.
    let message = seat
        .speaker
        .joined(Permission::Write, &VersionVector::new(), answer.as_ref())
        .expect("an empty vector and a short answer fit a frame");
    let _ = seat.outbox.send([message]).await;
    Ok(joined)
}
