//! A room's events as messages of a seat, and back. An event that is too large for a message comes
//! in several, so that no seat holds up the others of its stream.

use bytes::{Bytes, BytesMut};
use document_types::ErrorCode;
use document_types::limits::{
    SEAT_MESSAGE_COST_BYTES_MIN, SEAT_PIECE_BYTES_MAX, SNAPSHOT_BYTES_MAX,
};

use super::v1;
use super::v1::connect_response::Message;
use super::values::{Malformed, batch_from_wire, code_from_wire, stamps_from_wire, stamps_to_wire};
use crate::{SessionEvent, UpdateFrame};

/// The messages that say `event`, in order.
pub(super) fn messages_of(event: SessionEvent) -> Vec<Message> {
    let message = match event {
        SessionEvent::Updates(frame) => {
            return pieces(&frame.updates)
                .into_iter()
                .map(Message::Updates)
                .collect();
        }
        SessionEvent::CaughtUp => Message::CaughtUp(v1::CaughtUp {}),
        SessionEvent::Pulse {
            beat,
            beat_ms,
            typists,
        } => Message::Pulse(v1::Pulse {
            beat,
            beat_ms,
            typists,
        }),
        SessionEvent::Ack { batch, stamps } => Message::Ack(v1::Ack {
            batch: Bytes::copy_from_slice(&batch.0),
            stamps: stamps.as_ref().map(stamps_to_wire),
        }),
        SessionEvent::Nack {
            batch,
            code,
            message,
        } => Message::Nack(v1::Nack {
            batch: Bytes::copy_from_slice(&batch.0),
            code: v1::ErrorCode::from(code).into(),
            message,
        }),
        SessionEvent::Closed { code, message } => closed(code, &message),
    };
    vec![message]
}

/// The last message of a seat.
pub(super) fn closed(code: ErrorCode, message: &str) -> Message {
    Message::Closed(v1::Closed {
        code: v1::ErrorCode::from(code).into(),
        message: message.to_owned(),
    })
}

/// What a message costs of its seat's credit.
pub(super) fn cost_bytes(message: &Message) -> usize {
    match message {
        Message::Updates(updates) => {
            let bytes: usize = updates.updates.iter().map(Bytes::len).sum();
            bytes.max(SEAT_MESSAGE_COST_BYTES_MIN)
        }
        _ => SEAT_MESSAGE_COST_BYTES_MIN,
    }
}

/// Cuts a frame into messages of at most [`SEAT_PIECE_BYTES_MAX`] update bytes.
fn pieces(updates: &[Bytes]) -> Vec<v1::Updates> {
    let mut pieces = vec![v1::Updates::default()];
    let mut room = SEAT_PIECE_BYTES_MAX;
    for update in updates {
        let mut rest = update.clone();
        // What fits one message is not cut: the receiver need not put it together again.
        if rest.len() > room && room < SEAT_PIECE_BYTES_MAX {
            pieces.push(v1::Updates::default());
            room = SEAT_PIECE_BYTES_MAX;
        }
        while rest.len() > room {
            if let Some(piece) = pieces.last_mut() {
                piece.updates.push(rest.split_to(room));
                piece.cut = true;
            }
            pieces.push(v1::Updates::default());
            room = SEAT_PIECE_BYTES_MAX;
        }
        room -= rest.len();
        if let Some(piece) = pieces.last_mut() {
            piece.updates.push(rest);
        }
    }
    let last = pieces.len() - 1;
    for piece in &mut pieces[..last] {
        piece.more = true;
    }
    pieces
}

/// Puts a seat's messages together again.
#[derive(Default)]
pub(super) struct Assembly {
    whole: Vec<Bytes>,
    cut: BytesMut,
    bytes: usize,
}

impl Assembly {
    /// The event that `message` completes, if it does.
    ///
    /// # Errors
    /// [`Malformed`] if it can't belong to an event.
    pub(super) fn take(&mut self, message: Message) -> Result<Option<SessionEvent>, Malformed> {
        Ok(Some(match message {
            Message::Updates(piece) => return self.add(piece),
            Message::CaughtUp(_) => SessionEvent::CaughtUp,
            Message::Pulse(pulse) => SessionEvent::Pulse {
                beat: pulse.beat,
                beat_ms: pulse.beat_ms,
                typists: pulse.typists,
            },
            Message::Ack(ack) => SessionEvent::Ack {
                batch: batch_from_wire(&ack.batch)?,
                stamps: ack.stamps.as_ref().map(stamps_from_wire),
            },
            Message::Nack(nack) => SessionEvent::Nack {
                batch: batch_from_wire(&nack.batch)?,
                code: code_from_wire(nack.code),
                message: nack.message,
            },
            Message::Closed(closed) => SessionEvent::Closed {
                code: code_from_wire(closed.code),
                message: closed.message,
            },
            Message::Joined(_) => return Err(Malformed("a seat is joined once".into())),
            // The link takes it for itself.
            Message::TakenCount(_) => return Ok(None),
        }))
    }

    fn add(&mut self, piece: v1::Updates) -> Result<Option<SessionEvent>, Malformed> {
        self.bytes += piece.updates.iter().map(Bytes::len).sum::<usize>();
        if self.bytes > SNAPSHOT_BYTES_MAX {
            return Err(Malformed("the updates of one import have no end".into()));
        }
        let last = piece.updates.len().checked_sub(1);
        for (place, update) in piece.updates.into_iter().enumerate() {
            if piece.cut && Some(place) == last {
                self.cut.extend_from_slice(&update);
            } else if self.cut.is_empty() {
                self.whole.push(update);
            } else {
                self.cut.extend_from_slice(&update);
                self.whole.push(std::mem::take(&mut self.cut).freeze());
            }
        }
        if piece.more {
            return Ok(None);
        }
        if !self.cut.is_empty() {
            return Err(Malformed("the last update is not whole".into()));
        }
        self.bytes = 0;
        let updates = std::mem::take(&mut self.whole);
        let frame = std::sync::Arc::new(UpdateFrame {
            updates,
            received: None,
        });
        Ok(Some(SessionEvent::Updates(frame)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn round(sizes: &[usize]) -> (usize, Vec<Bytes>) {
        let updates: Vec<Bytes> = (0_u8..)
            .zip(sizes)
            .map(|(byte, size)| Bytes::from(vec![byte; *size]))
            .collect();
        let frame = Arc::new(UpdateFrame {
            updates: updates.clone(),
            received: None,
        });
        let messages = messages_of(SessionEvent::Updates(frame));
        let (count, mut assembly) = (messages.len(), Assembly::default());
        let mut back = None;
        for message in messages {
            assert!(back.is_none(), "only the last message completes the event");
            assert!(cost_bytes(&message) <= SEAT_PIECE_BYTES_MAX);
            back = assembly.take(message).unwrap();
        }
        let Some(SessionEvent::Updates(frame)) = back else {
            panic!("the event is complete")
        };
        assert_eq!(frame.updates, updates);
        (count, updates)
    }

    #[test]
    fn a_frame_comes_back_as_itself_whatever_its_sizes() {
        let piece = SEAT_PIECE_BYTES_MAX;
        assert_eq!(round(&[]).0, 1);
        assert_eq!(round(&[1, 2, 3]).0, 1);
        assert_eq!(round(&[piece]).0, 1);
        assert_eq!(round(&[piece + 1]).0, 2);
        assert_eq!(round(&[100, piece, 100]).0, 3);
        assert_eq!(round(&[0, 3 * piece + 5, 0, 7, piece - 12, 1]).0, 5);
    }

    #[test]
    fn an_import_has_an_end() {
        let mut assembly = Assembly::default();
        let piece = v1::Updates {
            updates: vec![Bytes::from(vec![0; 4 * 1024 * 1024])],
            cut: true,
            more: true,
        };
        let refused = (0..64).find(|_| assembly.take(Message::Updates(piece.clone())).is_err());
        assert_eq!(refused, Some(SNAPSHOT_BYTES_MAX / (4 * 1024 * 1024)));
    }
}
