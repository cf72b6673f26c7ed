use std::sync::Arc;

use anyhow::Context;
use clock::Random;
use collabedit_sdk::{Document, VersionVector};
use testkit::{Replica, TextPart, Token, parts};
use tokio::sync::watch;

use crate::Recorder;

/// Own operations that a writer has unacknowledged before it waits.
const WINDOW_OPERATIONS: u64 = 64;
/// One edit of so many deletes a token instead of writing one.
const EDITS_PER_DELETION: u64 = 8;

/// A client that writes tokens at random places.
pub struct Writer {
    client: u32,
    document: Document,
    recorder: Arc<Recorder>,
    random: Random,
    number: u32,
}

impl Writer {
    /// A writer whose choices are drawn from `random`.
    pub fn new(client: u32, document: Document, recorder: Arc<Recorder>, random: Random) -> Self {
        Self {
            client,
            document,
            recorder,
            random,
            number: 0,
        }
    }

    /// Writes at least `tokens` tokens, and goes on until `done`; then waits for the last ack.
    pub async fn run(mut self, tokens: u32, done: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut standing = self.document.standing();
        while self.number < tokens || !*done.borrow() {
            standing
                .wait_for(|standing| standing.unacknowledged_operations < WINDOW_OPERATIONS)
                .await?;
            self.edit()?;
            tokio::task::yield_now().await;
        }
        Ok(self.document.wait_acknowledged().await?)
    }

    fn edit(&mut self) -> anyhow::Result<()> {
        let delete = self.random.below(EDITS_PER_DELETION) == 0;
        let token = Token {
            client: self.client,
            number: self.number,
        };
        let (random, recorder) = (&self.random, &self.recorder);
        let wrote = self.document.edit(|edit| {
            let text = edit.text()?;
            let places = places(&text)?;
            let drawn = usize::try_from(random.below(places.len() as u64))?;
            match places[drawn] {
                (position, Some(old)) if delete => {
                    recorder.deletes(edit, old)?;
                    edit.delete(position, old.len())?;
                    anyhow::Ok(false)
                }
                (position, _) => {
                    recorder.inserts(edit, token)?;
                    edit.insert(position, &token.to_string())?;
                    Ok(true)
                }
            }
        })?;
        if wrote {
            self.number += 1;
        }
        Ok(())
    }
}

/// Where tokens begin in a text, and its end, in characters.
fn places(text: &str) -> anyhow::Result<Vec<(usize, Option<Token>)>> {
    let mut places = Vec::new();
    let mut position = 0;
    for part in parts(text) {
        let TextPart::Token(token) = part else {
            anyhow::bail!("{part:?} is in the text, and nobody wrote it");
        };
        places.push((position, Some(token)));
        position += token.len();
    }
    places.push((position, None));
    Ok(places)
}

/// Waits until all of `documents`, which are replicas of one, know what any of them knows, and says
/// what each holds.
///
/// # Errors
/// If one can't be read any more.
pub async fn everybody_has(documents: &[Document]) -> anyhow::Result<Vec<Replica>> {
    let mut everything = VersionVector::new();
    for document in documents {
        everything.merge(&document.version()?);
    }
    let mut replicas = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        let mut events = document.subscribe();
        while document.version()? != everything {
            events
                .recv()
                .await
                .context("a replica ended before it had everything")?;
        }
        replicas.push(Replica {
            name: format!("client {number}"),
            document: document.id().clone(),
            text: document.text()?,
            state_hash: document.state_hash()?.to_string(),
            version: document.version()?,
        });
    }
    Ok(replicas)
}
