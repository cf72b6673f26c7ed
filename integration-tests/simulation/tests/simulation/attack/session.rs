//! An attacker's way into rooms, and what it hears there.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use crdt_document::{CrdtDocument, CrdtError};
use document_types::{
    Advice, BatchId, CounterSpan, DeviceId, DocumentId, ErrorCode, PeerId, Principal, UserId,
    VersionVector,
};
use service_api::{Collaboration, JoinRequest, RoomHandle, SessionEvent, Submission, WireKind};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Attack;
use crate::history::{History, LineId};
use crate::trace::Trace;

/// How long an attacker waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);

/// The attacker is cut off; so much for the attack.
pub(super) struct CutOff;

impl From<CrdtError> for CutOff {
    fn from(_: CrdtError) -> Self {
        Self
    }
}

/// An update with what it says.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) line: LineId,
    pub(super) span: CounterSpan,
    pub(super) bytes: Bytes,
}

/// A stay in a room.
pub(super) struct Session {
    room: RoomHandle,
    events: mpsc::Receiver<SessionEvent>,
    gone: CancellationToken,
    /// Batches without an answer.
    pub(super) open: BTreeMap<BatchId, Vec<Offer>>,
    answers: BTreeMap<BatchId, Answer>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Acked,
    Refused(ErrorCode),
    None,
}

impl Attack {
    fn document(&self) -> &DocumentId {
        &self.victim.document
    }

    /// Joins, and reads the document as it is.
    pub(super) async fn join(&self, node: usize) -> Result<(Session, CrdtDocument), CutOff> {
        self.join_as(node, self.principal()?).await
    }

    /// Joins through two nodes, as one person with one device.
    pub(super) async fn join_both(&self) -> Result<(Session, Session, CrdtDocument), CutOff> {
        let principal = self.principal()?;
        let other_node = (self.node + 1) % self.cluster.node_count();
        let (here, known) = self.join_as(self.node, principal.clone()).await?;
        let (there, _) = self.join_as(other_node, principal).await?;
        Ok((here, there, known))
    }

    pub(super) fn principal(&self) -> Result<Principal, CutOff> {
        let user = UserId::parse(&format!("usr_mallory_{}", self.random.next_u64()));
        let device = DeviceId::parse("dev_1").map_err(|_| CutOff)?;
        Ok(Principal {
            user: user.map_err(|_| CutOff)?,
            device,
        })
    }

    pub(super) async fn join_as(
        &self,
        node: usize,
        principal: Principal,
    ) -> Result<(Session, CrdtDocument), CutOff> {
        let life = self.cluster.life(node).ok_or(CutOff)?;
        let request = JoinRequest {
            document: self.document().clone(),
            session: self.ids.session(),
            principal,
            version: VersionVector::new(),
            kind: WireKind::Stock,
            peer: None,
        };
        let joining = tokio::time::timeout(PATIENCE, life.service.join(request)).await;
        let joined = joining.map_err(|_| CutOff)?.map_err(|_| CutOff)?;
        let mut session = Session {
            room: joined.room,
            events: joined.events,
            gone: life.gone,
            open: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        let document = CrdtDocument::new(PeerId(0))?;
        loop {
            match session.next().await.ok_or(CutOff)? {
                SessionEvent::Updates(frame) => {
                    document.import_batch(&frame.updates)?;
                }
                SessionEvent::CaughtUp => return Ok((session, document)),
                SessionEvent::Closed { .. } => return Err(CutOff),
                _ => {}
            }
        }
    }

    pub(super) async fn submit(
        &self,
        session: &mut Session,
        offers: &[Offer],
    ) -> Result<BatchId, CutOff> {
        let updates = offers.iter().map(|offer| offer.bytes.clone()).collect();
        for offer in offers {
            self.history.sent(offer.line, offer.span);
        }
        let batch = self.ids.batch();
        session.open.insert(batch, offers.to_vec());
        let submission = Submission {
            batch,
            updates,
            trace: None,
            received: Instant::now(),
        };
        session.room.submit(submission).await.map_err(|_| CutOff)?;
        Ok(batch)
    }

    /// Offers bytes that stand for nothing that anybody wrote.
    pub(super) async fn offer_bytes(
        &self,
        session: &mut Session,
        bytes: Bytes,
    ) -> Result<Answer, CutOff> {
        let batch = self.ids.batch();
        session.open.insert(batch, Vec::new());
        let submission = Submission {
            batch,
            updates: vec![bytes],
            trace: None,
            received: Instant::now(),
        };
        session.room.submit(submission).await.map_err(|_| CutOff)?;
        Ok(session.answer(&self.history, &self.trace, batch).await)
    }

    pub(super) async fn offer(
        &self,
        session: &mut Session,
        offers: &[Offer],
    ) -> Result<Answer, CutOff> {
        let batch = self.submit(session, offers).await?;
        Ok(session.answer(&self.history, &self.trace, batch).await)
    }
}

impl Session {
    async fn next(&mut self) -> Option<SessionEvent> {
        let next = async {
            tokio::select! {
                biased;
                () = self.gone.cancelled() => None,
                event = self.events.recv() => event,
            }
        };
        tokio::time::timeout(PATIENCE, next).await.ok().flatten()
    }

    /// Waits for the answer to a batch.
    pub(super) async fn answer(
        &mut self,
        history: &History,
        trace: &Trace,
        batch: BatchId,
    ) -> Answer {
        while self.open.contains_key(&batch) {
            match self.next().await {
                Some(SessionEvent::Ack { batch, .. }) => {
                    trace.note("mallory", format_args!("hears that {batch} is safe"));
                    for offer in self.open.remove(&batch).unwrap_or_default() {
                        history.acked(offer.line, offer.span);
                    }
                    self.answers.insert(batch, Answer::Acked);
                }
                Some(SessionEvent::Nack {
                    batch,
                    code,
                    message,
                }) => {
                    trace.note(
                        "mallory",
                        format_args!("hears that {batch} is refused: {code}, {message}"),
                    );
                    let offers = self.open.remove(&batch).unwrap_or_default();
                    if matches!(code.advice(), Advice::GiveUp | Advice::Fix) {
                        for offer in offers {
                            history.refused(offer.line, offer.span, code);
                        }
                    }
                    self.answers.insert(batch, Answer::Refused(code));
                }
                Some(SessionEvent::Closed { .. }) | None => {
                    self.open.clear();
                }
                Some(_) => {}
            }
        }
        self.answers.get(&batch).copied().unwrap_or(Answer::None)
    }
}
