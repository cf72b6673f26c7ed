//! Sessions: joining, being caught up, being fed, leaving.

use std::sync::Arc;

use document_types::limits::SESSION_QUEUE_COUNT_MAX;
use document_types::{ErrorCode, Permission, Principal, SessionId, VersionVector};
use service_api::{Joined, PeerStanding, RoomHandle, SessionEvent, WireKind};
use tokio::sync::mpsc;

use super::{Join, Room};
use crate::catch_up;

/// A session in a room.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) principal: Principal,
    kind: WireKind,
    stay: u64,
    events: mpsc::Sender<SessionEvent>,
    feed: Feed,
}

/// Where a session stands.
enum Feed {
    /// It is being sent what the store has.
    CatchingUp,
    /// It is fed from the recent updates.
    Live {
        /// The position of the next update that it has not been sent.
        next: u64,
        /// What it knows beyond that, until it has passed what came while it caught up.
        known: Option<VersionVector>,
        /// Whether it could not take all that there was.
        slow: bool,
        /// Whether it was told that it has caught up.
        told: bool,
    },
}

impl Session {
    pub(super) fn is_slow(&self) -> bool {
        matches!(self.feed, Feed::Live { slow: true, .. })
    }

    pub(super) fn hears_pulse(&self) -> bool {
        self.kind == WireKind::CollabEdit
    }
}

impl Room {
    /// Lets a session in and begins to catch it up.
    pub(super) fn join(&mut self, join: Join) {
        let Join { request, reply } = join;
        let (events, receiver) = mpsc::channel(SESSION_QUEUE_COUNT_MAX);
        let stay = self.next_stay;
        self.next_stay += 1;
        let session = Session {
            id: request.session.clone(),
            principal: request.principal.clone(),
            kind: request.kind,
            stay,
            events,
            feed: Feed::CatchingUp,
        };
        let peer = request.peer.map(|peer| PeerStanding {
            end: self.admission.version().end(peer),
            owned: self
                .admission
                .owner(peer)
                .is_none_or(|owner| *owner == request.principal),
        });
        let joined = Joined {
            permission: Permission::Write,
            version: self.admission.version().clone(),
            peer,
            room: RoomHandle::new(request.session.clone(), stay, self.requests_sender.clone()),
            events: receiver,
        };
        if reply.send(Ok(joined)).is_err() {
            return;
        }
        let id = session.id.clone();
        if self.sessions.insert(id.clone(), session).is_none() {
            metrics::gauge!(crate::metrics::SESSIONS).increment(1.0);
        }
        if self.recent.is_short_for(&request.version) {
            self.caught_up(&id, request.version);
        } else {
            self.catch_up(&id, request.version);
        }
        if self.pulse.beat().is_some() {
            self.tell_pulse(true);
        }
    }

    /// Whether a session is here and takes part in the pulse.
    pub(super) fn hears_pulse(&self, id: &SessionId) -> bool {
        self.sessions.get(id).is_some_and(Session::hears_pulse)
    }

    /// Whether a session is in the room, in the stay that a request of it belongs to.
    pub(super) fn is_here(&self, id: &SessionId, stay: u64) -> bool {
        self.sessions
            .get(id)
            .is_some_and(|session| session.stay == stay)
    }

    /// A session knows `version` now. If the recent updates go on from there it is live; if not,
    /// the store has what lies between.
    pub(super) fn caught_up(&mut self, id: &SessionId, version: VersionVector) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if self.recent.continues(&version) {
            let next = self.recent.start();
            session.feed = Feed::Live {
                next,
                known: Some(version),
                slow: false,
                told: false,
            };
            self.deliver(&id.clone());
        } else {
            self.catch_up(id, version);
        }
    }

    /// Has a session sent what the store has beyond `version`.
    fn catch_up(&self, id: &SessionId, version: VersionVector) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let catch_up = catch_up::run(
            self.parts.store.clone(),
            self.document.clone(),
            (id.clone(), session.stay),
            version,
            session.events.clone(),
            self.notices_sender.clone(),
        );
        self.parts.tasks.spawn(catch_up);
    }

    /// Feeds every session that has something to be fed with.
    pub(super) fn deliver_all(&mut self) {
        let ids: Vec<_> = self.sessions.keys().cloned().collect();
        for id in &ids {
            self.deliver(id);
        }
        self.traced.shown(ids.len());
    }

    fn deliver(&mut self, id: &SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Feed::Live {
            next,
            known,
            slow,
            told,
        } = &mut session.feed
        else {
            return;
        };
        *slow = false;
        while *next < self.recent.end() {
            let Some((frame, after)) = self.recent.next_frame(*next, id, known.as_ref()) else {
                self.lose(&id.clone());
                return;
            };
            if !frame.updates.is_empty() {
                match session
                    .events
                    .try_send(SessionEvent::Updates(Arc::new(frame)))
                {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        *slow = true;
                        return;
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => {
                        self.leave(&id.clone());
                        return;
                    }
                }
            }
            *next = after;
        }
        *known = None;
        if !*told && session.events.try_send(SessionEvent::CaughtUp).is_ok() {
            *told = true;
        }
    }

    /// Says something that must not be lost: a session that can't take it loses its stream, and
    /// learns by joining again what it missed.
    pub(super) fn say(&mut self, id: &SessionId, event: SessionEvent) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if session.events.try_send(event).is_err() {
            self.lose(&id.clone());
        }
    }

    /// The session reads too slowly. Its queue is full, so it can't be told; the end of its events
    /// tells it.
    fn lose(&mut self, id: &SessionId) {
        metrics::counter!(crate::metrics::SLOW_CONSUMERS).increment(1);
        tracing::info!(document = %self.document, session = %id, "a slow session lost its stream");
        self.close(
            id,
            ErrorCode::SlowConsumer,
            "this session reads too slowly; join again",
        );
    }

    pub(super) fn close(&mut self, id: &SessionId, code: ErrorCode, message: &str) {
        if let Some(session) = self.sessions.get(id) {
            let message = message.to_owned();
            // A full queue ends without the word; the end itself says to join again.
            let _ = session
                .events
                .try_send(SessionEvent::Closed { code, message });
        }
        self.leave(id);
    }

    pub(super) fn close_all(&mut self, code: ErrorCode, message: &str) {
        let ids: Vec<_> = self.sessions.keys().cloned().collect();
        for id in ids {
            self.close(&id, code, message);
        }
    }

    /// Forgets a session. What it offered goes on: an answer that nobody hears changes nothing.
    pub(super) fn leave(&mut self, id: &SessionId) {
        if self.sessions.remove(id).is_some() {
            metrics::gauge!(crate::metrics::SESSIONS).decrement(1.0);
        }
        self.pulse.left(id);
        self.turns.left(id);
    }
}
