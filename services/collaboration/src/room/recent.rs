//! The updates that a room let in lately, in log order.
//!
//! Live sessions are fed from here, each from its own place; so is whoever has caught up from the
//! store, which is a few milliseconds behind the log.

use std::collections::VecDeque;

use bytes::Bytes;
use document_types::limits::{
    FOLD_TAIL_BYTES_MAX, FOLD_UPDATES_MAX, INSERTED_TEXT_PER_IMPORT_BYTES_MAX,
    RECENT_UPDATES_BYTES_MAX, RECENT_UPDATES_FED_MAX, UPDATES_PER_FRAME_MAX,
};
use document_types::{CounterSpan, SessionId, VersionVector};
use service_api::UpdateFrame;
use tokio::time::Instant;

/// One update that was let in.
#[derive(Clone, Debug)]
pub(crate) struct RecentUpdate {
    pub(crate) span: CounterSpan,
    pub(crate) inserted_text_bytes: usize,
    /// The session that sent it, and need not be sent it.
    pub(crate) session: SessionId,
    /// When it was received, if it flew from here: then this node's dry run has it already.
    pub(crate) received: Option<Instant>,
    pub(crate) bytes: Bytes,
}

/// A bounded window over a document's updates. Positions count all updates that ever went through.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    updates: VecDeque<RecentUpdate>,
    start: u64,
    bytes: usize,
    /// What was known before the first update in the window.
    base: VersionVector,
}

impl Recent {
    /// An empty window at a document whose operations before are `base`.
    pub(crate) fn after(base: VersionVector) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// The position of the first update in the window.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The position after the last update.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.updates.len() as u64
    }

    /// Whether someone who knows `version` can be brought up to date from the window alone.
    pub(crate) fn continues(&self, version: &VersionVector) -> bool {
        version.includes(&self.base)
    }

    /// Whether someone who knows `version` had better be brought up to date from the window than by a
    /// snapshot. Importing many updates costs much more than a snapshot with them in it, so a newcomer
    /// is fed no more of them than what a fold leaves behind a snapshot. Whoever holds some of the
    /// document imports a snapshot as one long update and can do nothing else meanwhile; a large
    /// paste comes as frames, between which they go on.
    pub(crate) fn is_short_for(&self, version: &VersionVector) -> bool {
        let (mut count, mut bytes) = (0_u64, 0_u64);
        for update in &self.updates {
            if version.end(update.span.peer) < update.span.end {
                count += 1;
                bytes += update.bytes.len() as u64;
            }
        }
        if version.is_empty() {
            count <= FOLD_UPDATES_MAX && bytes <= FOLD_TAIL_BYTES_MAX
        } else {
            count <= RECENT_UPDATES_FED_MAX
        }
    }

    /// Takes an update in, and drops the oldest beyond the window's bound.
    pub(crate) fn push(&mut self, update: RecentUpdate) {
        self.bytes += update.bytes.len();
        self.updates.push_back(update);
        while self.bytes > RECENT_UPDATES_BYTES_MAX && self.updates.len() > 1 {
            if let Some(oldest) = self.updates.pop_front() {
                self.bytes -= oldest.bytes.len();
                self.base.include(oldest.span);
                self.start += 1;
            }
        }
    }

    /// The updates from `position` on, or `None` if the window has moved past it.
    pub(crate) fn from(&self, position: u64) -> Option<impl Iterator<Item = &RecentUpdate>> {
        let skip = usize::try_from(position.checked_sub(self.start)?).ok()?;
        Some(self.updates.iter().skip(skip))
    }

    /// The next frame for a session that stands at `position`: as many updates as one import may
    /// take, without the session's own and without what `known` includes. With it comes the position
    /// after the frame. The frame is empty if there was nothing for the session on the way.
    pub(crate) fn next_frame(
        &self,
        position: u64,
        session: &SessionId,
        known: Option<&VersionVector>,
    ) -> Option<(UpdateFrame, u64)> {
        let mut frame = UpdateFrame {
            updates: Vec::new(),
            received: None,
        };
        let (mut text_bytes, mut bytes, mut position) = (0, 0, position);
        for update in self.from(position)? {
            let wanted = update.session != *session
                && known.is_none_or(|known| known.end(update.span.peer) < update.span.end);
            if wanted {
                text_bytes += update.inserted_text_bytes;
                bytes += update.bytes.len();
                let full = text_bytes > INSERTED_TEXT_PER_IMPORT_BYTES_MAX
                    || bytes > INSERTED_TEXT_PER_IMPORT_BYTES_MAX * 4
                    || frame.updates.len() >= UPDATES_PER_FRAME_MAX;
                if full && !frame.updates.is_empty() {
                    break;
                }
                frame.updates.push(update.bytes.clone());
                frame.received = frame.received.into_iter().chain(update.received).min();
            }
            position += 1;
        }
        Some((frame, position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use document_types::PeerId;

    fn update(peer: u64, counter: u32, text_bytes: usize, session: &str) -> RecentUpdate {
        RecentUpdate {
            span: CounterSpan {
                peer: PeerId(peer),
                start: counter,
                end: counter + 1,
            },
            inserted_text_bytes: text_bytes,
            session: SessionId::parse(session).unwrap(),
            received: None,
            bytes: Bytes::from(vec![0; text_bytes]),
        }
    }

    fn reader() -> SessionId {
        SessionId::parse("reader").unwrap()
    }

    #[test]
    fn a_frame_holds_what_one_import_may_take() {
        let mut recent = Recent::default();
        for counter in 0..4 {
            recent.push(update(
                1,
                counter,
                INSERTED_TEXT_PER_IMPORT_BYTES_MAX / 2,
                "writer",
            ));
        }
        recent.push(update(
            1,
            4,
            INSERTED_TEXT_PER_IMPORT_BYTES_MAX * 3,
            "writer",
        ));
        let mut position = 0;
        let mut sizes = Vec::new();
        while position < recent.end() {
            let (frame, next) = recent.next_frame(position, &reader(), None).unwrap();
            sizes.push(frame.updates.len());
            position = next;
        }
        assert_eq!(
            sizes,
            [2, 2, 1],
            "an update that is too large alone still goes, alone"
        );
    }

    #[test]
    fn nobody_is_sent_what_they_sent_or_know() {
        let mut recent = Recent::default();
        recent.push(update(1, 0, 1, "reader"));
        recent.push(update(2, 0, 1, "writer"));
        recent.push(update(3, 0, 1, "writer"));
        let known: VersionVector = [(PeerId(2), 1)].into_iter().collect();
        let (frame, next) = recent.next_frame(0, &reader(), Some(&known)).unwrap();
        assert_eq!((frame.updates.len(), next), (1, 3));
    }

    #[test]
    fn a_newcomer_is_not_fed_what_a_snapshot_would_hold() {
        let mut recent = Recent::default();
        let some = usize::try_from(FOLD_TAIL_BYTES_MAX).unwrap() / 2;
        for counter in 0..3 {
            recent.push(update(1, counter, some, "writer"));
        }
        let newcomer = VersionVector::new();
        let close: VersionVector = [(PeerId(1), 1)].into_iter().collect();
        let holder: VersionVector = [(PeerId(2), 1)].into_iter().collect();
        assert!(recent.continues(&newcomer) && !recent.is_short_for(&newcomer));
        assert!(recent.is_short_for(&close) && recent.is_short_for(&holder));

        let many = u32::try_from(RECENT_UPDATES_FED_MAX).unwrap();
        for counter in 3..=many {
            recent.push(update(1, counter, 1, "writer"));
        }
        assert!(!recent.is_short_for(&holder));
    }

    #[test]
    fn the_window_moves_on_and_says_what_it_no_longer_holds() {
        let mut recent = Recent::default();
        let half = RECENT_UPDATES_BYTES_MAX / 2;
        for counter in 0..4 {
            recent.push(update(1, counter, half, "writer"));
        }
        assert!(recent.from(0).is_none());
        assert_eq!(recent.start(), 2);
        let behind: VersionVector = [(PeerId(1), 1)].into_iter().collect();
        let close: VersionVector = [(PeerId(1), 2)].into_iter().collect();
        assert!(!recent.continues(&behind) && recent.continues(&close));
    }
}
