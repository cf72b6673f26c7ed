//! How long a beat is.
//!
//! The pulse works while what clients commit after one frame is in the log before the next frame is
//! cut. How long that takes depends on the disk, the network, the number of typists and the load. A
//! beat that is too short makes commits concurrent, hence slow to import, hence later still; one that
//! is too long makes people wait. So the room watches the way into the log and follows it.
//!
//! Where people type in several rooms of a document, each says in the log which beat it needs, and all keep
//! the longest: their frames are cut together, and at each all have the same version.

use std::time::Duration;

use document_types::limits::{
    PULSE_BEAT_FAST, PULSE_BEAT_FAST_MIN, PULSE_BEAT_MAX, PULSE_BEAT_SHARED, PULSE_BEAT_SHARED_MIN,
    PULSE_BEAT_SLOW, PULSE_BEAT_SLOW_MIN, PULSE_FRAME_SPANS_MAX, PULSE_LATE_ONE_IN,
    PULSE_SHARED_LATE_ONE_IN, PULSE_SHARED_SETTLING_BEATS, PULSE_SHARED_TOO_SHORT_TIME,
    PULSE_TYPISTS_FAST, PULSE_WATCH_PERIOD, PULSE_WATCHED_BEATS_MIN, PULSE_WATCHED_COUNT_MIN,
};
use document_types::{CounterSpan, Frontiers, PeerId};
use tokio::time::Instant;

/// The beat's length, and what has been seen of it.
#[derive(Debug)]
pub(crate) struct Pace {
    length: Duration,
    /// What this room needs of it; other rooms may need more.
    needed: Duration,
    crowd: Crowd,
    /// A beat that was too short lately.
    too_short: Duration,
    too_short_until: Instant,
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

    /// One update in so many may be late.
    fn late_one_in(self) -> u32 {
        match self {
            Self::Few | Self::Many => PULSE_LATE_ONE_IN,
            Self::Shared => PULSE_SHARED_LATE_ONE_IN,
        }
    }

    /// In whole milliseconds, as beats are numbered by them.
    fn longer(self, length: Duration) -> Duration {
        whole_ms(length * 5 / 4).min(PULSE_BEAT_MAX)
    }

    fn shorter(self, length: Duration) -> Duration {
        let shortest = match self {
            Self::Few => PULSE_BEAT_FAST_MIN,
            Self::Many => PULSE_BEAT_SLOW_MIN,
            Self::Shared => PULSE_BEAT_SHARED_MIN,
        };
        whole_ms(length * 5 / 6).max(shortest)
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
            needed: crowd.first(),
            crowd,
            too_short: Duration::ZERO,
            too_short_until: now,
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

    /// The length that this room needs.
    pub(crate) fn needed(&self) -> Duration {
        self.needed
    }

    /// Whether rooms elsewhere beat with this one.
    pub(crate) fn is_shared(&self) -> bool {
        self.crowd == Crowd::Shared
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
        if now < self.since {
            return;
        }
        self.seen.updates += 1;
        if !knows_frame {
            self.seen.late += 1;
        } else if now.duration_since(self.cut_at) > self.crowd.shorter(self.length) * 4 / 5 {
            self.seen.close += 1;
        }
    }

    /// Follows what was seen, and what other rooms need, zero if nothing. Says whether the beat has
    /// changed.
    pub(crate) fn settle(
        &mut self,
        typists: usize,
        is_shared: bool,
        needed_elsewhere: Duration,
        now: Instant,
    ) -> bool {
        let before = self.length;
        let crowd = Crowd::of(typists, is_shared);
        if crowd == self.crowd {
            self.follow(now);
        } else {
            *self = Self::new(typists, is_shared, now);
        }
        let elsewhere = match crowd {
            Crowd::Shared => needed_elsewhere.min(PULSE_BEAT_MAX),
            Crowd::Few | Crowd::Many => Duration::ZERO,
        };
        self.length = self.needed.max(elsewhere);
        if self.length == before {
            return false;
        }
        // What was seen of another beat says little of this one, nor does what is seen until all rooms
        // have come to it.
        self.since = match crowd {
            Crowd::Shared => now + self.length * PULSE_SHARED_SETTLING_BEATS,
            Crowd::Few | Crowd::Many => now,
        };
        self.seen = Seen::default();
        true
    }

    /// Follows what was seen in a whole period.
    fn follow(&mut self, now: Instant) {
        let period = PULSE_WATCH_PERIOD.max(self.length * PULSE_WATCHED_BEATS_MIN);
        if now.duration_since(self.since) < period {
            return;
        }
        self.since = now;
        let Seen {
            updates,
            late,
            close,
        } = std::mem::take(&mut self.seen);
        if updates < PULSE_WATCHED_COUNT_MIN {
            return;
        }
        let one_in = self.crowd.late_one_in();
        if late * one_in > updates {
            self.needed = self.crowd.longer(self.length);
            self.too_short = self.length;
            self.too_short_until = now + PULSE_SHARED_TOO_SHORT_TIME;
        } else if (late + close) * one_in <= updates {
            let shorter = self.crowd.shorter(self.length);
            // What is fetched from afar comes in steps of a way there and back, so a beat just below one
            // looks well for a while, and then is late again.
            let is_known = self.crowd == Crowd::Shared
                && shorter <= self.too_short
                && now < self.too_short_until;
            if !is_known {
                self.needed = shorter;
            }
        }
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
    fn see(pace: &mut Pace, now: &mut Instant, delay: Duration, has_frame: bool) {
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
    }

    /// The same, and whether it changed the beat.
    fn watch(pace: &mut Pace, now: &mut Instant, delay: Duration, has_frame: bool) -> bool {
        see(pace, now, delay, has_frame);
        pace.settle(TYPISTS, false, Duration::ZERO, *now)
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
        for _ in 0..80 {
            watch(&mut pace, &mut now, Duration::ZERO, false);
        }
        assert_eq!(pace.length(), PULSE_BEAT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_way_from_here_leaves_the_beat_that_others_need() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, true, now);
        let elsewhere = pace.length() * 2;
        assert!(pace.settle(TYPISTS, true, elsewhere, now));
        for _ in 0..20 {
            see(&mut pace, &mut now, Duration::ZERO, true);
            assert!(!pace.settle(TYPISTS, true, elsewhere, now));
        }
        assert_eq!(pace.length(), elsewhere);
        assert!(pace.needed() < elsewhere);
        // As soon as they need less, so does the whole.
        assert!(pace.settle(TYPISTS, true, PULSE_BEAT_SHARED_MIN, now));
        assert_eq!(pace.length(), pace.needed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_beat_that_was_too_short_is_not_tried_again_for_a_while() {
        let mut now = Instant::now();
        let mut pace = Pace::new(TYPISTS, true, now);
        let too_short = pace.length();
        see(&mut pace, &mut now, Duration::ZERO, false);
        assert!(pace.settle(TYPISTS, true, Duration::ZERO, now));
        let until = now + PULSE_SHARED_TOO_SHORT_TIME;
        while now < until {
            pace.settle(TYPISTS, true, Duration::ZERO, now);
            assert!(pace.length() > too_short);
            see(&mut pace, &mut now, Duration::ZERO, true);
        }
        for _ in 0..4 {
            pace.settle(TYPISTS, true, Duration::ZERO, now);
            see(&mut pace, &mut now, Duration::ZERO, true);
        }
        assert!(pace.length() <= too_short);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_begins_anew_with_its_own_beat() {
        let now = Instant::now();
        let mut pace = Pace::new(TYPISTS, false, now);
        assert!(pace.settle(PULSE_TYPISTS_FAST + 1, false, Duration::ZERO, now));
        assert_eq!(pace.length(), PULSE_BEAT_SLOW);
    }
}
