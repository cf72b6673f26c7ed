use std::sync::Arc;

use document_types::{Advice, ErrorCode, Principal, SessionId, VersionVector};
use metrics::{counter, gauge};
use sync_protocol::{
    Batch, ClientPayload, JoinAnswer, PeerAnswer, Speaker, Subscription, TraceReport, UpdateStatus,
};
use tokio::time::Instant;

use crate::Credentials;
use crate::followed::{Followed, FollowedBatch};
use crate::metric_names::{REFUSALS, SUBSCRIPTIONS_OPEN};
use crate::socket::End;
use crate::state::{Gateway, Refusal};
use crate::writer::Outbox;

/// A client's wish to join something.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) payload: ClientPayload,
    pub(crate) version: VersionVector,
}

/// What the socket's reader passes to the task of a subscription. When the reader drops its end, the
/// client has left.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take a batch, which was received then and may be traced.
    Offer(Box<Batch>, Instant, Option<Box<FollowedBatch>>),
    /// The client could not use what it was sent.
    Complain(UpdateStatus),
    /// The client says how long a traced batch has taken it.
    Traced(TraceReport),
}

/// How the task of a subscription ended.
pub(crate) struct TaskEnd {
    /// Kept for the next join: it counts.
    pub(crate) speaker: Speaker,
    /// Whether it takes the socket with it.
    pub(crate) socket: Option<End>,
}

/// Counts a subscription while it is open, however its task ends.
pub(crate) struct SubscriptionOpen {
    kind: &'static str,
}

impl SubscriptionOpen {
    pub(crate) fn new(subscription: &Subscription) -> Self {
        let kind = if subscription.magic.is_presence() {
            "presence"
        } else {
            "document"
        };
        gauge!(SUBSCRIPTIONS_OPEN, "kind" => kind).increment(1.0);
        Self { kind }
    }
}

impl Drop for SubscriptionOpen {
    fn drop(&mut self) {
        gauge!(SUBSCRIPTIONS_OPEN, "kind" => self.kind).decrement(1.0);
    }
}

/// What the task of a subscription works with.
pub(crate) struct Seat {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) session: SessionId,
    pub(crate) credentials: Credentials,
    pub(crate) outbox: Outbox,
    pub(crate) speaker: Speaker,
    pub(crate) followed: Followed,
    pub(crate) _open: SubscriptionOpen,
}

impl Seat {
    pub(crate) fn subscription(&self) -> &Subscription {
        self.speaker.subscription()
    }

    /// Learns who the client is, and tells the speaker what it can.
    pub(crate) async fn identify(&mut self, payload: &ClientPayload) -> Result<Principal, Refusal> {
        let ours = matches!(payload, ClientPayload::CollabEdit(_));
        self.speaker.client_joins(ours, payload.negotiated());
        self.gateway
            .state
            .authenticator
            .authenticate(&self.credentials, payload)
            .await
            .map_err(|error| Refusal::new(error.code, error.message))
    }

    /// The answer to a join of one of our clients.
    pub(crate) fn answer(
        &self,
        payload: &ClientPayload,
        principal: &Principal,
        peer: Option<PeerAnswer>,
    ) -> Option<JoinAnswer> {
        self.speaker.is_ours().then(|| JoinAnswer {
            trace_ratio: self.gateway.state.traces.ratio(),
            ..JoinAnswer::new(
                self.session.clone(),
                principal.user.clone(),
                self.gateway.state.clock.now_ms(),
                peer,
                payload.negotiated(),
            )
        })
    }

    /// Tells the client that it is not in. A stock client takes that as final; where trying again
    /// would help, its socket is closed instead, so that it comes back after a pause and joins all.
    /// Not so for presence, for want of which nobody shall lose a document.
    pub(crate) async fn refuse_join(self: Box<Self>, refused: Refusal) -> TaskEnd {
        let Refusal { code, message } = refused;
        counter!(REFUSALS, "code" => code.as_str(), "place" => "join").increment(1);
        tracing::debug!(%code, message, "join refused");
        let is_document = !self.subscription().magic.is_presence();
        if is_document && code.advice() == Advice::Retry && !self.speaker.is_ours() {
            return TaskEnd {
                speaker: self.speaker,
                socket: Some(End::refused(code)),
            };
        }
        let _ = self
            .outbox
            .send(self.speaker.join_refused(code, &message))
            .await;
        self.left()
    }

    /// The client is out, by its own wish or because its socket is gone.
    pub(crate) fn left(self) -> TaskEnd {
        TaskEnd {
            speaker: self.speaker,
            socket: None,
        }
    }

    /// Puts the client out of the room.
    pub(crate) async fn put_out(mut self: Box<Self>, code: ErrorCode, message: &str) -> TaskEnd {
        counter!(REFUSALS, "code" => code.as_str(), "place" => "room").increment(1);
        let put_out = self.speaker.put_out(code, message);
        let _ = self.outbox.send(put_out.messages).await;
        let socket = put_out.closes_socket.then(|| End::refused(code));
        TaskEnd {
            speaker: self.speaker,
            socket,
        }
    }
}
