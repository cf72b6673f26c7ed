use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clock::Random;
use collabedit_sdk::{Client, CounterSpan, Document, Options, Status, VersionVector};
use testkit::Replica;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::recorder::{Record, Recorder};
use crate::wire::Wire;
use crate::writer::Writer;

/// How long anything here may take before the run has failed.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Clients that write into one document, with what records and carries them.
pub(crate) struct Clients {
    all: Vec<Participant>,
    finish: watch::Sender<bool>,
    connections: JoinSet<()>,
    recorders: JoinSet<anyhow::Result<()>>,
    writers: JoinSet<anyhow::Result<()>>,
}

struct Participant {
    document: Document,
    recorder: Arc<Recorder>,
    wire: Wire,
}

/// What clients had sent and were not answered at some moment: whose it is, and the operations.
pub(crate) type InFlight = Vec<(usize, CounterSpan)>;

impl Clients {
    /// Clients with the numbers from `first` on, who have the document as the server at `url` has
    /// it, and begin to write.
    pub(crate) async fn join(
        url: &str,
        first: u32,
        count: u32,
        record: &Record,
        random: &Random,
    ) -> anyhow::Result<Self> {
        let mut clients = Self {
            all: Vec::new(),
            finish: watch::Sender::new(false),
            connections: JoinSet::new(),
            recorders: JoinSet::new(),
            writers: JoinSet::new(),
        };
        for client in first..first + count {
            clients.add(url, client, record)?;
        }
        for participant in &clients.all {
            timeout(WAIT_MAX, participant.document.wait_caught_up())
                .await
                .context("a client did not catch up in time")??;
        }
        for (client, participant) in (first..).zip(&clients.all) {
            let (document, recorder) = (participant.document.clone(), &participant.recorder);
            let writer = Writer::new(client, document, Arc::clone(recorder), random.fork());
            clients
                .writers
                .spawn(writer.run(clients.finish.subscribe()));
        }
        Ok(clients)
    }

    /// Adds a client, every other one on a gRPC stream instead of a socket.
    fn add(&mut self, url: &str, client: u32, record: &Record) -> anyhow::Result<()> {
        let wire = Wire::default();
        let url = match client % 2 {
            0 => url.to_owned(),
            _ => url.replacen("http://", "grpc://", 1),
        };
        let options = Options {
            connector: Arc::new(wire.clone()),
            ..Options::new(url)
        };
        let (connected, connection) = Client::with_connection(options)?;
        self.connections.spawn(connection);
        let document = connected.open(&record.document)?;
        let events = document.subscribe();
        let status = document.standing().borrow().status.clone();
        let recorder = Arc::new(Recorder::new(client, status, record.clone()));
        self.recorders.spawn(Arc::clone(&recorder).run(events));
        self.all.push(Participant {
            document,
            recorder,
            wire,
        });
        Ok(())
    }

    /// Waits for `something`, unless a writer or a recorder fails meanwhile.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        something: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        self.until_within(WAIT_MAX, what, something).await
    }

    /// The same for `something` that may take another time than most.
    pub(crate) async fn until_within<T>(
        &mut self,
        time_max: Duration,
        what: &str,
        something: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            Some(ended) = self.recorders.join_next() => ended?.and_then(|()| {
                bail!("a client's document was closed while others waited until {what}")
            }),
            Some(ended) = self.writers.join_next() => ended?.and_then(|()| {
                bail!("a client ended while others waited until {what}")
            }),
            done = timeout(time_max, something) => {
                done.with_context(|| format!("waited in vain until {what}"))
            }
        }
    }

    /// Waits until a client has committed something that is not answered, and so is sending it.
    pub(crate) async fn something_is_in_flight(&mut self) -> anyhow::Result<()> {
        let mut waits = JoinSet::new();
        for participant in &self.all {
            let mut standing = participant.recorder.standing();
            waits.spawn(async move {
                standing
                    .wait_for(|standing| !standing.live().is_empty())
                    .await
                    .map(drop)
            });
        }
        let first = async move { waits.join_next().await.context("there are no clients") };
        self.until("something is in flight", first).await????;
        Ok(())
    }

    /// What has been sent and is not answered.
    pub(crate) fn in_flight(&self) -> InFlight {
        let mut in_flight = Vec::new();
        for (number, participant) in self.all.iter().enumerate() {
            let last_write = participant.wire.last_write();
            let standing = participant.recorder.standing();
            let sent = standing
                .borrow()
                .live()
                .iter()
                .filter(|(_, committed_at)| Some(*committed_at) <= last_write)
                .map(|(span, _)| (number, *span))
                .collect::<Vec<_>>();
            in_flight.extend(sent);
        }
        in_flight
    }

    /// Waits until every client knows that the server is gone, and has read what came before.
    pub(crate) async fn notice_the_kill(&mut self) -> anyhow::Result<()> {
        let mut standings: Vec<_> = self
            .all
            .iter()
            .map(|participant| participant.recorder.standing())
            .collect();
        let noticed = async move {
            for standing in &mut standings {
                standing
                    .wait_for(|standing| standing.status == Some(Status::Offline))
                    .await?;
            }
            anyhow::Ok(())
        };
        self.until("everybody knew that the server is gone", noticed)
            .await?
    }

    /// Whether some of `in_flight` was not answered before the connection ended.
    pub(crate) fn was_never_answered(&self, in_flight: &InFlight) -> bool {
        in_flight.iter().any(|(number, span)| {
            let standing = self.all[*number].recorder.standing();
            let unanswered = &standing.borrow().unanswered;
            unanswered.iter().any(|(unanswered, _)| unanswered == span)
        })
    }

    /// All `parties` stop writing; waits until everything is acknowledged and everybody has everything.
    /// Says what each holds, and all leave.
    pub(crate) async fn finish(mut parties: Vec<Self>) -> anyhow::Result<Vec<Replica>> {
        let mut documents = Vec::new();
        for party in &mut parties {
            party.stop_writing().await?;
            documents.extend(party.all.iter().map(|one| one.document.clone()));
        }
        let replicas = timeout(WAIT_MAX, everybody_has(&documents))
            .await
            .context("not everybody had everything in time")??;
        drop(documents);
        for party in parties {
            party.leave().await?;
        }
        Ok(replicas)
    }

    async fn stop_writing(&mut self) -> anyhow::Result<()> {
        self.finish.send_replace(true);
        let written = async {
            while let Some(written) = self.writers.join_next().await {
                written??;
            }
            anyhow::Ok(())
        };
        timeout(WAIT_MAX, written)
            .await
            .context("the clients' last operations were not acknowledged in time")?
    }

    /// Drops all clients as they are, as when their tabs are closed, and waits until everything that
    /// they were told is written down.
    pub(crate) async fn leave(mut self) -> anyhow::Result<()> {
        self.writers.shutdown().await;
        self.all.clear();
        self.connections.shutdown().await;
        // A recorder ends when its document is gone and everything is written down.
        let recorded = async {
            while let Some(recorded) = self.recorders.join_next().await {
                recorded??;
            }
            anyhow::Ok(())
        };
        timeout(WAIT_MAX, recorded)
            .await
            .context("the clients' documents were not closed in time")?
    }
}

/// Waits until all of `documents`, which are replicas of one, know what any of them knows, and says
/// what each holds.
async fn everybody_has(documents: &[Document]) -> anyhow::Result<Vec<Replica>> {
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
        replicas.push(replica(format!("client {number}"), document)?);
    }
    Ok(replicas)
}

/// What `document` holds.
fn replica(name: String, document: &Document) -> anyhow::Result<Replica> {
    Ok(Replica {
        name,
        document: document.id().clone(),
        text: document.text()?,
        state_hash: document.state_hash()?.to_string(),
        version: document.version()?,
    })
}

/// What a client holds that comes to the server at `url` with nothing.
pub(crate) async fn fresh_replica(url: &str, record: &Record) -> anyhow::Result<Replica> {
    let fresh = Client::connect(Options::new(url))?.open(&record.document)?;
    timeout(WAIT_MAX, fresh.wait_caught_up())
        .await
        .context("a fresh client did not catch up in time")??;
    replica("a fresh client".to_owned(), &fresh)
}
