use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use clock::Random;
use collabedit_sdk::{Document, DocumentEvent};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::mutant::place;

/// The shortest pause between two edits,
const PAUSE_MIN: Duration = Duration::from_millis(60);
/// and what is added to it at most.
const PAUSE_JITTER: Duration = Duration::from_millis(120);
/// One edit of so many deletes something.
const EDITS_PER_DELETION: u64 = 6;
/// Characters that one edit deletes at most.
const DELETED_MAX: usize = 3;

/// Somebody honest, who types at random places.
pub struct Typist {
    /// What is typed into.
    pub document: Document,
    /// What is typed, first character by first character.
    pub name: u32,
    /// What all choices are drawn from.
    pub random: Random,
}

impl Typist {
    /// Types until `done`, waits for the last ack, and says what was typed in all.
    ///
    /// # Errors
    /// If the document can't be edited any more.
    pub async fn run(self, done: watch::Receiver<bool>) -> anyhow::Result<String> {
        let mut typed = String::new();
        let mut number = 0_u64;
        while !*done.borrow() {
            sleep(PAUSE_MIN + self.random.jitter(PAUSE_JITTER)).await;
            let delete = self.random.below(EDITS_PER_DELETION) == 0;
            // Nothing is deleted before it was sent, so that all that was typed is in the log.
            if delete && self.document.unacknowledged_operations() == 0 {
                self.document.edit(|edit| {
                    let len = edit.len().min(1 + place(&self.random, DELETED_MAX));
                    edit.delete(place(&self.random, edit.len() - len + 1), len)
                })?;
                continue;
            }
            let word = format!("<{}.{number}>", self.name);
            number += 1;
            self.document
                .edit(|edit| edit.insert(place(&self.random, edit.len() + 1), &word))?;
            typed.push_str(&word);
        }
        self.document.wait_acknowledged().await?;
        Ok(typed)
    }
}

/// How long each edit waited for its acknowledgement, from the key to the event. Clones measure
/// together.
#[derive(Clone, Debug, Default)]
pub struct Delays(Arc<Mutex<Vec<Duration>>>);

impl Delays {
    /// Measures one document's edits until it is closed.
    ///
    /// # Errors
    /// If anything happens to the replica that happens to no honest person's.
    pub async fn watch(self, mut events: Receiver<DocumentEvent>) -> anyhow::Result<()> {
        // The ends of what was committed, each with the time of its first edit.
        let mut waiting: VecDeque<(u32, Instant)> = VecDeque::new();
        loop {
            match events.recv().await {
                Ok(DocumentEvent::Committed(committed)) => {
                    waiting.push_back((committed.span.end, committed.edited_at));
                }
                Ok(DocumentEvent::Acknowledged(acknowledged)) => {
                    let end = acknowledged.spans.iter().map(|span| span.end).max();
                    while let Some((_, edited_at)) =
                        waiting.pop_front_if(|(committed, _)| Some(*committed) <= end)
                    {
                        self.note(edited_at.elapsed());
                    }
                }
                Ok(DocumentEvent::Recovered(copy)) => {
                    bail!(
                        "an honest edit was refused with {}: {}",
                        copy.code,
                        copy.message
                    )
                }
                Ok(DocumentEvent::Refused { code, message, .. }) => {
                    bail!("an honest batch was refused with {code}: {message}")
                }
                Ok(DocumentEvent::Reloading) => bail!("an honest replica's engine failed"),
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => bail!("{count} events were missed"),
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    fn note(&self, delay: Duration) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(delay);
    }

    /// The delay that `percent` of all edits did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut delays = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        delays.sort_unstable();
        let at = (delays.len() * percent / 100).min(delays.len().saturating_sub(1));
        delays.get(at).copied().unwrap_or_default()
    }

    /// What was measured, in one line.
    pub fn report(&self) -> String {
        let count = self.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        format!(
            "{count} honest edits acknowledged: p50 {:?}, p99 {:?}, longest {:?}",
            self.percentile(50),
            self.percentile(99),
            self.percentile(100)
        )
    }
}
