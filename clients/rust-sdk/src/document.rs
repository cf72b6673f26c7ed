use std::sync::Arc;

use document_types::{Digest, DocumentId, OpId, PeerId, VersionVector};
use loro::LoroDoc;
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

use crate::client::Handle;
use crate::error::{ClosedError, EditError, ReadError};
use crate::event::{DocumentEvent, Standing, Status};
use crate::registry::Shared;
use crate::replica::Replica;

/// An open document. Clones are the same document; it is left when the last is dropped, so wait for
/// [`Document::wait_acknowledged`] first.
///
/// Its text is the root text `content`. Positions and lengths count Unicode characters.
#[derive(Clone)]
pub struct Document {
    inner: Arc<Inner>,
}

struct Inner {
    id: DocumentId,
    shared: Arc<Shared>,
    handle: Arc<Handle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handle.registry.remove(&self.id);
    }
}

impl Document {
    pub(crate) fn new(id: DocumentId, shared: Arc<Shared>, handle: Arc<Handle>) -> Self {
        Self {
            inner: Arc::new(Inner { id, shared, handle }),
        }
    }

    /// The document's id.
    pub fn id(&self) -> &DocumentId {
        &self.inner.id
    }

    // --- Editing ---

    /// Inserts `text` before the `position`-th character.
    ///
    /// # Errors
    /// [`EditError`]; the document is as before.
    pub fn insert(&self, position: usize, text: &str) -> Result<(), EditError> {
        self.edit(|edit| edit.insert(position, text))
    }

    /// Deletes `len` characters from the `position`-th on.
    ///
    /// # Errors
    /// [`EditError`]; the document is as before.
    pub fn delete(&self, position: usize, len: usize) -> Result<(), EditError> {
        self.edit(|edit| edit.delete(position, len))
    }

    /// Looks at the text and edits it, with nothing of others coming in between.
    ///
    /// The edits are in [`Document::text`] at once. They become operations at the next commit: right
    /// away while few people type, and on the room's beat while many do, since that is what keeps
    /// everybody's imports cheap.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut TextEdit<'_>) -> T) -> T {
        let done = edit(&mut TextEdit {
            replica: &mut self.inner.shared.replica(),
            now: Instant::now(),
        });
        self.inner.shared.replica().publish();
        self.ring();
        done
    }

    /// Runs `transaction` on the engine's document at the next commit, and waits for it. It is for
    /// whatever is not plain text: styles, maps, lists, trees. Don't commit, import or check out in
    /// it.
    ///
    /// # Errors
    /// [`EditError`] if it was not run; [`EditError::Closed`] also if the document was closed before
    /// it could be.
    pub async fn transact<T: Send + 'static>(
        &self,
        transaction: impl FnOnce(&LoroDoc) -> T + Send + 'static,
    ) -> Result<T, EditError> {
        let (done, wait) = oneshot::channel();
        let run = Box::new(move |doc: &LoroDoc| {
            // The caller may no longer be waiting.
            let _ = done.send(transaction(doc));
        });
        self.inner.shared.replica().transact(run, Instant::now())?;
        self.ring();
        wait.await.map_err(|_| EditError::Closed)
    }

    /// Commits what waits, without waiting for the room's beat; of a long text as much as one import
    /// may take.
    pub fn commit(&self) {
        self.inner.shared.replica().commit(Instant::now());
        self.ring();
    }

    // --- Reading ---

    /// The text, with edits that wait for their commit.
    ///
    /// # Errors
    /// [`ReadError`] while the replica is being loaded again.
    pub fn text(&self) -> Result<String, ReadError> {
        self.inner.shared.replica().text()
    }

    /// Characters of the text.
    pub fn len(&self) -> usize {
        self.inner.shared.replica().len()
    }

    /// Whether the text has no character.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the engine's document, which does not have edits that wait for their commit. Don't
    /// change it here: [`Document::transact`] is for that.
    ///
    /// # Errors
    /// [`ReadError`] while the replica is being loaded again.
    pub fn with_doc<T>(&self, read: impl FnOnce(&LoroDoc) -> T) -> Result<T, ReadError> {
        let replica = self.inner.shared.replica();
        Ok(read(replica.readable()?.crdt().engine()))
    }

    /// What the replica knows.
    ///
    /// # Errors
    /// [`ReadError`] while the replica is being loaded again.
    pub fn version(&self) -> Result<VersionVector, ReadError> {
        self.inner.shared.replica().version()
    }

    /// A digest of everything in the replica, equal in all replicas that have the same operations.
    ///
    /// # Errors
    /// [`ReadError`] while the replica is being loaded again.
    pub fn state_hash(&self) -> Result<Digest, ReadError> {
        Ok(self
            .inner
            .shared
            .replica()
            .readable()?
            .crdt()
            .state_hash()?)
    }

    /// The peer id that the replica writes under. It changes when operations were refused for good.
    pub fn peer(&self) -> PeerId {
        self.inner.shared.replica().peer()
    }

    /// How the document stands with the server, to look at and to wait on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.inner.shared.replica().standing()
    }

    /// Own operations that are not known to be durable, with edits that wait for their commit.
    pub fn unacknowledged_operations(&self) -> u64 {
        self.standing().borrow().unacknowledged_operations
    }

    /// What happens from here on. A subscriber that falls behind by
    /// [`document_types::limits::CLIENT_EVENTS_WAITING_MAX`] events misses the oldest, and is told
    /// how many.
    pub fn subscribe(&self) -> broadcast::Receiver<DocumentEvent> {
        self.inner.shared.replica().events()
    }

    /// Waits until the replica has everything that the server's log had when it joined.
    ///
    /// # Errors
    /// [`ClosedError`] if the document was closed meanwhile.
    pub async fn wait_caught_up(&self) -> Result<(), ClosedError> {
        self.wait(|standing| standing.status == Status::Live).await
    }

    /// Waits until all own edits are durable in the region's log.
    ///
    /// # Errors
    /// [`ClosedError`] if the document was closed meanwhile.
    pub async fn wait_acknowledged(&self) -> Result<(), ClosedError> {
        self.wait(|standing| standing.unacknowledged_operations == 0)
            .await
    }

    async fn wait(&self, reached: impl Fn(&Standing) -> bool) -> Result<(), ClosedError> {
        let mut standing = self.standing();
        let seen = standing
            .wait_for(|standing| {
                reached(standing) || matches!(standing.status, Status::Closed { .. })
            })
            .await;
        match seen.as_deref() {
            Ok(standing) if reached(standing) => Ok(()),
            Ok(Standing {
                status: Status::Closed { reason },
                ..
            }) => Err(ClosedError {
                reason: reason.clone(),
            }),
            _ => Err(ClosedError {
                reason: "the replica is gone".to_owned(),
            }),
        }
    }

    // --- Marks ---

    /// Keeps a position of the text up to date from here on, as a caret or the end of a selection
    /// needs it. What is inserted right there comes after it.
    ///
    /// # Errors
    /// [`EditError::OutOfRange`], or [`EditError::TooManyMarks`].
    pub fn mark(&self, position: usize) -> Result<Mark, EditError> {
        let id = self.inner.shared.replica().add_mark(position)?;
        Ok(Mark {
            id,
            shared: Arc::clone(&self.inner.shared),
        })
    }

    fn ring(&self) {
        self.inner.handle.registry.bell.notify_one();
    }
}

/// A text while it is edited; see [`Document::edit`].
pub struct TextEdit<'a> {
    replica: &'a mut Replica,
    now: Instant,
}

impl TextEdit<'_> {
    /// Inserts `text` before the `position`-th character.
    ///
    /// # Errors
    /// [`EditError`]; the document is as before.
    pub fn insert(&mut self, position: usize, text: &str) -> Result<(), EditError> {
        self.replace(position, 0, text)
    }

    /// Deletes `len` characters from the `position`-th on.
    ///
    /// # Errors
    /// [`EditError`]; the document is as before.
    pub fn delete(&mut self, position: usize, len: usize) -> Result<(), EditError> {
        self.replace(position, len, "")
    }

    /// Replaces `len` characters from the `position`-th on by `text`.
    ///
    /// # Errors
    /// [`EditError`]; the document is as before.
    pub fn replace(&mut self, position: usize, len: usize, text: &str) -> Result<(), EditError> {
        self.replica.splice(position, len, text, self.now)
    }

    /// The text.
    ///
    /// # Errors
    /// [`ReadError`] while the replica is being loaded again.
    pub fn text(&self) -> Result<String, ReadError> {
        self.replica.text()
    }

    /// Characters of the text.
    pub fn len(&self) -> usize {
        self.replica.len()
    }

    /// Whether the text has no character.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The operation that the next commit will begin with: what is edited now will be in it.
    ///
    /// # Errors
    /// [`ReadError`] while the replica is being loaded again.
    pub fn next_operation(&self) -> Result<OpId, ReadError> {
        let peer = self.replica.peer();
        Ok(OpId {
            peer,
            counter: self.replica.version()?.end(peer),
        })
    }

    /// Where `mark` stands now; 0 for a mark of another document.
    pub fn position(&self, mark: &Mark) -> usize {
        self.replica.mark(mark.id).unwrap_or(0)
    }
}

/// A position that moves with the text; see [`Document::mark`].
pub struct Mark {
    id: u64,
    shared: Arc<Shared>,
}

impl Mark {
    /// Where it stands now.
    pub fn position(&self) -> usize {
        self.shared.replica().mark(self.id).unwrap_or(0)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.shared.replica().remove_mark(self.id);
    }
}
