use document_types::{ErrorCode, PeerId, Permission, TraceRatio, VersionVector};
use sync_protocol::{Feature, JoinAnswer, JoinPayload, Message, PeerAnswer, encode_version};
use tokio::time::Instant;

use super::{Inbox, Replica, Stage};

/// What a server of ours says beyond the stock protocol when it lets a replica in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerAdditions {
    /// Whether acks come with stamps, and refusals with codes.
    pub(crate) stamps: bool,
    /// How the log knows the peer that the replica announced.
    pub(crate) peer: Option<PeerAnswer>,
    /// Which part of the batches is to be traced.
    pub(crate) trace_ratio: Option<TraceRatio>,
}

impl From<JoinAnswer> for ServerAdditions {
    fn from(answer: JoinAnswer) -> Self {
        Self {
            stamps: answer.features.contains(&Feature::Stamps),
            peer: answer.peer,
            trace_ratio: answer.trace_ratio,
        }
    }
}

impl Replica {
    /// There is a connection.
    pub(crate) fn connected(&mut self, now: Instant) {
        if !self.is_closed() {
            self.join(now);
        }
    }

    /// The connection is gone. What was sent and not answered may or may not have arrived.
    pub(crate) fn disconnected(&mut self) {
        self.out.clear();
        self.traced.forget();
        self.outbox.resend_all();
        self.beat = None;
        self.inbox = Inbox::default();
        self.send_after = None;
        if !self.is_closed() {
            self.enter(Stage::Offline);
        }
    }

    pub(super) fn join(&mut self, now: Instant) {
        let version = match self.content.crdt().version() {
            Ok(version) => version,
            Err(error) => return self.reload(&error, now),
        };
        let payload = JoinPayload {
            collabedit: 1,
            device: self.introduction.device.clone(),
            name: self.introduction.name.clone(),
            features: vec![Feature::Pulse, Feature::Stamps],
            peer: Some(self.content.peer()),
            nonce: None,
            token: self.introduction.token.clone(),
        };
        let payload = serde_json::to_vec(&payload).expect("texts and numbers always serialise");
        self.out.push_back(Message::JoinRequest {
            payload: payload.into(),
            version: encode_version(&version),
        });
        self.enter(Stage::Joining { since: now });
    }

    /// Leaves the room and joins it again after a pause: the exchange of versions repairs what is
    /// missing on either side.
    pub(super) fn rejoin(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Offline | Stage::Closed { .. }) {
            return;
        }
        self.out.clear();
        self.out.push_back(Message::Leave);
        self.traced.forget();
        self.outbox.resend_all();
        self.beat = None;
        self.inbox = Inbox::default();
        let until = now + self.attempts.pause();
        self.enter(Stage::Pausing { until });
    }

    /// The server lets the replica in. `version` is what its log holds, and `additions` what it says if
    /// it is one of ours.
    pub(crate) fn joined(
        &mut self,
        permission: Permission,
        version: &VersionVector,
        additions: Option<ServerAdditions>,
        now: Instant,
    ) {
        if !matches!(self.stage, Stage::Joining { .. }) {
            return;
        }
        self.read_only = permission < Permission::Write;
        self.stamps = additions.is_some_and(|additions| additions.stamps);
        self.traced
            .joined(additions.and_then(|additions| additions.trace_ratio));
        self.beat = None;
        self.inbox = Inbox::default();
        let known = self.outbox.acknowledge_known(version);
        self.acknowledged(&known, None, now);
        self.promised = version.clone();
        self.enter(Stage::CatchingUp);
        if let Some(peer) = additions.and_then(|additions| additions.peer)
            && !self.may_write_as(self.content.peer(), peer)
        {
            return self.change_peer(now);
        }
        if additions.is_none() {
            // A stock server does not say when it has sent everything.
            self.caught_up(now);
        }
        self.send(now);
        self.publish();
    }

    /// A peer id that belongs to somebody else, or under which the log knows more than this replica,
    /// must not be written under: it would give one name to two operations.
    fn may_write_as(&self, own: PeerId, standing: PeerAnswer) -> bool {
        let end = self
            .content
            .crdt()
            .version()
            .map_or(0, |version| version.end(own));
        // While the replica is loaded again, it writes under a peer id that it never used.
        standing.owned && standing.end <= end
    }

    /// The server does not let the replica in.
    pub(crate) fn join_refused(&mut self, code: ErrorCode, message: &str, now: Instant) {
        if matches!(self.stage, Stage::Joining { .. }) {
            self.out_of_room(code, message, now);
        }
    }

    /// The replica is out of the room.
    pub(crate) fn out_of_room(&mut self, code: ErrorCode, message: &str, now: Instant) {
        use document_types::Advice;
        match code.advice() {
            Advice::Retry | Advice::Rejoin => self.rejoin(now),
            Advice::Fix | Advice::GiveUp => self.close_because(format!("{code}: {message}")),
        }
    }
}
