//! Images and files that belong to a document.
//!
//! An attachment is a blob that says which document it belongs to ([`label`]), so nothing else has to be
//! kept about it, whoever may read the document may read it, and nobody reads it through another document.
//! The document's text refers to it by its address.

mod download;
mod label;
mod upload;

use std::sync::Arc;

use blob_store::{BlobError, BlobStore};
use document_types::ErrorCode;
use document_types::limits::{
    ATTACHMENT_DOWNLOADS_MAX, ATTACHMENT_RETRY_AFTER, ATTACHMENT_UPLOADS_BYTES_MAX,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

pub(crate) use download::download;
pub(crate) use upload::upload;

/// What uploads are counted in, since a semaphore does not count as far as bytes go.
const UPLOAD_UNIT_BYTES: usize = 64 * 1024;

/// The attachments' place, and what of them may be on its way at once.
pub(crate) struct Attachments {
    blobs: Option<BlobStore>,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
}

impl Attachments {
    pub(crate) fn new(blobs: Option<BlobStore>) -> Self {
        Self {
            blobs,
            uploads: Arc::new(Semaphore::new(
                ATTACHMENT_UPLOADS_BYTES_MAX / UPLOAD_UNIT_BYTES,
            )),
            downloads: Arc::new(Semaphore::new(ATTACHMENT_DOWNLOADS_MAX)),
        }
    }

    fn blobs(&self) -> Result<&BlobStore, Problem> {
        self.blobs.as_ref().ok_or_else(|| {
            let detail =
                "this server keeps no attachments: whoever runs it has to set `blobs.address`";
            Problem::new(ErrorCode::NotFound, detail)
        })
    }

    /// Room in memory for an upload of so many bytes.
    fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(bytes.div_ceil(UPLOAD_UNIT_BYTES)).unwrap_or(u32::MAX);
        let room = self.uploads.clone().try_acquire_many_owned(units);
        room.map_err(|_| busy("too many files are being attached at this moment"))
    }

    fn download_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = self.downloads.clone().try_acquire_owned();
        place.map_err(|_| busy("too many attachments are being read at this moment"))
    }
}

fn busy(detail: &str) -> Problem {
    let mut problem = Problem::new(ErrorCode::Overloaded, detail);
    problem.retry_after = Some(ATTACHMENT_RETRY_AFTER);
    problem
}

/// What a failure of the blob store is to a client, who can't mend it.
fn problem(error: &BlobError) -> Problem {
    let report = error as &dyn std::error::Error;
    match error {
        BlobError::NotFound { .. } => not_found(),
        BlobError::TooLarge { .. } => Problem::new(ErrorCode::TooLarge, error.to_string()),
        BlobError::Damaged { .. } => {
            tracing::error!(error = report, "an attachment is damaged");
            let detail = "the attachment is damaged where it is kept; whoever runs this server has to bring it back from a copy";
            Problem::new(ErrorCode::Internal, detail)
        }
        BlobError::Unavailable(_) | BlobError::Refused(_) => {
            tracing::warn!(error = report, "attachments are not to be had");
            let detail =
                "attachments can't be stored or read at this moment; nothing is lost, try again";
            let mut problem = Problem::new(ErrorCode::Unavailable, detail);
            problem.retry_after = Some(ATTACHMENT_RETRY_AFTER);
            problem
        }
    }
}

/// The same whether there is no such attachment or it is another document's, which is nobody's business.
fn not_found() -> Problem {
    Problem::new(ErrorCode::NotFound, "the document has no such attachment")
}
