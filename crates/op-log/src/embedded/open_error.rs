use std::fmt;
use std::io;

/// Why an embedded log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another log, in this process or another, has the directory open.
    #[error("another process has the log's directory open; a log has one writer")]
    Locked,
    /// The partition count is 0 or more than a log may have.
    #[error("a log can't have {configured} partitions; 1 to {partitions_max} are possible")]
    InvalidPartitionCount {
        /// The count asked for.
        configured: u32,
        /// The most there may be.
        partitions_max: u32,
    },
    /// The log was made with another partition count, which is fixed for its life.
    #[error(
        "the log was made with {stored} partitions and {configured} are configured; a document's \
         partition follows from their number, so it is fixed for a log's life: configure {stored}"
    )]
    PartitionCountChanged {
        /// The log's count.
        stored: u32,
        /// The count asked for.
        configured: u32,
    },
    /// The log was written by another version of this program.
    #[error(
        "{file} has format version {version}, and this program reads {supported}: run the version \
         that wrote it"
    )]
    UnsupportedVersion {
        /// The segment's name.
        file: String,
        /// Its version.
        version: u32,
        /// The version that can be read.
        supported: u32,
    },
    /// The journal is not as it was written, and not by a crash.
    #[error(
        "the log is damaged: {0}. No crash leaves a log like this, so acknowledged records may be \
         missing, and it does not start. Restore the directory from a copy; or move it away and \
         let this node be rebuilt from the archive"
    )]
    Damaged(Damage),
    /// The file system refuses.
    #[error("can't {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the file system says.
        source: io::Error,
    },
}

/// Where a journal is damaged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's name.
    pub file: String,
    /// The first byte that is not right, or the beginning of the group that holds it.
    pub position: u64,
    /// What was found.
    pub finding: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {}: {}",
            self.file, self.position, self.finding
        )
    }
}

pub(super) fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { action, source }
}
