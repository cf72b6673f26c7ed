//! Recordings of somebody writing a text.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use document_types::limits::{TRACE_BYTES_MAX, TRACE_EDITS_MAX};
use flate2::read::GzDecoder;
use ropey::Rope;
use serde::Deserialize;

/// The name of the trace that is compiled in.
pub const AUTOMERGE_PAPER: &str = "automerge-paper";

/// Every keystroke of the LaTeX source of "A Conflict-Free Replicated JSON Datatype" (Kleppmann and
/// Beresford, 2017), as recorded by its first author: 259,778 single-character edits.
///
/// Source: <https://github.com/automerge/automerge-perf>, as carried by the engine's package.
static AUTOMERGE_PAPER_BYTES: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/automerge-paper.json.gz"));

/// A recording: a text, what was done to it, and what it was in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The text before the first edit.
    pub start: String,
    /// The edits, in order.
    pub edits: Vec<Edit>,
    /// The text after the last edit, as the recording says.
    pub end: String,
}

/// One edit. Positions and lengths count Unicode characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub position: usize,
    /// How many characters go.
    pub deleted: usize,
    /// What comes in their place.
    pub inserted: Box<str>,
}

/// Why a trace can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a gzipped trace in the `editing-traces` JSON format.
    #[error("the trace is not gzipped JSON of the editing-traces format")]
    Format(#[from] serde_json::Error),
    /// The file unpacks to more than a trace may have.
    #[error("a trace may have {TRACE_BYTES_MAX} bytes of JSON")]
    TooLarge,
    /// More edits than a trace may have.
    #[error("the trace has {count} edits, and {TRACE_EDITS_MAX} is the most it may have")]
    TooManyEdits {
        /// How many.
        count: usize,
    },
    /// An edit reaches past the end of the text.
    #[error("edit {number} reaches past the end of the text")]
    OutOfRange {
        /// Which, from 0.
        number: usize,
    },
    /// The edits don't lead to the text that the recording says.
    #[error("the edits don't lead to the trace's own end text")]
    WrongEnd,
}

/// The format of <https://github.com/josephg/editing-traces>.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    start_content: String,
    end_content: String,
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    patches: Vec<(usize, usize, Box<str>)>,
}

impl Trace {
    /// The trace of this name, or in this file, checked against its own end text.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn load(name_or_path: &str) -> Result<Self, TraceError> {
        if name_or_path == AUTOMERGE_PAPER {
            return Self::read(AUTOMERGE_PAPER_BYTES);
        }
        let path = Path::new(name_or_path);
        let file = File::open(path).map_err(|source| TraceError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::read(file)
    }

    fn read(gzipped: impl Read) -> Result<Self, TraceError> {
        let bounded = GzDecoder::new(gzipped).take(TRACE_BYTES_MAX + 1);
        let mut json = Vec::new();
        let mut reader = bounded;
        reader
            .read_to_end(&mut json)
            .map_err(serde_json::Error::io)?;
        if json.len() as u64 > TRACE_BYTES_MAX {
            return Err(TraceError::TooLarge);
        }
        let recorded: Recorded = serde_json::from_slice(&json)?;
        let edits: Vec<Edit> = recorded
            .txns
            .into_iter()
            .flat_map(|transaction| transaction.patches)
            .map(|(position, deleted, inserted)| Edit {
                position,
                deleted,
                inserted,
            })
            .collect();
        if edits.len() > TRACE_EDITS_MAX {
            return Err(TraceError::TooManyEdits { count: edits.len() });
        }
        let trace = Self {
            start: recorded.start_content,
            edits,
            end: recorded.end_content,
        };
        trace.check()?;
        Ok(trace)
    }

    fn check(&self) -> Result<(), TraceError> {
        let mut text = Rope::from_str(&self.start);
        for (number, edit) in self.edits.iter().enumerate() {
            edit.apply(&mut text)
                .ok_or(TraceError::OutOfRange { number })?;
        }
        if text == self.end {
            Ok(())
        } else {
            Err(TraceError::WrongEnd)
        }
    }

    /// The first `count` edits only; the end text is what they lead to.
    #[must_use]
    pub fn truncated(mut self, count: usize) -> Self {
        if count < self.edits.len() {
            self.end = self.texts_after(&[count]).swap_remove(0);
            self.edits.truncate(count);
        }
        self
    }

    /// Contiguous shares of nearly equal size for `clients`.
    pub fn shares(&self, clients: usize) -> Vec<Range<usize>> {
        let bound = |client: usize| self.edits.len() * client / clients.max(1);
        (0..clients)
            .map(|client| bound(client)..bound(client + 1))
            .collect()
    }

    /// The texts after so many edits each; `counts` in rising order.
    pub fn texts_after(&self, counts: &[usize]) -> Vec<String> {
        let mut text = Rope::from_str(&self.start);
        let mut done = 0;
        counts
            .iter()
            .map(|&count| {
                for edit in &self.edits[done..count.max(done)] {
                    // Every edit was checked when the trace was loaded.
                    let _ = edit.apply(&mut text);
                }
                done = count.max(done);
                text.to_string()
            })
            .collect()
    }
}

impl Edit {
    /// Makes the edit; `None` if the text is too short for it.
    fn apply(&self, text: &mut Rope) -> Option<()> {
        let end = self.position.checked_add(self.deleted)?;
        if end > text.len_chars() {
            return None;
        }
        text.remove(self.position..end);
        text.insert(self.position, &self.inserted);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzipped(json: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(json.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_trace_that_is_compiled_in_is_whole() {
        let trace = Trace::load(AUTOMERGE_PAPER).unwrap();
        assert_eq!(trace.edits.len(), 259_778);
        assert_eq!(trace.end.len(), 104_852);
    }

    #[test]
    fn shares_are_contiguous_and_their_texts_join() {
        let json = r#"{"startContent":"ab","endContent":"äcb","txns":[
            {"patches":[[0,1,"ä"],[2,0,"x"]]},{"patches":[[2,1,""]]},{"patches":[[1,0,"c"]]}]}"#;
        let trace = Trace::read(gzipped(json).as_slice()).unwrap();
        assert_eq!(trace.shares(3), [0..1, 1..2, 2..4]);
        assert_eq!(trace.texts_after(&[0, 1, 2, 4]), ["ab", "äb", "äbx", "äcb"]);
        assert_eq!(trace.truncated(2).end, "äbx");
    }

    #[test]
    fn a_trace_that_does_not_add_up_is_refused() {
        let read = |json: &str| Trace::read(gzipped(json).as_slice());
        let json = r#"{"startContent":"","endContent":"b","txns":[{"patches":[[0,0,"a"]]}]}"#;
        assert!(matches!(read(json), Err(TraceError::WrongEnd)));
        let json = r#"{"startContent":"","endContent":"a","txns":[{"patches":[[1,0,"a"]]}]}"#;
        assert!(matches!(
            read(json),
            Err(TraceError::OutOfRange { number: 0 })
        ));
        assert!(matches!(read("[]"), Err(TraceError::Format(_))));
        assert!(matches!(
            Trace::read(&b"plain"[..]),
            Err(TraceError::Format(_))
        ));
    }
}
