//! How long a beat is.
//!
//! The pulse works while what clients commit after one frame is in the log before the next frame is
//! cut. How long that takes depends on the disk, the network, the number of typists and the load. A
//! beat that is too short makes commits concurrent, hence slow to import, hence later still; one that
//! is too long makes people wait. So the room watches the way into the log and follows it.
//!
//! Where people type in several rooms of a document, each follows what it sees by halves and doubles: the
//! longest of their beats is one of each, so at its frames all have the same version.

use std::time::Duration;

use document_types::limits::{
    PULSE_BEAT_FAST, PULSE_BEAT_FAST_MIN, PULSE_BEAT_MAX, PULSE_BEAT_SHARED, PULSE_BEAT_SHARED_MAX,
    PULSE_BEAT_SHARED_MIN, PULSE_BEAT_SLOW, PULSE_BEAT_SLOW_MIN, PULSE_FRAME_SPANS_MAX,
    PULSE_LATE_ONE_IN, PULSE_TYPISTS_FAST, PULSE_WATCH_PERIOD, PULSE_WATCHED_COUNT_MIN,
};
use document_types::{CounterSpan, Frontiers, PeerId};
use tokio::time::Instant;

/// The beat's length, and what has been seen of it.
#[derive(Debug)]
pub(crate) struct Pace {
    length: Duration,
    crowd: Crowd,
    /// When the last frame was cut.
    cut_at: Instant,
    /// What the last frame brought.
    frame: Vec<CounterSpan>,
    /// Since when it watches.
    since: Instant,
    seen: Seen,
}

/// Which beats there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crowd {
    /// Few typists, all in this room.
    Few,
    /// Many, all in this room.
    Many,
    /// Typists in several rooms.
    Shared,
}

impl Crowd {
    fn of(typists: usize, is_shared: bool) -> Self {
        if is_shared {
            Self::Shared
        } else if typists <= PULSE_TYPISTS_FAST {
            Self::Few
        } else {
            Self::Many
        }
    }

    /// The beat to begin with.
    fn first(self) -> Duration {
        match self {
            Self::Few => PULSE_BEAT_FAST,
            Self::Many => PULSE_BEAT_SLOW,
            Self::Shared => PULSE_BEAT_SHARED,
        }
    }

    /// In whole milliseconds, as beats are numbered by them.
    fn longer(self, length: Duration) -> Duration {
        match self {
            Self::Few | Self::Many => whole_ms(length * 5 / 4).min(PULSE_BEAT_MAX),
            Self::Shared => (length * 2).min(PULSE_BEAT_SHARED_MAX),
        }
    }

    fn shorter(self, length: Duration) -> Duration {
        match self {
            Self::Few => whole_ms(length * 5 / 6).max(PULSE_BEAT_FAST_MIN),
            Self::Many => whole_ms(length * 5 / 6).max(PULSE_BEAT_SLOW_MIN),
            Self::Shared => (length / 2).max(PULSE_BEAT_SHARED_MIN),
        }
    }
}

/// What a room saw of the updates of clients that hear a pulse in one period.
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
    pub(crate) fn new(typists: usize, is_shared: bool, now: Instant) -> Self {
        let crowd = Crowd::of(typists, is_shared);
        Self {
            length: crowd.first(),
            crowd,
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

    /// An update by `peer`, whose client hears a pulse, has come into the log. `dependencies` are
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
        } else if now.duration_since(self.cut_at) > self.crowd.shorter(self.length) * 4 / 5 {
            self.seen.close += 1;
        }
    }

    /// Follows what was seen. Says whether the beat has changed.
    pub(crate) fn settle(&mut self, typists: usize, is_shared: bool, now: Instant) -> bool {
        if Crowd::of(typists, is_shared) != self.crowd {
            let before = self.length;
            *self = Self::new(typists, is_shared, now);
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
        let before = self.length;
        if late * PULSE_LATE_ONE_IN > updates {
            self.length = self.crowd.longer(before);
        } else if (late + close) * PULSE_LATE_ONE_IN <= updates {
            self.length = self.crowd.shorter(before);
        }
        self.length != before
    }
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
        pace.settle(TYPISTS, pace.crowd == Crowd::Shared, *now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_way_makes_the_beat_shorter_down_to_a_bound() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, false, now);
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
        let mut pace = Pace::new(TYPISTS, false, now);
        assert!(!watch(&mut pace, &mut now, Duration::from_millis(50), true));
        assert_eq!(pace.length(), PULSE_BEAT_FAST);
    }

    #[tokio::test(start_paused = true)]
    async fn late_updates_make_the_beat_longer_up_to_a_bound() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, false, now);
        assert!(watch(&mut pace, &mut now, Duration::ZERO, false));
        assert!(pace.length() > PULSE_BEAT_FAST);
        for _ in 0..20 {
            watch(&mut pace, &mut now, Duration::ZERO, false);
        }
        assert_eq!(pace.length(), PULSE_BEAT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn beats_of_several_rooms_are_multiples_of_one_another() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, true, now);
        let mut lengths = vec![pace.length()];
        for has_frame in [false, true] {
            for _ in 0..4 {
                watch(&mut pace, &mut now, Duration::ZERO, has_frame);
                lengths.push(pace.length());
            }
        }
        assert!(lengths.contains(&PULSE_BEAT_SHARED_MAX));
        assert!(lengths.contains(&PULSE_BEAT_SHARED_MIN));
        lengths.sort_unstable();
        lengths.dedup();
        for pair in lengths.windows(2) {
            assert_eq!(pair[1].as_millis() % pair[0].as_millis(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_begins_anew_with_its_own_beat() {
        let now = Instant::now();
        let mut pace = Pace::new(TYPISTS, false, now);
        assert!(pace.settle(PULSE_TYPISTS_FAST + 1, false, now));
        assert_eq!(pace.length(), PULSE_BEAT_SLOW);
    }
}
