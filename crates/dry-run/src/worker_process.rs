//! One child process, from the parent's side.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use document_types::DocumentId;
use document_types::limits::{
    DRY_RUN_LAST_WORDS_BYTES_MAX, DRY_RUN_LOAD_TIME_MAX, DRY_RUN_WALL_PER_CPU_MAX,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::Harm;
use crate::job::{Order, Report, Task, WorkerLimits, decode_frame, encode_frame, frame_len};
use crate::sift::BenchError;

/// How a worker process is started: usually the server's own binary with a hidden sub-command, which
/// calls [`crate::run_worker`] with its standard streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// Why a worker process can't be had.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The process can't be started.
    #[error("a worker process can't be started as {program}", program = program.display())]
    Start {
        /// The binary.
        program: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A running child. Dropping it kills it.
pub(crate) struct WorkerProcess {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    words: Words,
    cpu_per_update_max: Duration,
}

impl WorkerProcess {
    pub(crate) async fn start(
        command: &WorkerCommand,
        limits: WorkerLimits,
    ) -> Result<Self, WorkerError> {
        let start = |source| WorkerError::Start {
            program: command.program.clone(),
            source,
        };
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C at a terminal is for the server, which drains. A worker that died of it would
            // look like one that an update killed.
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let (Some(input), Some(output), Some(stream)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(start(io::Error::other("it has no pipes")));
        };
        let words = Words {
            stream,
            last: Vec::new(),
        };
        let cpu_per_update_max = limits.cpu_per_update_max;
        let mut worker = Self {
            child,
            input,
            output,
            words,
            cpu_per_update_max,
        };
        worker.send(&Order::Begin(limits)).await.map_err(start)?;
        Ok(worker)
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(crate) async fn forget(&mut self, document: DocumentId) -> io::Result<()> {
        self.send(&Order::Forget(document)).await
    }

    /// Has `task` done. After a death the worker is of no use.
    pub(crate) async fn run(&mut self, task: Task) -> Result<Report, BenchError> {
        let time_max = self.time_max(&task);
        // A frame that is too large is nobody's death.
        let Ok(frame) = encode_frame(&Order::Do(task)) else {
            return Err(BenchError::TooLarge);
        };
        let started = Instant::now();
        let exchange = timeout(
            time_max,
            exchange(&mut self.input, &mut self.output, &frame),
        );
        let report = tokio::select! {
            biased;
            report = exchange => report,
            never = self.words.listen() => match never {},
        };
        let harm = match report {
            Ok(Ok(report)) => return Ok(report),
            Ok(Err(_)) => self.cause_of_death().await,
            Err(_) => Harm::Slow,
        };
        let time = started.elapsed();
        Err(BenchError::Died { harm, time })
    }

    /// Looking at an update closely takes as long as loading the document does.
    fn time_max(&self, task: &Task) -> Duration {
        let (loads, updates) = match task {
            Task::Try(job) => (
                usize::from(job.base.is_some()),
                job.candidates.len() + job.applied.len(),
            ),
            Task::Clear(request) => (1 + request.candidates.len(), request.candidates.len()),
        };
        let times = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let load_time = DRY_RUN_LOAD_TIME_MAX.saturating_mul(times(loads));
        self.cpu_per_update_max
            .saturating_mul(times(updates).saturating_add(1))
            .saturating_mul(DRY_RUN_WALL_PER_CPU_MAX)
            .saturating_add(load_time)
    }

    async fn send(&mut self, order: &Order) -> io::Result<()> {
        self.input.write_all(&encode_frame(order)?).await?;
        self.input.flush().await
    }

    /// An allocation that failed says so; the rest are panics that could not be caught, and stacks
    /// that overflowed.
    async fn cause_of_death(&mut self) -> Harm {
        // It may live on with a broken pipe.
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
        if self.words.last().await.contains("memory allocation of") {
            Harm::Memory
        } else {
            Harm::Panic
        }
    }
}

async fn exchange(
    input: &mut ChildStdin,
    output: &mut ChildStdout,
    frame: &[u8],
) -> io::Result<Report> {
    input.write_all(frame).await?;
    input.flush().await?;
    let mut prefix = [0; 4];
    output.read_exact(&mut prefix).await?;
    let mut report = vec![0; frame_len(prefix)?];
    output.read_exact(&mut report).await?;
    decode_frame(&report)
}

/// What a process writes to its standard error. It has to be read, or a process that says much stands
/// still; only the end is kept.
struct Words {
    stream: ChildStderr,
    last: Vec<u8>,
}

impl Words {
    /// Reads along, for as long as it is polled.
    async fn listen(&mut self) -> Infallible {
        while self.hear().await {}
        std::future::pending().await
    }

    /// What was said last, once the process is dead.
    async fn last(&mut self) -> String {
        while self.hear().await {}
        String::from_utf8_lossy(&self.last).into_owned()
    }

    /// Whether there may be more to hear.
    async fn hear(&mut self) -> bool {
        let mut chunk = [0; 1024];
        let Ok(count @ 1..) = self.stream.read(&mut chunk).await else {
            return false;
        };
        self.last.extend_from_slice(&chunk[..count]);
        let beyond = self.last.len().saturating_sub(DRY_RUN_LAST_WORDS_BYTES_MAX);
        self.last.drain(..beyond);
        true
    }
}
