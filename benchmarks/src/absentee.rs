use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use collabedit_sdk::{Client, Document, DocumentEvent, DocumentId, Options};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast::Receiver, watch};
use tokio::task::JoinHandle;

/// A replica whose way to the server can be cut, so that it misses what happens meanwhile.
pub struct Absentee {
    /// The replica.
    pub document: Arc<Document>,
    _client: Client,
    events: Receiver<DocumentEvent>,
    is_open: watch::Sender<bool>,
    link: JoinHandle<()>,
}

/// How an absentee came back.
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// From the moment at which the way was open again, the pause before the client tried it included.
    pub took: Duration,
    /// The time from its first import to its last.
    pub imported_within: Duration,
    /// Its longest import.
    pub import_max: Duration,
}

impl Absentee {
    /// Connects a full replica of `document` by a way of its own.
    ///
    /// # Errors
    /// If the server is no address on this machine, or the replica can't catch up.
    pub async fn connect(url: &str, document: &DocumentId) -> anyhow::Result<Self> {
        let (_, server) = url
            .split_once("://")
            .context("a server's URL has a scheme")?;
        let server: SocketAddr = server.trim_end_matches('/').parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = Client::connect(Options::new(format!("ws://{}", listener.local_addr()?)))?;
        let (is_open, open) = watch::channel(true);
        let link = tokio::spawn(forward(listener, server, open));
        let document = Arc::new(client.open(document)?);
        document.wait_caught_up().await?;
        Ok(Self {
            events: document.subscribe(),
            document,
            _client: client,
            is_open,
            link,
        })
    }

    /// Cuts the way.
    pub fn leave(&self) {
        self.is_open.send_replace(false);
    }

    /// Opens the way again and waits until the replica has caught up, with `length` characters or more.
    ///
    /// # Errors
    /// If the replica is closed.
    pub async fn come_back(&mut self, length: usize) -> anyhow::Result<Return> {
        self.events = self.document.subscribe();
        self.is_open.send_replace(true);
        let began = Instant::now();
        let (mut first, mut import_max) = (None, Duration::ZERO);
        loop {
            match self.events.recv().await? {
                DocumentEvent::Imported { took, .. } => {
                    first.get_or_insert_with(|| Instant::now() - took);
                    import_max = import_max.max(took);
                }
                DocumentEvent::CaughtUp if self.document.len() >= length => break,
                _ => {}
            }
        }
        Ok(Return {
            took: began.elapsed(),
            imported_within: first.map(|first| first.elapsed()).unwrap_or_default(),
            import_max,
        })
    }
}

impl Drop for Absentee {
    fn drop(&mut self) {
        self.link.abort();
    }
}

/// Passes connections on while the way is open, and ends them when it is not.
async fn forward(listener: TcpListener, server: SocketAddr, open: watch::Receiver<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut open = open.clone();
        tokio::spawn(async move {
            if !*open.borrow() {
                return;
            }
            let Ok(mut onward) = TcpStream::connect(server).await else {
                return;
            };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut onward) => {}
                _ = open.wait_for(|open| !open) => {}
            }
        });
    }
}
