//! What is asked of whoever keeps the replicas, and the frames in which it travels to a worker
//! process: a length of four bytes, little-endian, then postcard.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::fair_queue::Flow;
use bytes::Bytes;
use document_types::DocumentId;
use document_types::limits::{
    DRY_RUN_CPU_PER_UPDATE_MAX, DRY_RUN_DOCUMENTS_BYTES_MAX, DRY_RUN_FRAME_BYTES_MAX,
    DRY_RUN_LEAKED_BYTES_MAX, DRY_RUN_WORKER_MEMORY_BYTES_MAX,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ClearRequest, Clearing, Harm};

/// The bounds of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerLimits {
    pub(crate) memory_bytes_max: u64,
    pub(crate) documents_bytes_max: u64,
    pub(crate) leaked_bytes_max: u64,
    pub(crate) cpu_per_update_max: Duration,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: DRY_RUN_WORKER_MEMORY_BYTES_MAX,
            documents_bytes_max: DRY_RUN_DOCUMENTS_BYTES_MAX,
            leaked_bytes_max: DRY_RUN_LEAKED_BYTES_MAX,
            cpu_per_update_max: DRY_RUN_CPU_PER_UPDATE_MAX,
        }
    }
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Its bounds, once and first. There is no answer.
    Begin(WorkerLimits),
    /// Do this and report.
    Do(Task),
    /// Drop what there is of a document. There is no answer.
    Forget(DocumentId),
}

/// What a worker does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    Try(Job),
    Clear(ClearRequest),
}

impl Task {
    pub(crate) fn document(&self) -> &DocumentId {
        match self {
            Self::Try(job) => &job.document,
            Self::Clear(request) => &request.document,
        }
    }

    /// Whose turn at a worker it takes.
    pub(crate) fn flow(&self) -> Flow {
        Flow {
            document: self.document().clone(),
            is_thorough: match self {
                Self::Try(job) => job.thorough,
                Self::Clear(_) => true,
            },
        }
    }
}

/// Updates to be tried on one ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) document: DocumentId,
    /// Encoded as clients send it.
    pub(crate) version: Bytes,
    pub(crate) base: Option<Vec<Bytes>>,
    pub(crate) applied: Vec<Bytes>,
    pub(crate) styled: bool,
    pub(crate) thorough: bool,
    pub(crate) patient: bool,
    pub(crate) candidates: Vec<Bytes>,
    /// Whether each candidate is imported and judged by itself, which is dearer and tells which one
    /// does harm.
    pub(crate) singly: bool,
}

/// What a worker says of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) answer: Answer,
    /// Processor time until the ground was laid,
    pub(crate) ground_time: Duration,
    /// and for importing candidates on it.
    pub(crate) trial_time: Duration,
    /// Whether the worker's memory is in such a state that another should take its place.
    pub(crate) is_worn: bool,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// All candidates are in the replica, and it is well.
    Harmless,
    /// There is no replica, or it lacks what the log has.
    NeedsBase,
    /// What the log holds does harm. The replica is gone.
    BadGround,
    /// What the log holds leaves no memory to try anything on it. The replica is gone.
    TooLarge,
    /// One of the candidates does harm. The replica is gone.
    Harmful {
        harm: Harm,
        /// The place of that one, if it is certain. Those before it are harmless then.
        guilty: Option<u32>,
        /// Whether it is certain that the candidates are to blame and not what the replica held.
        is_certain: bool,
    },
    /// What was found of each update that was to be looked at.
    Cleared(Vec<Clearing>),
}

/// Writes one frame.
pub(crate) fn encode_frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let len = frame.len() - 4;
    let len = u32::try_from(len)
        .ok()
        .filter(|_| len <= DRY_RUN_FRAME_BYTES_MAX)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too large"))?;
    let mut frame = frame;
    frame[..4].copy_from_slice(&len.to_le_bytes());
    Ok(frame)
}

/// How long a frame is, from its first four bytes.
pub(crate) fn frame_len(prefix: [u8; 4]) -> io::Result<usize> {
    let len = u32::from_le_bytes(prefix) as usize;
    if len > DRY_RUN_FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the frame is too large",
        ));
    }
    Ok(len)
}

/// Reads what a frame holds.
pub(crate) fn decode_frame<T: DeserializeOwned>(frame: &[u8]) -> io::Result<T> {
    postcard::from_bytes(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads one frame, `None` at the end of the stream.
pub(crate) fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut prefix = [0; 4];
    match reader.read_exact(&mut prefix) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let mut frame = vec![0; frame_len(prefix)?];
    reader.read_exact(&mut frame)?;
    decode_frame(&frame).map(Some)
}

/// Writes one frame and flushes it.
pub(crate) fn write_frame(writer: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    writer.write_all(&encode_frame(message)?)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_the_end_of_the_stream_is_none() {
        let order = Order::Do(Task::Try(Job {
            document: DocumentId::parse("doc_1").unwrap(),
            version: Bytes::from_static(&[0]),
            base: Some(vec![Bytes::from_static(b"snapshot")]),
            applied: vec![],
            styled: false,
            thorough: true,
            patient: false,
            candidates: vec![Bytes::from_static(b"update")],
            singly: true,
        }));
        let mut stream = Vec::new();
        write_frame(&mut stream, &order).unwrap();
        let mut reader = stream.as_slice();
        assert_eq!(read_frame::<Order>(&mut reader).unwrap(), Some(order));
        assert_eq!(read_frame::<Order>(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
        assert!(read_frame::<Order>(&mut [0xff; 8].as_slice()).is_err());
        assert!(encode_frame(&Bytes::from(vec![0; DRY_RUN_FRAME_BYTES_MAX + 1])).is_err());
    }
}
