//! Keeps a connection to the server, and carries the replicas' messages over it.

mod over_socket;
mod over_stream;
mod visits;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clock::{IdSource, Random};
use document_types::limits::{CONNECT_TIME_MAX, RECONNECT_PAUSE_FIRST, RECONNECT_PAUSE_MAX};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::endpoint::{Carrier, Endpoint, Way};
use crate::options::Options;
use crate::registry::Registry;

/// A connection as long as there are documents.
pub(crate) struct Connection {
    endpoint: Endpoint,
    way: Way,
    credential: Option<String>,
    random: Random,
    ids: IdSource,
    registry: Arc<Registry>,
}

/// How a connection's life ended, as far as the next one is concerned.
#[derive(Default)]
struct Ended {
    /// The server was there: it said something.
    heard: bool,
    /// The server asked for the next connection within this time.
    within: Option<Duration>,
    /// The server does not want this client back, and why.
    refused: Option<String>,
}

impl Connection {
    pub(crate) fn new(endpoint: Endpoint, options: &Options, registry: Arc<Registry>) -> Self {
        let random = options.random.fork();
        Self {
            endpoint,
            way: Way {
                connector: Arc::clone(&options.connector),
                trust: options.trust.clone(),
            },
            credential: options.token.clone(),
            ids: IdSource::new(Arc::clone(&options.clock), random.clone()),
            random,
            registry,
        }
    }

    /// Runs until the last handle is dropped.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(
            self.random.clone(),
            RECONNECT_PAUSE_FIRST,
            RECONNECT_PAUSE_MAX,
        );
        while !self.registry.is_closed() {
            if !self.is_wanted() {
                self.registry.bell.notified().await;
                continue;
            }
            let credential = self.credential.as_deref();
            let connecting = self.endpoint.connect(&self.way, credential);
            let connecting = timeout(CONNECT_TIME_MAX, connecting);
            let ended = match self.offline_during(connecting).await {
                None => return,
                Some(Ok(Ok(Carrier::Socket(socket)))) => {
                    Some(over_socket::serve(&self, *socket).await)
                }
                Some(Ok(Ok(Carrier::Stream(stream, reading)))) => {
                    Some(over_stream::serve(&self, stream, reading).await)
                }
                Some(Ok(Err(error))) => {
                    tracing::debug!(%error, endpoint = ?self.endpoint, "no connection");
                    None
                }
                Some(Err(_)) => {
                    tracing::debug!(endpoint = ?self.endpoint, "connecting took too long");
                    None
                }
            };
            for (_, shared) in self.registry.all() {
                let mut replica = shared.replica();
                replica.disconnected();
                if let Some(reason) = ended.as_ref().and_then(|ended| ended.refused.as_ref()) {
                    replica.close_because(reason.clone());
                }
            }
            if ended.as_ref().is_some_and(|ended| ended.heard) {
                backoff.reset();
            }
            let pause = match ended.and_then(|ended| ended.within) {
                Some(within) => self.random.jitter(within),
                None => backoff.pause(),
            };
            if self.offline_during(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Whether a document takes part.
    fn is_wanted(&self) -> bool {
        self.registry
            .all()
            .iter()
            .any(|(_, shared)| !shared.replica().is_closed())
    }

    /// Waits for something while there is no connection; `None` if the last handle was dropped.
    /// Edits are committed meanwhile.
    async fn offline_during<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        loop {
            if self.registry.is_closed() {
                return None;
            }
            let deadline = self.tick_all(Instant::now());
            tokio::select! {
                biased;
                done = &mut wait => return Some(done),
                () = self.registry.bell.notified() => {}
                () = sleep_until_some(deadline) => {}
            }
        }
    }

    fn tick_all(&self, now: Instant) -> Option<Instant> {
        let replicas = self.registry.all();
        replicas
            .iter()
            .filter_map(|(_, shared)| {
                let mut replica = shared.replica();
                replica.tick(now);
                replica.deadline()
            })
            .min()
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
