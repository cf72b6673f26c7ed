//! One client that writes its part.

use std::future::Future;
use std::time::Duration;

use collabedit_sdk::{Client, ClosedError, Document, EditError, Mark, Options};
use document_types::DocumentId;
use document_types::limits::{REPLAY_SETTLE_TIME_MAX, REPLAY_WINDOW_OPERATIONS};
use indicatif::ProgressBar;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::ReplayError;
use crate::trace::Edit;

/// Edits that are made in one go when there is no rate to keep.
const BURST_EDITS: usize = 16;

/// A client with the document open.
pub(crate) struct Player {
    pub(crate) document: Document,
}

impl Player {
    /// A new client, with a connection and a device of its own.
    pub(crate) fn join(url: &str, document: &DocumentId) -> Result<Self, ReplayError> {
        let mut options = Options::new(url);
        options.name = "replay".to_owned();
        let client = Client::connect(options)?;
        // The document keeps its client.
        Ok(Self {
            document: client.open(document)?,
        })
    }

    /// Waits until the replica has what the server's log had when it joined.
    pub(crate) async fn wait_caught_up(&self) -> Result<(), ReplayError> {
        Ok(within("catching up", self.document.wait_caught_up()).await??)
    }

    /// Waits until `reached`, looking again whenever something happens in the document.
    pub(crate) async fn wait_until(
        &self,
        what: &'static str,
        reached: impl Fn(&Document) -> Result<bool, ReplayError>,
    ) -> Result<(), ReplayError> {
        let mut events = self.document.subscribe();
        let waiting = async {
            while !reached(&self.document)? {
                if let Err(RecvError::Closed) = events.recv().await {
                    let reason = "the replica is gone".to_owned();
                    return Err(ClosedError { reason }.into());
                }
            }
            Ok(())
        };
        within(what, waiting).await?
    }

    /// Writes `edits` into the text that begins at `start`, and waits for the last ack. At most
    /// `rate` edits a second are made, or with 0 as many as acks allow.
    pub(crate) async fn play(
        &self,
        edits: &[Edit],
        start: &Mark,
        rate: u32,
        progress: &ProgressBar,
    ) -> Result<(), ReplayError> {
        let began = Instant::now();
        let mut done = 0;
        while done < edits.len() {
            self.wait_for_window().await?;
            let due = match rate {
                0 => done + BURST_EDITS,
                rate => due_by(began.elapsed(), rate),
            };
            let burst = &edits[done..due.clamp(done, edits.len())];
            self.make(burst, start)?;
            done += burst.len();
            progress.inc(burst.len() as u64);
            match rate {
                0 => tokio::task::yield_now().await,
                rate => sleep_until(began + due_at(done, rate)).await,
            }
        }
        within("the last ack", self.document.wait_acknowledged()).await??;
        Ok(())
    }

    fn make(&self, edits: &[Edit], start: &Mark) -> Result<(), EditError> {
        self.document.edit(|text| {
            edits.iter().try_for_each(|edit| {
                let position = text.position(start) + edit.position;
                text.replace(position, edit.deleted, &edit.inserted)
            })
        })
    }

    async fn wait_for_window(&self) -> Result<(), ReplayError> {
        let mut standing = self.document.standing();
        let room = |standing: &collabedit_sdk::Standing| {
            standing.unacknowledged_operations < REPLAY_WINDOW_OPERATIONS
        };
        // The sender lives as long as the document.
        within("an ack", standing.wait_for(room))
            .await?
            .map(drop)
            .map_err(|_| {
                ClosedError {
                    reason: "the replica is gone".to_owned(),
                }
                .into()
            })
    }
}

/// Edits that are due after so long.
fn due_by(elapsed: Duration, rate: u32) -> usize {
    let due = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000 + 1;
    usize::try_from(due).unwrap_or(usize::MAX)
}

/// When edit number `number`, from 0, is due.
fn due_at(number: usize, rate: u32) -> Duration {
    Duration::from_secs(number as u64) / rate
}

pub(crate) async fn within<T>(
    what: &'static str,
    wait: impl Future<Output = T>,
) -> Result<T, ReplayError> {
    timeout(REPLAY_SETTLE_TIME_MAX, wait)
        .await
        .map_err(|_| ReplayError::TimedOut { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_in_the_long_run() {
        assert_eq!(due_by(Duration::ZERO, 10), 1);
        assert_eq!(due_by(Duration::from_millis(999), 10), 10);
        assert_eq!(due_by(Duration::from_secs(60), 10), 601);
        assert_eq!(due_at(600, 10), Duration::from_secs(60));
        assert!((0..100).all(|number| due_by(due_at(number, 7), 7) >= number));
    }
}
