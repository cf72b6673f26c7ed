//! Whose updates fly next.
//!
//! Updates differ in what they cost everybody: one that is written on top of an old version makes the
//! engine walk all that came since, one that does harm has the document loaded anew. So a session flies
//! together with others only once most of its updates have turned out harmless and cheap. Until then
//! each of its batches flies alone, in turn with the others' flights, and all whose updates were dear
//! share an allowance of processor time. Whoever sends what is dear waits for it; those who type do not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use document_types::SessionId;
use document_types::limits::{
    STANDING_MAX, STANDING_TOGETHER_MIN, TRIAL_ALONE_BURST, TRIAL_ALONE_SHARE,
    TRIAL_CHEAP_PER_UPDATE_MAX, UPDATES_ALONE_MAX,
};
use tokio::time::Instant;

use crate::gate::Offer;

/// Who flies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// All whose updates have been harmless and cheap.
    Together,
    /// One session, with some updates of one batch.
    Alone(SessionId),
}

impl Turn {
    /// Leaves of `ready` what flies, and gives back the rest, in its order.
    pub(super) fn trim(&self, ready: &mut Vec<Offer>) -> Vec<Offer> {
        let Some(batch) = ready.first().map(|first| first.batch) else {
            return Vec::new();
        };
        let flying = match self {
            Self::Together => ready.len(),
            Self::Alone(_) => ready
                .iter()
                .take(UPDATES_ALONE_MAX)
                .take_while(|offer| offer.batch == batch)
                .count(),
        };
        ready.split_off(flying)
    }
}

/// What is known of the sessions, and whose turn it was.
#[derive(Debug)]
pub(super) struct Turns {
    /// How many more updates of a session were harmless and cheap than dear, within bounds.
    standing: BTreeMap<SessionId, u32>,
    /// Those of whom an update that flew alone was dear. They wait for the allowance; who has just come
    /// does not have to wait for others' sake.
    dear: BTreeSet<SessionId>,
    last: Turn,
    began_at: Instant,
    /// When what flew alone has been paid for.
    paid_at: Instant,
}

impl Turns {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            standing: BTreeMap::new(),
            dear: BTreeSet::new(),
            last: Turn::Together,
            began_at: now,
            paid_at: saved_up(now),
        }
    }

    /// Who may fly now, those whose turn it is first. The next has the turn if all that those before
    /// it have in the queue waits for something. Whoever is `alone` in the room keeps nobody waiting.
    pub(super) fn next(&self, queue: &VecDeque<Offer>, alone: bool, now: Instant) -> Vec<Turn> {
        let mut turns = Vec::new();
        if queue.iter().any(|offer| self.is_trusted(&offer.session)) {
            turns.push(Turn::Together);
        }
        let is_paid = alone || self.paid_at <= now;
        let mut seen = BTreeSet::new();
        let alone = queue
            .iter()
            .map(|offer| &offer.session)
            .filter(|session| !self.is_trusted(session) && seen.insert(*session))
            .filter(|session| is_paid || !self.dear.contains(session))
            .map(|session| Turn::Alone(session.clone()));
        turns.extend(alone);
        if self.last == Turn::Together && turns.first() == Some(&Turn::Together) && turns.len() > 1
        {
            turns.swap(0, 1);
        }
        turns
    }

    /// Takes out of `queue` what `turn` is about, in its order.
    pub(super) fn take(&self, queue: &mut VecDeque<Offer>, turn: &Turn) -> VecDeque<Offer> {
        let (taken, left) = queue.drain(..).partition(|offer| match turn {
            Turn::Together => self.is_trusted(&offer.session),
            Turn::Alone(session) => offer.session == *session,
        });
        *queue = left;
        taken
    }

    /// A flight of `turn` begins.
    pub(super) fn begin(&mut self, turn: Turn, now: Instant) {
        self.last = turn;
        self.began_at = now;
    }

    /// Whether what flies, flies alone.
    pub(super) fn is_alone(&self) -> bool {
        self.last != Turn::Together
    }

    /// So many updates were tried, which has cost `processor_time`; `sessions` says whose the harmless
    /// ones are, as far as the sessions are still there.
    pub(super) fn tried<'a>(
        &mut self,
        sessions: impl Iterator<Item = &'a SessionId>,
        updates: usize,
        processor_time: Duration,
        now: Instant,
    ) {
        let updates = u32::try_from(updates).unwrap_or(u32::MAX);
        let is_alone = self.is_alone();
        let is_cheap = processor_time <= TRIAL_CHEAP_PER_UPDATE_MAX * updates;
        for session in sessions {
            let standing = self.standing.entry(session.clone()).or_default();
            if is_cheap {
                *standing = (*standing + 1).min(STANDING_MAX);
            } else if is_alone {
                *standing = standing.saturating_sub(1);
                self.dear.insert(session.clone());
            }
        }
        self.spent(processor_time, now);
    }

    /// The flight's updates had to be looked at closely. What that cost a worker is not told; it is
    /// at most what has passed.
    pub(super) fn looked(&mut self, now: Instant) {
        self.spent(now.duration_since(self.began_at), now);
    }

    fn spent(&mut self, time: Duration, now: Instant) {
        if self.is_alone() {
            self.paid_at = self.paid_at.max(saved_up(now)) + time * TRIAL_ALONE_SHARE;
        }
    }

    /// When those who fly alone may fly again, if not now.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        (self.paid_at > now).then_some(self.paid_at)
    }

    /// A session has left.
    pub(super) fn left(&mut self, session: &SessionId) {
        self.standing.remove(session);
        self.dear.remove(session);
    }

    fn is_trusted(&self, session: &SessionId) -> bool {
        self.standing
            .get(session)
            .is_some_and(|standing| *standing >= STANDING_TOGETHER_MIN)
    }
}

/// Since when time has been saved up at `now`, if none was spent.
fn saved_up(now: Instant) -> Instant {
    now.checked_sub(TRIAL_ALONE_BURST).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use document_types::{CounterSpan, DeviceId, Digest, PeerId, Principal, UserId};

    const CHEAP: Duration = Duration::from_millis(1);
    const DEAR: Duration = Duration::from_millis(150);

    fn session(name: u8) -> SessionId {
        SessionId::parse(&format!("ses_{name}")).unwrap()
    }

    fn queue(names: &[u8]) -> VecDeque<Offer> {
        let offer = |name: &u8| Offer {
            batch: 0,
            author: Principal {
                user: UserId::parse("ada").unwrap(),
                device: DeviceId::parse("dev_1").unwrap(),
            },
            session: session(*name),
            correlation_id: String::new(),
            span: CounterSpan {
                peer: PeerId(1),
                start: 0,
                end: 1,
            },
            dependencies: vec![],
            references: vec![],
            kinds: vec![],
            inserted_text_bytes: 0,
            digest: Digest::of(&[]),
            bytes: Bytes::new(),
            arrived: Instant::now(),
        };
        names.iter().map(offer).collect()
    }

    fn fly(turns: &mut Turns, names: &[u8], cost: Duration) {
        let sessions: Vec<_> = names.iter().map(|name| session(*name)).collect();
        turns.tried(sessions.iter(), names.len(), cost, Instant::now());
    }

    fn prove(turns: &mut Turns, name: u8) {
        for _ in 0..STANDING_TOGETHER_MIN {
            turns.begin(Turn::Alone(session(name)), Instant::now());
            fly(turns, &[name], CHEAP);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_have_proven_cheap_fly_together_in_turn_with_each_of_the_others() {
        let mut turns = Turns::new(Instant::now());
        prove(&mut turns, 1);
        prove(&mut turns, 2);
        let mut waiting = queue(&[3, 1, 4, 2, 3]);
        let (third, fourth) = (Turn::Alone(session(3)), Turn::Alone(session(4)));
        let next = turns.next(&waiting, false, Instant::now());
        assert_eq!(next, [Turn::Together, third.clone(), fourth.clone()]);
        turns.begin(Turn::Together, Instant::now());
        let next = turns.next(&waiting, false, Instant::now());
        assert_eq!(next, [third.clone(), Turn::Together, fourth]);
        assert_eq!(turns.take(&mut waiting, &third).len(), 2);
        assert_eq!(turns.take(&mut waiting, &Turn::Together).len(), 2);
        assert_eq!(waiting.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dear_flies_alone_and_within_its_allowance() {
        let mut turns = Turns::new(Instant::now());
        prove(&mut turns, 1);
        let waiting = queue(&[1, 2]);
        let mut flown = 0;
        while turns.wakes_at(Instant::now()).is_none() {
            turns.begin(Turn::Alone(session(2)), Instant::now());
            fly(&mut turns, &[2], DEAR);
            flown += 1;
        }
        assert!(flown <= 3, "{flown} dear updates flew at once");
        assert_eq!(
            turns.next(&waiting, false, Instant::now()),
            [Turn::Together]
        );
        tokio::time::advance(DEAR * TRIAL_ALONE_SHARE).await;
        assert!(turns.next(&waiting, false, Instant::now()).len() > 1);
        // Next to an update that hangs in the past everybody's are dear, so those who fly together
        // keep their standing.
        turns.begin(Turn::Together, Instant::now());
        fly(&mut turns, &[1], DEAR);
        let next = turns.next(&waiting, false, Instant::now());
        assert!(next.contains(&Turn::Together));
    }
}
