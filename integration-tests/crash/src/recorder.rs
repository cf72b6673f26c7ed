use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use collabedit_sdk::{Committed, Digest, DocumentEvent, DocumentId, OpId, TextEdit};
use testkit::{HistoryEvent, HistoryLine, HistoryWriter, LogPlace, Span, Token};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

/// Writes down what one client asks for and is told.
pub struct Recorder {
    client: u32,
    document: DocumentId,
    began: Instant,
    history: Arc<HistoryWriter>,
    /// Edits that wait for their commit, by the first operation that it will make.
    waiting: Mutex<BTreeMap<OpId, Edits>>,
}

#[derive(Default)]
struct Edits {
    inserted: Vec<String>,
    deleted: Vec<String>,
}

impl Recorder {
    /// A recorder of `client`, whose times count from `began`.
    pub fn new(
        client: u32,
        document: DocumentId,
        began: Instant,
        history: Arc<HistoryWriter>,
    ) -> Self {
        Self {
            client,
            document,
            began,
            history,
            waiting: Mutex::default(),
        }
    }

    /// Notes that `edit` inserts `token`.
    pub fn inserts(&self, edit: &TextEdit<'_>, token: Token) -> anyhow::Result<()> {
        self.note(edit, |edits| edits.inserted.push(token.to_string()))
    }

    /// Notes that `edit` deletes `token`.
    pub fn deletes(&self, edit: &TextEdit<'_>, token: Token) -> anyhow::Result<()> {
        self.note(edit, |edits| edits.deleted.push(token.to_string()))
    }

    fn note(&self, edit: &TextEdit<'_>, add: impl FnOnce(&mut Edits)) -> anyhow::Result<()> {
        let operation = edit.next_operation()?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        add(waiting.entry(operation).or_default());
        Ok(())
    }

    /// Records until the document is closed.
    pub async fn run(self: Arc<Self>, mut events: Receiver<DocumentEvent>) -> anyhow::Result<()> {
        loop {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(RecvError::Closed) => return Ok(()),
                Err(RecvError::Lagged(count)) => bail!("{count} events were missed"),
            };
            if let Some(event) = self.translate(event)? {
                self.history.write(&HistoryLine {
                    at_ms: u64::try_from(self.began.elapsed().as_millis())?,
                    client: self.client,
                    document: self.document.clone(),
                    event,
                })?;
            }
        }
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
