use std::future::Future;
use std::sync::Arc;

use clock::IdSource;
use document_types::DocumentId;

use crate::connection::Connection;
use crate::document::Document;
use crate::endpoint::Endpoint;
use crate::error::{ConnectError, OpenError};
use crate::options::Options;
use crate::registry::Registry;
use crate::replica::{Introduction, Replica};

/// A connection to a server, which carries any number of documents and comes back by itself when it
/// is lost. Clones are the same client; it ends when the last of them and of its documents is
/// dropped.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    options: Options,
}

/// Ends the connection's task when the last clone is dropped.
pub(crate) struct Handle {
    pub(crate) registry: Arc<Registry>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.registry.close();
    }
}

impl Client {
    /// A client whose connection runs in a task of its own on the current tokio runtime. It returns
    /// at once: a server that can't be reached is tried again until it can, with pauses of 2, 4, 8 …
    /// 30 seconds at most, each with full jitter.
    ///
    /// # Errors
    /// [`ConnectError::Url`] if the URL is not of the kind `http://host:port` or `grpc://host:port`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(options: Options) -> Result<Self, ConnectError> {
        let (client, connection) = Self::with_connection(options)?;
        #[allow(clippy::disallowed_methods)] // The convenience; `with_connection` spawns nothing.
        drop(tokio::spawn(connection));
        Ok(client)
    }

    /// As [`Client::connect`], with the connection handed out as a future, which the caller runs. It
    /// ends when the client and its documents are dropped.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn with_connection(
        options: Options,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), ConnectError> {
        let endpoint = Endpoint::parse(&options.url)?;
        let registry = Arc::new(Registry::default());
        let connection = Connection::new(endpoint, &options, Arc::clone(&registry));
        let handle = Arc::new(Handle { registry });
        Ok((Self { handle, options }, connection.run()))
    }

    /// Opens a document with an empty replica, which the server's operations fill as they arrive:
    /// [`Document::wait_caught_up`] waits for them. It can be edited at once.
    ///
    /// # Errors
    /// [`OpenError`] if this client has the document open already, or too many.
    pub fn open(&self, document: &DocumentId) -> Result<Document, OpenError> {
        let introduction = Introduction {
            device: self.options.device.clone(),
            name: self.options.name.clone(),
            token: self.options.token.clone(),
        };
        let random = self.options.random.fork();
        let ids = IdSource::new(Arc::clone(&self.options.clock), random.clone());
        let replica = Replica::new(introduction, ids, random)?;
        let shared = self.handle.registry.add(document, replica)?;
        Ok(Document::new(
            document.clone(),
            shared,
            Arc::clone(&self.handle),
        ))
    }

    /// Opens a document that does not exist yet, under an id that nobody can guess.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn create(&self) -> Result<Document, OpenError> {
        let ids = IdSource::new(Arc::clone(&self.options.clock), self.options.random.clone());
        self.open(&ids.document())
    }
}
