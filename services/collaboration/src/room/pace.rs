//! How long a beat is.
//!
//! The pulse works while what clients commit after one frame is in the log before the next frame is
//! cut. How long that takes depends on the disk, the network, the number of typists and the load. A
//! beat that is too short makes commits concurrent, hence slow to import, hence later still; one that
//! is too long makes people wait. So the room watches the way into the log and follows it.

use std::time::Duration;

use document_types::limits::{
    PULSE_BEAT_FAST, PULSE_BEAT_FAST_MIN, PULSE_BEAT_MAX, PULSE_BEAT_SLOW, PULSE_BEAT_SLOW_MIN,
    PULSE_FRAME_SPANS_MAX, PULSE_LATE_ONE_IN, PULSE_TYPISTS_FAST, PULSE_WATCH_PERIOD,
    PULSE_WATCHED_COUNT_MIN,
};
use document_types::{CounterSpan, Frontiers, PeerId};
use tokio::time::Instant;

/// The beat's length, and what has been seen of it.
#[derive(Debug)]
pub(crate) struct Pace {
    length: Duration,
    /// Whether there are few typists.
    few: bool,
    /// When the last frame was cut.
    cut_at: Instant,
    /// What the last frame brought.
    frame: Vec<CounterSpan>,
    /// Since when it watches.
    since: Instant,
    seen: Seen,
}

/// What a room saw of its own clients' updates in one period.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    updates: u32,
    /// They were written without the last frame.
    late: u32,
    /// They were written with it, and would have been late with a shorter beat.
    close: u32,
}

impl Pace {
    /// The beat that a room begins with.
    pub(crate) fn new(typists: usize, now: Instant) -> Self {
        let few = typists <= PULSE_TYPISTS_FAST;
        Self {
            length: if few {
                PULSE_BEAT_FAST
            } else {
                PULSE_BEAT_SLOW
            },
            few,
            cut_at: now,
            frame: Vec::new(),
            since: now,
            seen: Seen::default(),
        }
    }

    /// The beat's length now.
    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// A frame is cut that brings `frame`.
    pub(crate) fn cut(&mut self, frame: impl Iterator<Item = CounterSpan>, now: Instant) {
        self.cut_at = now;
        self.frame.clear();
        self.frame.extend(frame.take(PULSE_FRAME_SPANS_MAX));
    }

    /// An update by `peer`, whose client hears the pulse, has come into the log. `dependencies` are
    /// those on other peers.
    pub(crate) fn landed(&mut self, peer: PeerId, dependencies: &Frontiers, now: Instant) {
        let mut of_others = self
            .frame
            .iter()
            .filter(|span| span.peer != peer)
            .peekable();
        let knows_frame = of_others.peek().is_none()
            || of_others.any(|span| {
                let mut known = dependencies.iter();
                known.any(|op| op.peer == span.peer && op.counter >= span.start)
            });
        self.seen.updates += 1;
        if !knows_frame {
            self.seen.late += 1;
        } else if now.duration_since(self.cut_at) > shorter(self.length) * 4 / 5 {
            self.seen.close += 1;
        }
    }

    /// Follows what was seen. Says whether the beat has changed.
    pub(crate) fn settle(&mut self, typists: usize, now: Instant) -> bool {
        if (typists <= PULSE_TYPISTS_FAST) != self.few {
            let before = self.length;
            *self = Self::new(typists, now);
            return self.length != before;
        }
        if now.duration_since(self.since) < PULSE_WATCH_PERIOD {
            return false;
        }
        self.since = now;
        let Seen {
            updates,
            late,
            close,
        } = std::mem::take(&mut self.seen);
        if updates < PULSE_WATCHED_COUNT_MIN {
            return false;
        }
        let shortest = if self.few {
            PULSE_BEAT_FAST_MIN
        } else {
            PULSE_BEAT_SLOW_MIN
        };
        let before = self.length;
        if late * PULSE_LATE_ONE_IN > updates {
            self.length = longer(before).min(PULSE_BEAT_MAX);
        } else if (late + close) * PULSE_LATE_ONE_IN <= updates {
            self.length = shorter(before).max(shortest);
        }
        self.length != before
    }
}

/// In whole milliseconds, as beats are numbered by them.
fn longer(length: Duration) -> Duration {
    whole_ms(length * 5 / 4)
}

fn shorter(length: Duration) -> Duration {
    whole_ms(length * 5 / 6)
}

fn whole_ms(length: Duration) -> Duration {
    Duration::from_millis(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use document_types::OpId;

    const TYPISTS: usize = 8;

    fn span(peer: u64, start: u32) -> CounterSpan {
        CounterSpan {
            peer: PeerId(peer),
            start,
            end: start + 1,
        }
    }

    /// One period, in which a writer answers each frame after `delay`, or without having it.
    fn watch(pace: &mut Pace, now: &mut Instant, delay: Duration, has_frame: bool) -> bool {
        for beat in 1..=8 {
            pace.cut([span(1, beat), span(2, beat)].into_iter(), *now);
            let counter = if has_frame { beat } else { beat - 1 };
            let known = OpId {
                peer: PeerId(1),
                counter,
            };
            let dependencies = std::iter::once(known).collect();
            pace.landed(PeerId(3), &dependencies, *now + delay);
            *now += PULSE_WATCH_PERIOD / 8;
        }
        pace.settle(TYPISTS, *now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_way_makes_the_beat_shorter_down_to_a_bound() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, now);
        assert!(watch(&mut pace, &mut now, Duration::from_millis(5), true));
        assert!(pace.length() < PULSE_BEAT_FAST);
        for _ in 0..20 {
            watch(&mut pace, &mut now, Duration::from_millis(5), true);
        }
        assert_eq!(pace.length(), PULSE_BEAT_FAST_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_be_late_with_a_shorter_beat_keeps_it() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, now);
        assert!(!watch(&mut pace, &mut now, Duration::from_millis(50), true));
        assert_eq!(pace.length(), PULSE_BEAT_FAST);
    }

    #[tokio::test(start_paused = true)]
    async fn late_updates_make_the_beat_longer_up_to_a_bound() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, now);
        assert!(watch(&mut pace, &mut now, Duration::ZERO, false));
        assert!(pace.length() > PULSE_BEAT_FAST);
        for _ in 0..20 {
            watch(&mut pace, &mut now, Duration::ZERO, false);
        }
        assert_eq!(pace.length(), PULSE_BEAT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_begins_anew_with_its_own_beat() {
        let now = Instant::now();
        let mut pace = Pace::new(TYPISTS, now);
        assert!(pace.settle(PULSE_TYPISTS_FAST + 1, now));
        assert_eq!(pace.length(), PULSE_BEAT_SLOW);
    }
}
