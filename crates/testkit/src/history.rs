use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use document_types::{
    Counter, CounterSpan, DocumentId, ErrorCode, HlcTimestamp, LogOffset, NodeId, PeerId,
};
use serde::{Deserialize, Serialize};

/// What the clients of a run asked for and what they were told, in the order in which it was
/// written down.
pub type History = Vec<HistoryLine>;

/// One thing that happened to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// When, in milliseconds since the run began.
    pub at_ms: u64,
    /// To which client.
    pub client: u32,
    /// In which document.
    pub document: DocumentId,
    /// What.
    #[serde(flatten)]
    pub event: HistoryEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum HistoryEvent {
    /// The client made operations, and sends them until it is told what became of them. Unless one
    /// of the other events follows, they may be in the document or not.
    Invoke {
        /// Which operations.
        span: Span,
        /// The digest of the update that carries them.
        digest: String,
        /// The text that they insert.
        inserted: Vec<String>,
        /// The text that they delete.
        deleted: Vec<String>,
    },
    /// The client was told that operations are durable.
    Ack {
        /// Which.
        spans: Vec<Span>,
        /// Where they are in the log, if it was told.
        place: Option<LogPlace>,
    },
    /// The client was told that operations are refused for good.
    Nack {
        /// Which.
        spans: Vec<Span>,
        /// Why, by the error code's name.
        code: String,
    },
    /// The client gave up waiting.
    Unknown {
        /// For which operations.
        spans: Vec<Span>,
    },
    /// Something was done to the system, for whoever reads the file.
    Fault {
        /// What.
        what: String,
    },
}

/// Consecutive operations of one peer; see [`CounterSpan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Who made them.
    pub peer: PeerId,
    /// The first.
    pub start: Counter,
    /// The one after the last.
    pub end: Counter,
}

impl From<CounterSpan> for Span {
    fn from(CounterSpan { peer, start, end }: CounterSpan) -> Self {
        Self { peer, start, end }
    }
}

impl From<Span> for CounterSpan {
    fn from(Span { peer, start, end }: Span) -> Self {
        Self { peer, start, end }
    }
}

/// Where and when a batch was logged, as its ack said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPlace {
    /// The node that stamped it.
    pub node: NodeId,
    /// The position in the document's partition.
    pub offset: LogOffset,
    /// The first update's stamp, as [`HlcTimestamp::as_u64`].
    pub first: u64,
    /// The last update's stamp.
    pub last: u64,
}

impl LogPlace {
    /// A place in the log.
    pub fn new(node: NodeId, offset: LogOffset, first: HlcTimestamp, last: HlcTimestamp) -> Self {
        Self {
            node,
            offset,
            first: first.as_u64(),
            last: last.as_u64(),
        }
    }
}

impl HistoryEvent {
    /// A final refusal.
    pub fn nack(spans: Vec<Span>, code: ErrorCode) -> Self {
        Self::Nack {
            spans,
            code: code.as_str().to_owned(),
        }
    }
}

/// Why a history can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file can't be opened, written or read.
    #[error("the history {} can't be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not one of a history.
    #[error("line {number} is not one of a history")]
    Line {
        /// Which, from 1.
        number: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Writes a history as JSON lines. Each line is handed to the operating system as it comes, so that
/// it survives the end of the process.
#[derive(Debug)]
pub struct HistoryWriter {
    path: PathBuf,
    file: Mutex<File>,
}

impl HistoryWriter {
    /// Appends to the file at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`HistoryError::File`].
    pub fn append_to(path: &Path) -> Result<Self, HistoryError> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| HistoryError::File {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`HistoryError::File`].
    pub fn write(&self, line: &HistoryLine) -> Result<(), HistoryError> {
        let mut bytes = serde_json::to_vec(line).expect("texts and numbers always serialise");
        bytes.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&bytes).map_err(|source| HistoryError::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// Reads a history. A last line without its end was cut off by a crash, and is left out.
///
/// # Errors
/// [`HistoryError`].
pub fn read(path: &Path) -> Result<History, HistoryError> {
    let text = std::fs::read_to_string(path).map_err(|source| HistoryError::File {
        path: path.to_owned(),
        source,
    })?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .zip(1..)
        .map(|(line, number)| {
            serde_json::from_str(line).map_err(|source| HistoryError::Line { number, source })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_ms: u64, event: HistoryEvent) -> HistoryLine {
        HistoryLine {
            at_ms,
            client: 3,
            document: DocumentId::parse("notes").unwrap(),
            event,
        }
    }

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        // Peer ids use all their bits.
        let span = Span {
            peer: PeerId(u64::MAX - 1),
            start: 0,
            end: 6,
        };
        let lines = [
            line(
                1,
                HistoryEvent::Invoke {
                    span,
                    digest: "00ff".to_owned(),
                    inserted: vec!["‹3.0›".to_owned()],
                    deleted: Vec::new(),
                },
            ),
            line(
                2,
                HistoryEvent::Ack {
                    spans: vec![span],
                    place: Some(LogPlace::new(
                        NodeId(1),
                        LogOffset(7),
                        HlcTimestamp::new(5, 0),
                        HlcTimestamp::new(5, 1),
                    )),
                },
            ),
            line(3, HistoryEvent::nack(vec![span], ErrorCode::InvalidUpdate)),
            line(4, HistoryEvent::Unknown { spans: Vec::new() }),
            line(
                5,
                HistoryEvent::Fault {
                    what: "killed".to_owned(),
                },
            ),
        ];
        for part in lines.chunks(2) {
            // A second writer goes on where the first left off.
            let writer = HistoryWriter::append_to(&path).unwrap();
            part.iter().for_each(|line| writer.write(line).unwrap());
        }
        assert_eq!(read(&path).unwrap(), lines);

        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(br#"{"at_ms":6,"cli"#).unwrap();
        assert_eq!(read(&path).unwrap(), lines);
        torn.write_all(b"\n").unwrap();
        assert!(matches!(
            read(&path),
            Err(HistoryError::Line { number: 6, .. })
        ));
    }
}
