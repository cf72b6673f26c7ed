use std::sync::Arc;
use std::time::{Duration, Instant};

use collabedit_sdk::{Client, Document, DocumentEvent, DocumentId, Options};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What one replica saw, at the time at which it saw it.
#[derive(Debug)]
pub enum Sample {
    /// Its own edit became operations up to `end` of its peer.
    Committed {
        /// The replica's peer.
        peer: u64,
        /// The end of its operations.
        end: u32,
        /// When the edit was made.
        edited_at: Instant,
    },
    /// Its own edits were acknowledged.
    Acknowledged {
        /// How long it took from the commit.
        latency: Duration,
    },
    /// Operations of another peer up to `end` are in its text.
    Seen {
        /// Which replica.
        replica: usize,
        /// Whose operations.
        peer: u64,
        /// Their end.
        end: u32,
        /// When.
        at: Instant,
    },
    /// It imported others' updates.
    Imported {
        /// How long the import took.
        took: Duration,
        /// How many operations came with it.
        operations: u32,
    },
}

/// A replica and the task that tells what it sees.
pub struct Reported {
    /// The connection; it ends with this.
    pub client: Client,
    /// The replica.
    pub document: Arc<Document>,
    reporter: JoinHandle<()>,
}

impl Drop for Reported {
    fn drop(&mut self) {
        self.reporter.abort();
    }
}

/// Connects `count` clients, each a full replica of `document` on a connection of its own, to the servers
/// in turn, and sends what they see to `samples`.
///
/// # Errors
/// If one of them can't connect or catch up.
pub async fn connect_all(
    urls: &[String],
    document: &DocumentId,
    count: usize,
    samples: &mpsc::Sender<Sample>,
) -> anyhow::Result<Vec<Reported>> {
    let mut replicas = Vec::new();
    for (replica, url) in (0..count).zip(urls.iter().cycle()) {
        let client = Client::connect(Options::new(url))?;
        let opened = Arc::new(client.open(document)?);
        opened.wait_caught_up().await?;
        let reporter = tokio::spawn(report(replica, opened.clone(), samples.clone()));
        replicas.push(Reported {
            client,
            document: opened,
            reporter,
        });
    }
    Ok(replicas)
}

async fn report(replica: usize, document: Arc<Document>, samples: mpsc::Sender<Sample>) {
    let mut events = document.subscribe();
    while let Ok(event) = events.recv().await {
        let at = Instant::now();
        let reported = match event {
            DocumentEvent::Committed(committed) => vec![Sample::Committed {
                peer: committed.span.peer.0,
                end: committed.span.end,
                edited_at: committed.edited_at.into_std(),
            }],
            DocumentEvent::Acknowledged(acknowledged) => {
                vec![Sample::Acknowledged {
                    latency: acknowledged.latency,
                }]
            }
            DocumentEvent::Imported { spans, took, .. } => {
                let operations = spans.iter().map(|span| span.len()).sum();
                let seen = spans.iter().map(|span| Sample::Seen {
                    replica,
                    peer: span.peer.0,
                    end: span.end,
                    at,
                });
                std::iter::once(Sample::Imported { took, operations })
                    .chain(seen)
                    .collect()
            }
            _ => continue,
        };
        for sample in reported {
            if samples.send(sample).await.is_err() {
                return;
            }
        }
    }
}
