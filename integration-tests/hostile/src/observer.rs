use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use bytes::Bytes;
use document_types::{DeviceId, DocumentId, VersionVector};
use sync_protocol::Message;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::session::{Heard, Session};

/// Somebody who reads along and writes down all updates of a document as the server sends them, so
/// that what a failed run let in can be imported again.
pub struct Observer {
    /// The server.
    pub server: SocketAddr,
    /// What is read.
    pub document: DocumentId,
    /// Where the updates go, each with its length before it as four bytes, little-endian.
    pub file: PathBuf,
}

impl Observer {
    /// Reads until the server is gone, or this is dropped.
    ///
    /// # Errors
    /// If the server puts the reader out.
    pub async fn run(self) -> anyhow::Result<()> {
        let device = DeviceId::parse("dev_observer")?;
        let nothing = VersionVector::new();
        let mut session = Session::join(self.server, &self.document, device, &nothing).await?;
        let mut file = BufWriter::new(File::create(&self.file).await?);
        let mut fragments: Vec<u8> = Vec::new();
        let mut fragments_left = 0;
        loop {
            let updates = match session.hear().await? {
                Heard::Message(Message::DocUpdate { updates, .. }) => updates,
                Heard::Message(Message::FragmentHeader { fragment_count, .. }) => {
                    fragments_left = fragment_count;
                    fragments.clear();
                    continue;
                }
                Heard::Message(Message::Fragment { bytes, .. }) => {
                    fragments.extend_from_slice(&bytes);
                    fragments_left -= 1;
                    if fragments_left > 0 {
                        continue;
                    }
                    vec![Bytes::from(std::mem::take(&mut fragments))]
                }
                Heard::Text(_) => continue,
                Heard::Message(other) => bail!("the observer was told {other:?}"),
                Heard::Closed => bail!("the observer's socket was closed"),
            };
            for update in updates {
                let length = u32::try_from(update.len()).context("a frame is smaller")?;
                file.write_all(&length.to_le_bytes()).await?;
                file.write_all(&update).await?;
            }
            file.flush().await?;
        }
    }
}
