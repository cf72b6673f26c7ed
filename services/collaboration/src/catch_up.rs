//! Brings a session from its version to where the room's recent updates begin, from the store, and
//! without the document in memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use document_store::{CatchUpContent, CatchUpLimits, DocumentStore, StoreError};
use document_types::limits::{INSERTED_TEXT_PER_IMPORT_BYTES_MAX, UPDATES_PER_FRAME_MAX};
use document_types::record::{Payload, StampedUpdate};
use document_types::{DocumentId, ErrorCode, SessionId, VersionVector};
use service_api::{SessionEvent, UpdateFrame};
use tokio::sync::mpsc;

use crate::gate::chain;
use crate::room::Notice;

/// The session is gone.
struct Gone;

/// Sends `events` what `version` lacks, waiting whenever the session is slow, and then tells the room
/// what the session knows. If the session is gone, so is the task.
pub(crate) async fn run(
    store: DocumentStore,
    document: DocumentId,
    (session, stay): (SessionId, u64),
    version: VersionVector,
    events: mpsc::Sender<SessionEvent>,
    room: mpsc::Sender<Notice>,
) {
    let mut catch_up = CatchUp {
        known: version,
        events,
        snapshot: BytesMut::new(),
    };
    let notice = match catch_up.send_all(&store, &document).await {
        Ok(Ok(())) => Notice::CaughtUp {
            session,
            stay,
            version: catch_up.known,
        },
        Ok(Err(Gone)) => return,
        Err(error) => {
            tracing::error!(
                %document,
                error = &error as &dyn std::error::Error,
                "a session can't be caught up"
            );
            Notice::CatchUpFailed {
                session,
                stay,
                code: ErrorCode::Unavailable,
                message: chain(&error),
            }
        }
    };
    // A room that is gone has told the session so.
    let _ = room.send(notice).await;
}

struct CatchUp {
    /// What the client knows, with what it was sent.
    known: VersionVector,
    events: mpsc::Sender<SessionEvent>,
    /// The pieces of the snapshot that is being read.
    snapshot: BytesMut,
}

impl CatchUp {
    async fn send_all(
        &mut self,
        store: &DocumentStore,
        document: &DocumentId,
    ) -> Result<Result<(), Gone>, StoreError> {
        let mut cursor = None;
        // What the store knows when all of it has been sent. It is read first: what is merged
        // meanwhile may or may not be among what is sent.
        let stored = store.version_vector(document).await?;
        loop {
            let limits = CatchUpLimits::default();
            let step = store
                .catch_up(document, &self.known, cursor, limits)
                .await?;
            let sent = match step.content {
                CatchUpContent::Snapshot(piece) => {
                    if piece.offset_bytes == 0 {
                        self.snapshot.clear();
                    }
                    self.snapshot.extend_from_slice(&piece.bytes);
                    if self.snapshot.len() as u64 == piece.total_bytes {
                        let snapshot = self.snapshot.split().freeze();
                        self.send(vec![snapshot]).await
                    } else {
                        Ok(())
                    }
                }
                CatchUpContent::Updates(updates) => self.send_updates(&updates).await,
            };
            if sent.is_err() {
                return Ok(Err(Gone));
            }
            if step.complete.is_some() {
                self.known.merge(&stored);
                return Ok(Ok(()));
            }
            cursor = Some(step.cursor);
        }
    }

    /// Sends updates in frames of what one import may take.
    async fn send_updates(&mut self, updates: &[StampedUpdate]) -> Result<(), Gone> {
        let mut frame = Vec::new();
        let mut text_bytes = 0;
        for update in updates {
            let Payload::Inline(bytes) = &update.payload else {
                continue;
            };
            let inserted = update.inserted_text_bytes as usize;
            let full = text_bytes + inserted > INSERTED_TEXT_PER_IMPORT_BYTES_MAX
                || frame.len() >= UPDATES_PER_FRAME_MAX;
            if full && !frame.is_empty() {
                self.send(std::mem::take(&mut frame)).await?;
                text_bytes = 0;
            }
            text_bytes += inserted;
            frame.push(bytes.clone());
        }
        if frame.is_empty() {
            Ok(())
        } else {
            self.send(frame).await
        }
    }

    async fn send(&self, updates: Vec<Bytes>) -> Result<(), Gone> {
        let frame = SessionEvent::Updates(Arc::new(UpdateFrame {
            updates,
            received: None,
        }));
        self.events.send(frame).await.map_err(|_| Gone)
    }
}
