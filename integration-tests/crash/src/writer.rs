use std::sync::Arc;

use clock::Random;
use collabedit_sdk::Document;
use testkit::{TextPart, Token, parts};
use tokio::sync::watch;

use crate::recorder::Recorder;

/// Own operations that a writer has unacknowledged before it waits.
const WINDOW_OPERATIONS: u64 = 128;
/// One edit of so many deletes a token instead of writing some.
const EDITS_PER_DELETION: u64 = 8;
/// Tokens that one edit writes at most, side by side. Each edit reads the whole text, which takes
/// longest of all that happens here.
const TOKENS_PER_EDIT_MAX: u64 = 8;

/// A client that writes tokens at random places.
pub(crate) struct Writer {
    client: u32,
    document: Document,
    recorder: Arc<Recorder>,
    random: Random,
    number: u32,
}

impl Writer {
    /// A writer whose choices are drawn from `random`.
    pub(crate) fn new(
        client: u32,
        document: Document,
        recorder: Arc<Recorder>,
        random: Random,
    ) -> Self {
        Self {
            client,
            document,
            recorder,
            random,
            number: 0,
        }
    }

    /// Writes until `done`; then waits for the last ack.
    pub(crate) async fn run(mut self, done: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut standing = self.document.standing();
        while !*done.borrow() {
            standing
                .wait_for(|standing| standing.unacknowledged_operations < WINDOW_OPERATIONS)
                .await?;
            self.edit()?;
            tokio::task::yield_now().await;
        }
        Ok(self.document.wait_acknowledged().await?)
    }

    fn edit(&mut self) -> anyhow::Result<()> {
        let (random, recorder) = (&self.random, &self.recorder);
        let delete = random.below(EDITS_PER_DELETION) == 0;
        let count = 1 + u32::try_from(random.below(TOKENS_PER_EDIT_MAX))?;
        let client = self.client;
        let tokens = (self.number..self.number + count).map(|number| Token { client, number });
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
                    let mut inserted = String::new();
                    for token in tokens {
                        recorder.inserts(edit, token)?;
                        inserted.push_str(&token.to_string());
                    }
                    edit.insert(position, &inserted)?;
                    Ok(true)
                }
            }
        })?;
        if wrote {
            self.number += count;
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
