//! Whose updates fly next.
//!
//! Updates differ in what they cost everybody: one that is written on top of an old version makes the
//! engine walk all that came since, one that does harm has the document loaded anew. So a session flies
//! together with others only once most of its updates have turned out harmless and cheap. Until then
//! each of its batches flies alone, in turn with the others' flights, and a session whose updates were
//! dear has an allowance of processor time. Whoever sends much that is dear waits for it, and all of those
//! together have a part of the room's time, since there may be a new one each second. Next to an update
//! that hangs in the past everybody's are dear, so those who have seen what landed lately may cost more.
//! Whoever was sent away since his were dear, and comes back with them, is let try at length now and then:
//! it may be what he wrote offline, and the document may never be less busy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use document_types::SessionId;
use document_types::limits::{
    STANDING_MAX, STANDING_TOGETHER_MIN, TRIAL_ALONE_BURST, TRIAL_ALONE_SHARE, TRIAL_ALONE_TIME,
    TRIAL_CHEAP_PER_UPDATE_MAX, TRIAL_FRESH_PER_UPDATE_MAX, TRIAL_STRANGERS_BURST,
    TRIAL_STRANGERS_SHARE, UPDATES_ALONE_MAX,
};
use tokio::time::Instant;

use super::lag::is_fresh;
use crate::gate::Offer;

/// Who flies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// All whose updates have been harmless and cheap.
    Together,
    /// One session, with some updates of one batch.
    Alone(SessionId),
}

/// What is known of a session.
#[derive(Debug)]
struct Account {
    /// How many more of its updates were harmless and cheap than dear, within bounds.
    standing: u32,
    /// Whether one of its updates that flew alone was dear. Who has just come does not have to wait.
    is_dear: bool,
    /// Whether one was refused as too dear, for now.
    was_sent_away: bool,
    /// When what it flew alone has been paid for.
    paid_at: Instant,
}

/// What is known of the sessions, and whose turn it was.
#[derive(Debug)]
pub(super) struct Turns {
    accounts: BTreeMap<SessionId, Account>,
    last: Turn,
    began_at: Instant,
    /// What one update cost in the last flight.
    cost: Duration,
    /// Whether what flies may cost more, though nobody knows the session.
    is_patient: bool,
    /// When that has been paid for by all who are in the room.
    patience_paid_at: Instant,
    /// When what was dear of all that flew alone has been paid for.
    strangers_paid_at: Instant,
}

impl Turns {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            accounts: BTreeMap::new(),
            last: Turn::Together,
            began_at: now,
            cost: Duration::ZERO,
            is_patient: false,
            patience_paid_at: now,
            strangers_paid_at: strangers_saved_up(now),
        }
    }

    /// Who may fly now, those whose turn it is first. The next has the turn if all that those before
    /// it have in the queue waits for something. Of those who fly alone it is the one who has the least
    /// to pay. Whoever is `alone` in the room keeps nobody waiting.
    pub(super) fn next(&self, queue: &VecDeque<Offer>, alone: bool, now: Instant) -> Vec<Turn> {
        let mut turns = Vec::new();
        if queue.iter().any(|offer| self.is_trusted(&offer.session)) {
            turns.push(Turn::Together);
        }
        let mut seen = BTreeSet::new();
        // Those who have proven cheap are not to wait for any number of others, one newer than the other.
        let must_wait = !alone && self.has_trusted() && self.strangers_paid_at > now;
        let strangers = if must_wait { 0 } else { queue.len() };
        let mut singles: Vec<_> = queue
            .iter()
            .take(strangers)
            .map(|offer| &offer.session)
            .filter(|session| !self.is_trusted(session) && seen.insert(*session))
            .map(|session| (self.paid_at(session, now), session))
            .filter(|(paid_at, session)| alone || *paid_at <= now || !self.is_dear(session))
            .collect();
        singles.sort_by_key(|(paid_at, _)| *paid_at);
        turns.extend(
            singles
                .into_iter()
                .map(|(_, session)| Turn::Alone(session.clone())),
        );
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

    /// Leaves of `ready` what flies in `turn`, and gives back the rest, in its order. What flies alone is
    /// some updates of one batch, as many as may be tried while the others wait.
    pub(super) fn trim(&self, turn: &Turn, ready: &mut Vec<Offer>) -> Vec<Offer> {
        let Some(batch) = ready.first().map(|first| first.batch) else {
            return Vec::new();
        };
        let flying = match turn {
            Turn::Together => ready.len(),
            Turn::Alone(_) => {
                let cost = self.cost.as_micros().max(1);
                let affordable = usize::try_from(TRIAL_ALONE_TIME.as_micros() / cost);
                ready
                    .iter()
                    .take(affordable.unwrap_or(usize::MAX).clamp(1, UPDATES_ALONE_MAX))
                    .take_while(|offer| offer.batch == batch)
                    .count()
            }
        };
        ready.split_off(flying)
    }

    /// A flight of `turn` begins.
    pub(super) fn begin(&mut self, turn: Turn, now: Instant) {
        self.last = turn;
        self.began_at = now;
        // What was to be tried at length, and could not be, has cost nobody anything.
        self.is_patient = false;
    }

    /// Whether what flies, flies alone.
    pub(super) fn is_alone(&self) -> bool {
        self.last != Turn::Together
    }

    /// A session's update was refused as too dear, for now.
    pub(super) fn sent_away(&mut self, session: &SessionId, now: Instant) {
        self.account(session, now).was_sent_away = true;
    }

    /// Whether what flies may cost more although nobody knows the session, since it was sent away before
    /// and no other had so much of the room's time lately.
    pub(super) fn be_patient(&mut self, now: Instant) -> bool {
        let was_sent_away = match &self.last {
            Turn::Together => false,
            Turn::Alone(session) => self
                .accounts
                .get(session)
                .is_some_and(|account| account.was_sent_away),
        };
        self.is_patient = was_sent_away && self.patience_paid_at <= now;
        self.is_patient
    }

    /// So many updates were tried, which has cost `processor_time`; `sessions` says whose the harmless
    /// ones are, as far as the sessions are still there, and how far behind they were.
    pub(super) fn tried<'a>(
        &mut self,
        sessions: impl Iterator<Item = (&'a SessionId, u64)>,
        updates: usize,
        processor_time: Duration,
        now: Instant,
    ) {
        let updates = u32::try_from(updates).unwrap_or(u32::MAX).max(1);
        let is_alone = self.is_alone();
        self.cost = processor_time / updates;
        let cost = self.cost;
        for (session, lag) in sessions {
            let cost_max = if is_fresh(lag) {
                TRIAL_FRESH_PER_UPDATE_MAX
            } else {
                TRIAL_CHEAP_PER_UPDATE_MAX
            };
            let account = self.account(session, now);
            if cost <= cost_max {
                account.standing = (account.standing + 1).min(STANDING_MAX);
            } else if is_alone {
                account.standing = account.standing.saturating_sub(1);
                account.is_dear = true;
            }
        }
        if is_alone && cost > TRIAL_CHEAP_PER_UPDATE_MAX {
            self.strangers_spent(processor_time, now);
        }
        self.spent(processor_time, now);
    }

    /// The flight's updates had to be looked at closely. What that cost a worker is not told; it is
    /// at most what has passed.
    pub(super) fn looked(&mut self, now: Instant) {
        self.spent(now.duration_since(self.began_at), now);
    }

    fn strangers_spent(&mut self, time: Duration, now: Instant) {
        self.strangers_paid_at =
            self.strangers_paid_at.max(strangers_saved_up(now)) + time * TRIAL_STRANGERS_SHARE;
    }

    fn spent(&mut self, time: Duration, now: Instant) {
        if let Turn::Alone(session) = self.last.clone() {
            let account = self.account(&session, now);
            account.paid_at = account.paid_at.max(saved_up(now)) + time * TRIAL_ALONE_SHARE;
        }
        if std::mem::take(&mut self.is_patient) {
            self.patience_paid_at = now + time * TRIAL_ALONE_SHARE;
        }
    }

    /// When the next of those who fly alone may fly again, if one has to wait.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let paid_at = self.accounts.values().map(|account| account.paid_at);
        paid_at
            .chain([self.strangers_paid_at])
            .filter(|paid_at| *paid_at > now)
            .min()
    }

    fn has_trusted(&self) -> bool {
        let mut accounts = self.accounts.values();
        accounts.any(|account| account.standing >= STANDING_TOGETHER_MIN)
    }

    /// A session has left.
    pub(super) fn left(&mut self, session: &SessionId) {
        self.accounts.remove(session);
    }

    fn account(&mut self, session: &SessionId, now: Instant) -> &mut Account {
        self.accounts
            .entry(session.clone())
            .or_insert_with(|| Account {
                standing: 0,
                is_dear: false,
                was_sent_away: false,
                paid_at: saved_up(now),
            })
    }

    /// Whether most of its updates so far were harmless and cheap.
    pub(super) fn is_trusted(&self, session: &SessionId) -> bool {
        let account = self.accounts.get(session);
        account.is_some_and(|account| account.standing >= STANDING_TOGETHER_MIN)
    }

    fn is_dear(&self, session: &SessionId) -> bool {
        let account = self.accounts.get(session);
        account.is_some_and(|account| account.is_dear)
    }

    fn paid_at(&self, session: &SessionId, now: Instant) -> Instant {
        let account = self.accounts.get(session);
        let saved_up = saved_up(now);
        account.map_or(saved_up, |account| account.paid_at.max(saved_up))
    }
}

/// Since when time has been saved up at `now`, if none was spent.
fn saved_up(now: Instant) -> Instant {
    now.checked_sub(TRIAL_ALONE_BURST).unwrap_or(now)
}

/// The same for all those together who fly alone.
fn strangers_saved_up(now: Instant) -> Instant {
    now.checked_sub(TRIAL_STRANGERS_BURST).unwrap_or(now)
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
            received: Instant::now(),
        };
        names.iter().map(offer).collect()
    }

    fn fly(turns: &mut Turns, names: &[u8], cost: Duration) {
        let sessions: Vec<_> = names.iter().map(|name| session(*name)).collect();
        let sessions = sessions.iter().map(|session| (session, 0));
        turns.tried(sessions, names.len(), cost, Instant::now());
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
        // That is less a concern of somebody else's whose updates are dear.
        turns.begin(Turn::Alone(session(3)), Instant::now());
        fly(&mut turns, &[3], DEAR / 3);
        let for_all = (DEAR + DEAR / 3) * TRIAL_STRANGERS_SHARE - TRIAL_STRANGERS_BURST;
        tokio::time::advance(for_all).await;
        let next = turns.next(&queue(&[2, 3]), false, Instant::now());
        assert_eq!(next, [Turn::Alone(session(3))]);
        tokio::time::advance(DEAR * TRIAL_ALONE_SHARE - TRIAL_ALONE_BURST - for_all).await;
        let next = turns.next(&queue(&[2, 3]), false, Instant::now());
        assert_eq!(next, [3, 2].map(|name| Turn::Alone(session(name))));
        // Next to an update that hangs in the past everybody's are dear, so those who fly together
        // keep their standing.
        turns.begin(Turn::Together, Instant::now());
        fly(&mut turns, &[1], DEAR);
        let next = turns.next(&waiting, false, Instant::now());
        assert!(next.contains(&Turn::Together));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_new_wait_for_what_others_were_dear_before_them_unless_nobody_is_known() {
        let (known, stranger) = (Turn::Together, Turn::Alone(session(9)));
        let mut turns = Turns::new(Instant::now());
        for name in 2..9 {
            turns.begin(Turn::Alone(session(name)), Instant::now());
            fly(&mut turns, &[name], DEAR);
        }
        let next = turns.next(&queue(&[9]), false, Instant::now());
        assert_eq!(next, std::slice::from_ref(&stranger), "nobody waits for it");
        prove(&mut turns, 1);
        let waiting = queue(&[1, 9]);
        assert_eq!(turns.next(&waiting, false, Instant::now()), [known]);
        assert!(turns.wakes_at(Instant::now()).is_some());
        tokio::time::advance(DEAR * 7 * TRIAL_STRANGERS_SHARE).await;
        let next = turns.next(&waiting, false, Instant::now());
        assert!(next.contains(&stranger));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_sent_away_is_let_try_at_length_and_the_next_after_that_is_paid_for() {
        let mut turns = Turns::new(Instant::now());
        turns.begin(Turn::Alone(session(1)), Instant::now());
        assert!(!turns.be_patient(Instant::now()), "nobody was sent away");
        for name in [1, 2] {
            turns.sent_away(&session(name), Instant::now());
        }
        turns.begin(Turn::Alone(session(1)), Instant::now());
        assert!(turns.be_patient(Instant::now()));
        fly(&mut turns, &[1], DEAR);
        turns.begin(Turn::Alone(session(2)), Instant::now());
        assert!(!turns.be_patient(Instant::now()), "it costs everybody");
        tokio::time::advance(DEAR * TRIAL_ALONE_SHARE).await;
        assert!(turns.be_patient(Instant::now()));
    }
}
