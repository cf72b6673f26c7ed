use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use collabedit_sdk::{
    Acknowledged, Committed, CounterSpan, Digest, DocumentEvent, DocumentId, OpId, Status, TextEdit,
};
use testkit::{HistoryEvent, HistoryLine, HistoryWriter, LogPlace, Span, Token};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::latencies::Answers;

/// What the recorders of a run share.
#[derive(Clone)]
pub(crate) struct Record {
    /// The document that the run is about.
    pub(crate) document: DocumentId,
    /// From when on times count.
    pub(crate) began: Instant,
    /// Where lines are written to.
    pub(crate) history: Arc<HistoryWriter>,
    /// What clients were told is durable.
    pub(crate) acknowledged: watch::Sender<Acknowledgements>,
    /// When that was.
    pub(crate) answers: Answers,
}

/// The acknowledgements of a run, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acknowledgements {
    /// Operations that were acknowledged.
    pub(crate) operations: u64,
    /// How long after its commit the last batch was acknowledged.
    pub(crate) last_latency: Duration,
}

/// Writes down what one client asks for and is told.
pub(crate) struct Recorder {
    client: u32,
    record: Record,
    /// Edits that wait for their commit, by the first operation that it will make.
    waiting: Mutex<BTreeMap<OpId, Edits>>,
    standing: watch::Sender<Connected>,
}

#[derive(Default)]
struct Edits {
    inserted: Vec<String>,
    deleted: Vec<String>,
}

/// What the client sent over one connection, as far as its events have been recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connected {
    /// What it thinks of the connection.
    pub(crate) status: Option<Status>,
    /// What was committed in the live document and not acknowledged, with the time of the commit.
    /// Once the connection is gone this is what it ended without an answer for.
    pub(crate) unanswered: Vec<(CounterSpan, Instant)>,
}

impl Connected {
    /// What is unanswered over a connection that the client still has.
    pub(crate) fn live(&self) -> &[(CounterSpan, Instant)] {
        if self.status == Some(Status::Live) {
            &self.unanswered
        } else {
            &[]
        }
    }
}

impl Recorder {
    /// A recorder of `client`, which stands at `status`.
    pub(crate) fn new(client: u32, status: Status, record: Record) -> Self {
        let connected = Connected {
            status: Some(status),
            unanswered: Vec::new(),
        };
        Self {
            client,
            record,
            waiting: Mutex::default(),
            standing: watch::Sender::new(connected),
        }
    }

    /// How the client stood when its last recorded event happened.
    pub(crate) fn standing(&self) -> watch::Receiver<Connected> {
        self.standing.subscribe()
    }

    /// Notes that `edit` inserts `token`.
    pub(crate) fn inserts(&self, edit: &TextEdit<'_>, token: Token) -> anyhow::Result<()> {
        self.note(edit, |edits| edits.inserted.push(token.to_string()))
    }

    /// Notes that `edit` deletes `token`.
    pub(crate) fn deletes(&self, edit: &TextEdit<'_>, token: Token) -> anyhow::Result<()> {
        self.note(edit, |edits| edits.deleted.push(token.to_string()))
    }

    fn note(&self, edit: &TextEdit<'_>, add: impl FnOnce(&mut Edits)) -> anyhow::Result<()> {
        let operation = edit.next_operation()?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        add(waiting.entry(operation).or_default());
        Ok(())
    }

    /// Records until the document is closed.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut events: Receiver<DocumentEvent>,
    ) -> anyhow::Result<()> {
        loop {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(RecvError::Closed) => return Ok(()),
                Err(RecvError::Lagged(count)) => bail!("{count} events were missed"),
            };
            self.follow(&event);
            let acknowledged = match &event {
                DocumentEvent::Acknowledged(acknowledged) => Some(acknowledged.clone()),
                _ => None,
            };
            if let Some(event) = self.translate(event)? {
                self.record.history.write(&HistoryLine {
                    at_ms: u64::try_from(self.record.began.elapsed().as_millis())?,
                    client: self.client,
                    document: self.record.document.clone(),
                    event,
                })?;
            }
            if let Some(acknowledged) = acknowledged {
                self.count(&acknowledged);
            }
        }
    }

    fn count(&self, acknowledged: &Acknowledged) {
        let lengths = acknowledged.spans.iter().map(|span| u64::from(span.len()));
        let operations: u64 = lengths.sum();
        self.record.acknowledged.send_modify(|total| {
            total.operations += operations;
            total.last_latency = acknowledged.latency;
        });
        let answers = &self.record.answers;
        answers.note(Instant::now(), acknowledged.latency);
    }

    fn follow(&self, event: &DocumentEvent) {
        self.standing.send_if_modified(|standing| match event {
            DocumentEvent::Status(status) => {
                // What was sent over the connection before is another connection's matter now.
                if standing.status == Some(Status::Offline) {
                    standing.unanswered.clear();
                }
                standing.status = Some(status.clone());
                true
            }
            // What is committed in another state goes out later than it is committed.
            DocumentEvent::Committed(committed) if standing.status == Some(Status::Live) => {
                let sent = (committed.span, committed.committed_at);
                standing.unanswered.push(sent);
                true
            }
            DocumentEvent::Acknowledged(acknowledged) => {
                standing.unanswered.retain(|(span, _)| {
                    let is_answered =
                        |acked: &CounterSpan| acked.peer == span.peer && span.end <= acked.end;
                    !acknowledged.spans.iter().any(is_answered)
                });
                true
            }
            _ => false,
        });
    }

    fn translate(&self, event: DocumentEvent) -> anyhow::Result<Option<HistoryEvent>> {
        Ok(match event {
            DocumentEvent::Committed(committed) => Some(self.invoked(&committed)?),
            DocumentEvent::Acknowledged(acknowledged) => Some(HistoryEvent::Ack {
                spans: acknowledged.spans.into_iter().map(Span::from).collect(),
                place: acknowledged.stamps.map(|stamps| {
                    LogPlace::new(stamps.node, stamps.offset, stamps.first, stamps.last)
                }),
            }),
            DocumentEvent::Recovered(copy) => {
                bail!(
                    "nothing here is to be refused, and this was, with {}",
                    copy.code
                )
            }
            DocumentEvent::Reloading => bail!("the engine failed on an import"),
            _ => None,
        })
    }

    fn invoked(&self, committed: &Committed) -> anyhow::Result<HistoryEvent> {
        let first = OpId {
            peer: committed.span.peer,
            counter: committed.span.start,
        };
        let edits = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&first)
            .context("operations were committed that nobody asked for")?;
        Ok(HistoryEvent::Invoke {
            span: committed.span.into(),
            digest: Digest::of(&committed.updates.concat()).to_string(),
            inserted: edits.inserted,
            deleted: edits.deleted,
        })
    }
}
