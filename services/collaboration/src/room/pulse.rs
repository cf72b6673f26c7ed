//! The room's beat.
//!
//! Importing an update costs time in proportion to the operations since the last version that every
//! writer had seen. With many people typing freely there never is such a version; on a beat there is
//! one nearly every time: clients import the beat's frame and only then commit their own edits.

use std::collections::BTreeMap;
use std::time::Duration;

use document_types::limits::{
    PULSE_OFF_AFTER, PULSE_SHARED_COMPANY_SHARE, PULSE_TYPISTS_OFF, PULSE_TYPISTS_ON,
    PULSE_TYPISTS_ON_DEAR, PULSE_WINDOW, PULSE_WINDOW_BEATS_MIN,
};
use document_types::record::NodePosition;
use document_types::{NodeId, RegionId, SessionId};
use tokio::time::Instant;

use super::pace::Pace;

/// Who types, and whether the room beats.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    typed_at: BTreeMap<SessionId, Typed>,
    /// The beat, while there is one.
    pace: Option<Pace>,
    /// What other nodes' rooms of the document said that they need.
    needed_elsewhere: BTreeMap<(RegionId, NodeId), Needed>,
    /// Since when there have been few typists.
    few_since: Option<Instant>,
    /// Until when importing what people type counts as dear.
    dear_until: Option<Instant>,
}

/// When a session typed last.
#[derive(Clone, Copy, Debug)]
struct Typed {
    at: Instant,
    /// Whether it is in another node's room of the document.
    elsewhere: bool,
}

/// The beat that another node's room needs.
#[derive(Clone, Copy, Debug)]
struct Needed {
    beat: Duration,
    /// When it said so.
    at: Instant,
}

/// One beat: its number and length, from the wall clock, so that all rooms of a document cut their
/// frames together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) number: u64,
    pub(crate) length_ms: u32,
}

impl Pulse {
    /// A session offered edits of its own.
    pub(crate) fn typed(&mut self, session: &SessionId, now: Instant) {
        let typed = Typed {
            at: now,
            elsewhere: false,
        };
        self.typed_at.insert(session.clone(), typed);
    }

    /// The log has brought edits of a session in another node's room of the document.
    pub(crate) fn typed_elsewhere(&mut self, session: &SessionId, now: Instant) {
        let typed = Typed {
            at: now,
            elsewhere: true,
        };
        self.typed_at.insert(session.clone(), typed);
    }

    /// The log has brought what was written in another node's room of the document, which needs `beat`;
    /// none if it is zero.
    pub(crate) fn needed_elsewhere(&mut self, node: &NodePosition, beat: Duration, now: Instant) {
        let room = (node.region.clone(), node.node);
        if beat.is_zero() {
            self.needed_elsewhere.remove(&room);
        } else {
            self.needed_elsewhere.insert(room, Needed { beat, at: now });
        }
    }

    /// A session left.
    pub(crate) fn left(&mut self, session: &SessionId) {
        self.typed_at.remove(session);
    }

    /// Importing what somebody wrote who had just read the document was dear.
    ///
    /// The version that every writer had seen lies far back then: next to an update that was written
    /// long ago, two who type freely seldom make another.
    pub(crate) fn was_dear(&mut self, now: Instant) {
        self.dear_until = Some(now + PULSE_OFF_AFTER);
    }

    /// Whether a session typed lately, and so takes part in the beat.
    pub(crate) fn is_typist(&self, session: &SessionId) -> bool {
        self.typed_at.contains_key(session)
    }

    /// Whether a session typed lately in another node's room. Whether its client hears the pulse there
    /// is not known; a few that don't, don't spoil it.
    pub(crate) fn is_elsewhere(&self, session: &SessionId) -> bool {
        let typed = self.typed_at.get(session);
        typed.is_some_and(|typed| typed.elsewhere)
    }

    /// How many typed lately.
    pub(crate) fn typists(&self) -> usize {
        self.typed_at.len()
    }

    /// The beat's length, while the room beats.
    pub(crate) fn beat(&self) -> Option<Duration> {
        self.pace.as_ref().map(Pace::length)
    }

    /// The beat that this room needs, while it beats.
    pub(crate) fn needed_beat(&self) -> Option<Duration> {
        self.pace.as_ref().map(Pace::needed)
    }

    /// How long what some sessions wrote waits for what the others here write on the same beat. Not at all
    /// if nobody writes elsewhere, or if `count_waiting` finds all of them.
    pub(crate) fn company_wait(&self, count_waiting: impl FnOnce() -> usize) -> Option<Duration> {
        let pace = self.pace.as_ref().filter(|pace| pace.is_shared())?;
        let here = self.typed_at.values().filter(|typed| !typed.elsewhere);
        (here.count() > count_waiting()).then(|| pace.length() / PULSE_SHARED_COMPANY_SHARE)
    }

    /// What there is to watch the beat's length, while the room beats.
    pub(crate) fn pace(&mut self) -> Option<&mut Pace> {
        self.pace.as_mut()
    }

    /// Forgets who stopped typing and settles whether the room beats. Says whether that changed.
    pub(crate) fn settle(&mut self, now: Instant) -> bool {
        // On a long beat people are heard of once a beat, which is no pause.
        let window = self.beat().map_or(PULSE_WINDOW, |beat| {
            PULSE_WINDOW.max(beat * PULSE_WINDOW_BEATS_MIN)
        });
        self.typed_at
            .retain(|_, typed| now.duration_since(typed.at) < window);
        self.needed_elsewhere
            .retain(|_, needed| now.duration_since(needed.at) < window);
        let elsewhere = self.needed_elsewhere.values().map(|needed| needed.beat);
        let needed_elsewhere = elsewhere.max().unwrap_or_default();
        let is_shared = self.typed_at.values().any(|typed| typed.elsewhere);
        let typists = self.typed_at.len();
        let is_dear = self.dear_until.is_some_and(|until| now < until);
        let (on, off) = if is_dear {
            (PULSE_TYPISTS_ON_DEAR, PULSE_TYPISTS_ON_DEAR - 1)
        } else {
            (PULSE_TYPISTS_ON, PULSE_TYPISTS_OFF)
        };
        if typists <= off {
            self.few_since.get_or_insert(now);
        } else {
            self.few_since = None;
        }
        let stays = self.pace.is_some()
            && self
                .few_since
                .is_none_or(|since| now.duration_since(since) < PULSE_OFF_AFTER);
        let beats = typists >= on || stays;
        match &mut self.pace {
            Some(pace) if beats => pace.settle(typists, is_shared, needed_elsewhere, now),
            None if beats => {
                let mut pace = Pace::new(typists, is_shared, now);
                pace.settle(typists, is_shared, needed_elsewhere, now);
                self.pace = Some(pace);
                true
            }
            _ => self.pace.take().is_some(),
        }
    }
}

impl Beat {
    /// The beat in which `now_ms` lies.
    pub(crate) fn at(now_ms: u64, length: Duration) -> Self {
        let length_ms = u32::try_from(length.as_millis()).unwrap_or(u32::MAX).max(1);
        Self {
            number: now_ms / u64::from(length_ms),
            length_ms,
        }
    }

    /// How long it is from `now_ms` to the next beat.
    pub(crate) fn until_next(self, now_ms: u64) -> Duration {
        let length_ms = u64::from(self.length_ms);
        Duration::from_millis(length_ms - now_ms % length_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use document_types::NodeEpoch;
    use document_types::limits::{
        PULSE_BEAT_FAST, PULSE_BEAT_MAX, PULSE_BEAT_SHARED, PULSE_BEAT_SLOW,
    };

    fn session(i: usize) -> SessionId {
        SessionId::parse(&format!("ses_{i}")).unwrap()
    }

    fn type_all(pulse: &mut Pulse, count: usize, now: Instant) {
        (0..count).for_each(|i| pulse.typed(&session(i), now));
        pulse.settle(now);
    }

    #[tokio::test(start_paused = true)]
    async fn three_typists_are_free_and_four_beat() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        type_all(&mut pulse, 3, now);
        assert_eq!(pulse.beat(), None);
        type_all(&mut pulse, 4, now);
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_FAST));
        type_all(&mut pulse, 11, now);
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_SLOW));
    }

    #[tokio::test(start_paused = true)]
    async fn the_beat_ends_after_a_while_with_few_typists_and_not_before() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());
        type_all(&mut pulse, 4, start);
        let few = start + PULSE_WINDOW;
        type_all(&mut pulse, 3, few);
        pulse.settle(few + PULSE_WINDOW - Duration::from_millis(1));
        assert!(pulse.beat().is_some(), "three are not few enough to stop");
        type_all(&mut pulse, 2, few + PULSE_WINDOW);
        assert!(pulse.beat().is_some());
        type_all(&mut pulse, 2, few + PULSE_WINDOW + PULSE_OFF_AFTER);
        assert_eq!(pulse.beat(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_type_elsewhere_count_and_the_beat_is_one_that_both_rooms_come_to() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        type_all(&mut pulse, 2, now);
        pulse.typed_elsewhere(&session(10), now);
        pulse.typed_elsewhere(&session(11), now);
        assert!(pulse.settle(now));
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_SHARED));
        let alone = now + PULSE_WINDOW;
        type_all(&mut pulse, 4, alone);
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_FAST));
    }

    #[tokio::test(start_paused = true)]
    async fn one_waits_for_the_others_here_only_while_somebody_writes_elsewhere() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        type_all(&mut pulse, 4, now);
        assert_eq!(pulse.company_wait(|| 1), None);
        pulse.typed_elsewhere(&session(10), now);
        pulse.settle(now);
        let wait = PULSE_BEAT_SHARED / PULSE_SHARED_COMPANY_SHARE;
        assert_eq!(pulse.company_wait(|| 1), Some(wait));
        assert_eq!(pulse.company_wait(|| 4), None);
    }

    #[tokio::test(start_paused = true)]
    async fn rooms_beat_as_the_longest_of_them_needs_while_it_says_so() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        let elsewhere = NodePosition {
            region: RegionId::parse("us").unwrap(),
            node: NodeId(2),
            epoch: NodeEpoch(1),
            sequence: 1,
        };
        type_all(&mut pulse, 3, now);
        pulse.typed_elsewhere(&session(10), now);
        pulse.needed_elsewhere(&elsewhere, PULSE_BEAT_SHARED * 2, now);
        pulse.settle(now);
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_SHARED * 2));
        assert_eq!(pulse.needed_beat(), Some(PULSE_BEAT_SHARED));
        pulse.needed_elsewhere(&elsewhere, PULSE_BEAT_SHARED / 2, now);
        assert!(pulse.settle(now));
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_SHARED));
        pulse.needed_elsewhere(&elsewhere, Duration::MAX, now);
        pulse.settle(now);
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_MAX));
        pulse.needed_elsewhere(&elsewhere, Duration::ZERO, now);
        pulse.settle(now);
        assert_eq!(pulse.beat(), Some(PULSE_BEAT_SHARED));
    }

    #[tokio::test(start_paused = true)]
    async fn two_beat_while_what_they_type_is_dear_to_import() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());
        type_all(&mut pulse, 2, start);
        assert_eq!(pulse.beat(), None);
        pulse.was_dear(start);
        pulse.settle(start);
        assert!(pulse.beat().is_some());
        let cheap = start + PULSE_OFF_AFTER;
        type_all(&mut pulse, 2, cheap - Duration::from_millis(1));
        type_all(&mut pulse, 2, cheap);
        assert!(pulse.beat().is_some());
        type_all(&mut pulse, 2, cheap + PULSE_OFF_AFTER);
        assert_eq!(pulse.beat(), None);
        // Whoever types alone is never concurrent.
        type_all(&mut pulse, 0, cheap + PULSE_OFF_AFTER + PULSE_WINDOW);
        pulse.was_dear(cheap + PULSE_OFF_AFTER + PULSE_WINDOW);
        type_all(&mut pulse, 1, cheap + PULSE_OFF_AFTER + PULSE_WINDOW);
        assert_eq!(pulse.beat(), None);
    }

    #[test]
    fn beats_are_multiples_of_wall_clock_time() {
        let beat = Beat::at(1_000_030, Duration::from_millis(60));
        assert_eq!(
            beat,
            Beat {
                number: 16_667,
                length_ms: 60
            }
        );
        assert_eq!(beat.until_next(1_000_030), Duration::from_millis(50));
        assert_eq!(beat.until_next(1_000_080), Duration::from_millis(60));
    }
}
