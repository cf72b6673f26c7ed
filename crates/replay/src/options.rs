use std::path::PathBuf;

use document_types::DocumentId;
use document_types::limits::REPLAY_CLIENTS_MAX;

/// What to replay, where, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayOptions {
    /// The trace: `automerge-paper`, or a `.json.gz` file in the editing-traces format
    #[arg(default_value = crate::AUTOMERGE_PAPER)]
    pub trace: String,
    /// How many clients write at once, each its own part of the trace at its own place
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clients)]
    pub clients: usize,
    /// Edits per second and client; 0 goes as fast as acks come
    #[arg(long, default_value_t = 0, value_name = "EDITS")]
    pub rate: u32,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8787", value_name = "URL")]
    pub url: String,
    /// The document to write into, which must be empty; a new one if none is given
    #[arg(long, value_name = "ID", value_parser = DocumentId::parse)]
    pub document: Option<DocumentId>,
    /// Only so many edits of the trace
    #[arg(long, value_name = "COUNT")]
    pub edits: Option<usize>,
    /// Where to write the result as JSON, or with `--verify-only` where to read it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write nothing: check that the document is still what an earlier report says
    #[arg(long, requires = "report")]
    pub verify_only: bool,
}

fn clients(text: &str) -> Result<usize, String> {
    let count: usize = text
        .parse()
        .map_err(|error: std::num::ParseIntError| error.to_string())?;
    if (1..=REPLAY_CLIENTS_MAX).contains(&count) {
        Ok(count)
    } else {
        Err(format!(
            "between 1 and {REPLAY_CLIENTS_MAX} clients can write at once"
        ))
    }
}
